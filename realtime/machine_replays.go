package realtime

// ping sends a ping whose pong has a replay begin. Pongs come in the order of
// the pings.
func (d *decision) ping() {
	d.pings++
	d.fence = d.pings
	d.do(doPing)
}

func (d *decision) ponged() {
	d.pings = max(d.pings-1, 0)
	if d.fence > 0 {
		if d.fence--; d.fence == 0 {
			d.requestReplay()
		}
	}
}

// requestReplay sees to it that a replay begins after this moment.
func (d *decision) requestReplay() {
	if d.replay != replayIdle {
		d.pending = replayWhole
		return
	}
	d.replay = replayRunning
	d.do(doReplay)
}

// resume goes on with the replay that broke off.
func (d *decision) resume() {
	if d.replay == replayWaiting {
		d.replay = replayRunning
		d.do(doReplay)
	}
}

// requestShortReplay sees to it that a short replay begins after this moment,
// or another one that shows as much.
func (d *decision) requestShortReplay() {
	if d.replay != replayIdle {
		d.pending = max(d.pending, replayShort)
		return
	}
	d.replay = replayRunning
	d.do(doShortReplay)
}

// replayEnded: the replay is over. After a first one without an answer another
// begins, which waits for the server's word; silent reports whether there was
// none.
func (d *decision) replayEnded(silent bool) {
	first := !d.anchored
	if first && silent && d.state == StateLive {
		d.pending = replayWhole
	}
	d.sure = true
	d.replay, d.replayAttempt, d.replayRefused = replayIdle, 0, false
	d.anchored = true
	due := d.pending
	d.pending = replayNone
	switch {
	case due == replayWhole:
		d.requestReplay()
	case d.leaving:
		d.do(doHangUp)
		d.state = StateClosed
		return
	case due == replayShort:
		d.requestShortReplay()
	case d.state == StatePaused:
		d.connect()
	}
	if first && d.polling && d.state == StateConnecting {
		d.do(doDial)
	}
	d.checkReady()
}

func (d *decision) replayBroken(why failure) {
	if d.polling && !d.anchored && d.state == StateConnecting {
		d.replay = replayIdle
		d.fail(why)
		return
	}
	d.replay = replayWaiting
	d.replayAttempt++
	again := d.replayRefused // one refusal can be a proxy's, or come from another way of reading
	d.replayRefused = why == failConfig
	if d.leaving && (d.replayAttempt >= lastPatience || again && d.replayRefused) {
		d.do(doHangUp, doRelease)
		d.state = StateClosed
		return
	}
	d.do(doReplayWait(d.replayAttempt))
	if d.replayAttempt >= patience {
		d.do(doRelease)
		if d.state == StatePaused { // what comes live need not be missed as well
			d.connect()
		}
	}
	if why == failConfig && !d.replaced && (d.state == StateLive || d.state == StatePaused) {
		d.do(doHangUp)
		d.fail(why)
	}
}
