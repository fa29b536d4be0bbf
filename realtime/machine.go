package realtime

// An event is something the machine decides upon.
type event struct {
	kind    eventKind
	failure failure // of the failed, lost and broken kinds
	again   bool    // of evReplayEnded: its answer calls for another replay; of evPolled: for a short replay
	silent  bool    // of evReplayEnded and evReplayBroken: nothing has answered
}

type eventKind uint8

const (
	evStart eventKind = iota
	evConfig
	evConfigFailed
	evOpened       // the live connection is up; of polls: the first one is with the server
	evLost         // the live connection is gone, or could not be opened
	evStable       // it has lasted long enough to be trusted
	evRetry        // the delay is over
	evPing         // the server has pinged and got its pong: it has sent nothing between the two
	evPong         // one of our pings has been answered, so what the server sent before has arrived
	evKeepAlive    // a ping is due that keeps the connection from being idle
	evIdle         // no ping for too long; of polls: no replay
	evStuck        // no pong for too long, or no answer to a poll
	evPolled       // a poll of the live connection is over, as polls are
	evHanging      // it has been hanging for a moment: what was published just before it was taken up can be read
	evMany         // many messages have come since the last replay
	evGarbled      // a live frame could not be read to its end
	evPast         // a poll was answered by what may have stood before the beginning
	evReplayEnded  // the replay is over, with or without an answer
	evReplayBroken // the replay broke off
	evReplayRetry  // the delay before it goes on is over
	evFull         // the queue refused a message
	evRoom         // the queue has room again
	evReplaced     // other channels have taken the place of these
	evLeave        // nothing more is to come: end with a last replay
	evStop
)

// An action is something decide wants done, with what has to be known for it.
type action struct {
	kind       actionKind
	attempt    int  // of actWait and actReplayWait: failed attempts so far
	unset      bool // of actWait: there is no config to connect with
	crowded    bool // of actWait: the server has too many connections
	stale      bool // of actFetch: the config must not come from a cache
	suspect    bool // of actFetch: nothing answers, which need not be the config's fault
	stuck      bool // of actHangUp: nothing comes over the connection any more
	replayless bool // of actPing: no replay waits for its pong
	short      bool // of actReplay: from where the last polls hung
}

type actionKind uint8

const (
	actFetch      actionKind = iota // ask the source for the config
	actDial                         // open the live connection, or its next poll
	actHangUp                       // close it
	actPing                         // send a ping on it, and watch for the pong
	actWait                         // start the delay before the next attempt
	actHold                         // live messages wait for the coming replay
	actRelease                      // they wait no more
	actReplay                       // begin a replay, or go on with the one that broke off
	actReplayWait                   // start the delay before the replay goes on
	actAbortReplay
	actGiveBack // forget the live messages that wait: a replay will bring them
	actReady    // it can be relied upon: tell the user, or take the place of the connection before
)

// Actions that need nothing else to be known.
var (
	doDial        = action{kind: actDial}
	doHangUp      = action{kind: actHangUp}
	doDrop        = action{kind: actHangUp, stuck: true}
	doPing        = action{kind: actPing}
	doKeepAlive   = action{kind: actPing, replayless: true}
	doWaitLong    = action{kind: actWait, crowded: true}
	doHold        = action{kind: actHold}
	doRelease     = action{kind: actRelease}
	doReplay      = action{kind: actReplay}
	doShortReplay = action{kind: actReplay, short: true}
	doAbortReplay = action{kind: actAbortReplay}
	doGiveBack    = action{kind: actGiveBack}
	doReady       = action{kind: actReady}
)

func doFetch(stale, suspect bool) action {
	return action{kind: actFetch, stale: stale, suspect: suspect}
}

func doWait(attempt int, configured bool) action {
	return action{kind: actWait, attempt: attempt, unset: !configured}
}

func doReplayWait(attempt int) action { return action{kind: actReplayWait, attempt: attempt} }

