package realtime

// ping sends a ping whose pong has a read begin. Pongs come in the order of the
// pings.
func (d *decision) ping() {
	d.pings++
	d.fence = d.pings
	d.do(doPing)
}

func (d *decision) ponged() {
	d.pings = max(d.pings-1, 0)
	if d.fence > 0 {
		if d.fence--; d.fence == 0 {
			d.owe()
		}
	}
}

// owe sees to it that a read begins after this moment.
func (d *decision) owe() {
	if d.read != readIdle {
		d.due = readWhole
		return
	}
	d.read = readRunning
	d.do(doRead)
}

// resume goes on with the read that broke off.
func (d *decision) resume() {
	if d.read == readWaiting {
		d.read = readRunning
		d.do(doRead)
	}
}

// peek sees to it that a short read begins after this moment, or another one
// that shows as much.
func (d *decision) peek() {
	if d.read != readIdle {
		d.due = max(d.due, readShort)
		return
	}
	d.read = readRunning
	d.do(doPeek)
}

func (d *decision) readEnded() {
	first := !d.anchored
	d.sure = true
	d.read, d.readAttempt, d.readRefused = readIdle, 0, false
	d.anchored = true
	due := d.due
	d.due = readNone
	switch {
	case due == readWhole:
		d.owe()
	case d.leaving:
		d.do(doHangUp)
		d.state = StateClosed
		return
	case due == readShort:
		d.peek()
	case d.state == StatePaused:
		d.connect()
	}
	if first && d.polling && d.state == StateConnecting {
		d.do(doDial)
	}
	d.checkReady()
}

func (d *decision) readBroken(why failure) {
	if d.polling && !d.anchored && d.state == StateConnecting {
		d.read = readIdle
		d.fail(why)
		return
	}
	d.read = readWaiting
	d.readAttempt++
	again := d.readRefused // one refusal can be a proxy's, or come from another way of reading
	d.readRefused = why == failConfig
	if d.leaving && (d.readAttempt >= lastPatience || again && d.readRefused) {
		d.do(doHangUp, doRelease)
		d.state = StateClosed
		return
	}
	d.do(doReadWait)
	if d.readAttempt >= patience {
		d.do(doRelease)
		if d.state == StatePaused { // what comes live need not be missed as well
			d.connect()
		}
	}
	if why == failConfig && !d.old && (d.state == StateLive || d.state == StatePaused) {
		d.do(doHangUp)
		d.fail(why)
	}
}