// status is all that decide knows of a connection.
type status struct {
	state         State
	polling       bool // over long polling, not over a websocket
	auto          bool // the one may take the place of the other
	preferPolling bool // websockets have failed so often that one failure of theirs is enough to poll again
	upgradeProbe  bool // tries whether websockets work again: one attempt, and it has to last
	replaced      bool // its channels have been replaced: it is not connected again
	needed        bool // of one that is old: a successor is missing, so it is connected again
	leaving       bool // it ends with the replay that is due or under way
	configured    bool // there is a config to connect with
	stale         bool // the next config must not come from a cache
	configSuspect bool // the config may be of no use, since nothing answers: another is asked for, and is not a must
	attempt       int  // failed attempts since a connection last lasted

	pings int // ours, not answered yet
	fence int // so many pongs from now a replay is due; 0: none waits for one

	replay        replayState
	pending       replayKind // the replay that is due when this one is over
	replayAttempt int        // failures of this replay
	replayRefused bool       // the last of them was a refusal of the channels

	anchored bool // the first replay is done, or a cursor stands for it
	sure     bool // the history has been read, or nothing has answered in its place
	ready    bool
}

type replayState uint8

const (
	replayIdle replayState = iota
	replayRunning
	replayWaiting // broken off; goes on after a delay
)

type replayKind uint8

const (
	replayNone  replayKind = iota
	replayShort            // for what a poll may have left out
	replayWhole            // from the cursor
)

const (
	// patience is how many times a replay may break off before live messages no
	// longer wait for it.
	patience = 3
	// lastPatience is the same for a connection's last replay, which is given
	// up then: after some two minutes.
	lastPatience = 12
	// socketPatience is how many times websockets may fail before long polling
	// is tried.
	socketPatience = 5
	// configPatience is how many times connecting may fail before another
	// config is asked for: the server may have moved.
	configPatience = 5
)

// decide is the life of a connection: what it does next, given where it stands
// and what has happened. It is pure; everything it wants is in the actions.
func decide(s status, e event) (status, []action) {
	if s.state == StateClosed {
		return s, nil
	}
	d := decision{status: s}
	switch e.kind {
	case evStart:
		d.connect()
	case evConfig:
		d.configured, d.stale, d.configSuspect = true, false, false
		if d.state == StateConfiguring {
			d.connect()
		}
	case evConfigFailed:
		switch {
		case d.state == StateConfiguring && d.configSuspect:
			d.configured, d.stale, d.configSuspect = true, false, false
			d.connect()
		case d.state == StateConfiguring || e.failure == failFatal:
			d.fail(e.failure)
		}
	case evOpened:
		d.state = StateLive
		d.do(doHold)
		d.requestReplay()
		d.replayAttempt = 0 // what has failed was another connection's
		d.resume()          // the server can be reached again
		d.checkReady()
	case evLost:
		socket := !d.polling
		d.fail(e.failure)
		if socket && d.state == StateWaiting && d.configured && !d.anchored && d.replay == replayIdle {
			d.requestReplay() // the first one does not wait for a websocket that may never come
		}
	case evStable:
		d.attempt = 0
		d.preferPolling = d.preferPolling && d.polling
		if d.upgradeProbe {
			d.upgradeProbe = false
			d.checkReady()
		}
	case evRetry:
		if d.state == StateWaiting {
			d.connect()
		}
	case evPing:
		d.do(doHold)
		d.ping()
	case evIdle:
		if d.polling {
			d.requestReplay()
		} else {
			d.ping()
		}
	case evPong:
		d.ponged()
	case evKeepAlive:
		if d.state == StateLive && !d.polling {
			d.pings++
			d.do(doKeepAlive)
		}
	case evStuck:
		d.do(doDrop)
		d.fail(failPassing)
	case evPolled:
		d.do(doDial)
		if e.again {
			d.requestShortReplay()
		}
	case evHanging:
		d.requestShortReplay()
	case evMany, evGarbled, evPast:
		d.requestReplay()
	case evReplayEnded:
		if e.again {
			d.pending = replayWhole
		}
		d.replayEnded(e.silent)
	case evReplayBroken:
		d.replayBroken(e.failure)
		if e.silent && !d.sure {
			d.sure = true
			d.checkReady()
		}
	case evReplayRetry:
		d.resume()
	case evFull:
		d.pause()
	case evRoom:
		if d.state == StatePaused && d.replay == replayIdle {
			d.requestReplay()
		}
	case evReplaced:
		d.becomeReplaced()
	case evLeave:
		d.leaving = true
		if d.state != StatePaused { // there room is waited for
			d.requestReplay()
		}
	case evStop:
		d.state = StateClosed
	}
	return d.status, d.actions
}

type decision struct {
	status
	actions []action
}

func (d *decision) do(a ...action) { d.actions = append(d.actions, a...) }

// connect dials, with a new config first if the present one is of no use. A
// poll hangs from the newest message that is known, so it waits for the first
// replay.
func (d *decision) connect() {
	switch {
	case d.replaced && !d.needed:
		d.state = StateWaiting
	case !d.configured:
		d.state = StateConfiguring
		d.do(doFetch(d.stale, d.configSuspect))
	default:
		d.state = StateConnecting
		switch {
		case !d.polling || d.anchored:
			d.do(doDial)
		case d.replay == replayIdle:
			d.requestReplay()
		}
	}
}

// fail answers a failed attempt or a lost connection.
func (d *decision) fail(why failure) {
	d.pings, d.fence = 0, 0
	switch {
	case why == failFatal, d.upgradeProbe:
		d.state = StateClosed
		return
	case d.replaced && !d.needed:
		d.state = StateWaiting // what is still to come is for its last replay
		return
	case d.replaced:
		d.attempt++
		d.state = StateWaiting
		d.do(doWait(d.attempt, d.configured))
		return
	case why == failConfig:
		d.configured, d.stale, d.configSuspect = false, true, false
	}
	d.attempt++
	if d.configured && d.attempt%configPatience == 0 {
		d.configured, d.stale, d.configSuspect = false, true, true
	}
	d.chooseTransport()
	d.state = StateWaiting
	if why == failCrowded {
		d.do(doWaitLong)
		return
	}
	d.do(doWait(d.attempt, d.configured))
}

// chooseTransport goes from websockets that keep failing to long polling, and
// back if that cannot be had either: then it need not be the websocket's fault.
// From then on each gets one try, until a websocket lasts.
func (d *decision) chooseTransport() {
	switch {
	case !d.auto || d.state == StateConfiguring:
	case !d.polling:
		d.preferPolling = d.preferPolling || d.attempt >= socketPatience
		d.polling = d.preferPolling
	case d.attempt > 1: // since one lasted
		d.polling = false
	}
}

// becomeReplaced: what is connected stays so beside its successor, what is not
// is not connected again.
func (d *decision) becomeReplaced() {
	d.replaced = true
	if d.needed {
		if d.state == StateConfiguring {
			d.configured, d.stale, d.configSuspect = true, false, false
			d.connect()
		}
		return
	}
	if d.state == StateConnecting || d.state == StateConfiguring {
		d.do(doHangUp)
		d.state = StateWaiting
	}
}

func (d *decision) checkReady() {
	if d.anchored && d.sure && d.state == StateLive && !d.ready && !d.upgradeProbe {
		d.ready = true
		d.do(doReady)
	}
}

// pause gives up the connection, since a push server cannot be told to wait,
// and the replay with it. When there is room, the replay goes on, as often as
// the queue gets full, and only when it has brought everything, or has broken
// off too often, is there a connection again: so what was missed comes before
// what is new.
func (d *decision) pause() {
	if d.state != StatePaused {
		d.do(doHangUp)
	}
	d.state = StatePaused
	d.pings, d.fence, d.replay, d.pending = 0, 0, replayIdle, replayNone
	d.do(doAbortReplay, doGiveBack)
}
