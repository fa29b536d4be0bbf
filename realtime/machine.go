package realtime

import "sync/atomic"

// State is where a subscription stands.
type State uint8

const (
	StateIdle        State = iota // not run yet
	StateConfiguring              // asking the source for the config
	StateConnecting               // opening the live connection
	StateLive                     // connected; messages arrive
	StateDegraded                 // connected and messages arrive, but the server's history cannot be read: what live delivery misses is missing
	StateWaiting                  // disconnected; the next attempt is due after a delay
	StatePaused                   // disconnected, because the queue is full
	StateClosed                   // over, for good
)

// String is the name of the state in lower case.
func (s State) String() string {
	return [...]string{"idle", "configuring", "connecting", "live", "degraded", "waiting", "paused", "closed"}[s]
}

// stateBox shows the state to other goroutines.
type stateBox struct{ v atomic.Uint32 }

func (b *stateBox) set(s State) { b.v.Store(uint32(s)) }
func (b *stateBox) get() State  { return State(b.v.Load()) }

// An event is something the machine decides upon.
type event struct {
	kind    eventKind
	failure failure // of the failed, lost and broken kinds
	again   bool    // of evReadEnded: its answer calls for another read; of evPolled: for a peek
	silent  bool    // of evReadBroken: nothing has answered
}

type eventKind uint8

const (
	evStart eventKind = iota
	evConfig
	evConfigFailed
	evOpened     // the live connection is up; of polls: the first one is with the server
	evLost       // the live connection is gone, or could not be opened
	evProved     // it has lasted long enough to be trusted
	evRetry      // the delay is over
	evPing       // the server has pinged and got its pong: it has sent nothing between the two
	evPong       // one of our pings has been answered, so what the server sent before has arrived
	evIdle       // a ping is due that keeps the connection from being idle
	evQuiet      // no ping for too long; of polls: no read
	evStuck      // no pong for too long, or no answer to a poll
	evPolled     // a poll of the live connection is over, as polls are
	evHanging    // it has been hanging for a moment: what was published just before it was taken up can be read
	evMany       // many messages have come since the last read
	evGarbled    // a live frame could not be read to its end
	evPast       // a poll was answered by what may have stood before the beginning
	evReadEnded  // the read is over, with or without an answer
	evReadBroken // the read broke off
	evReadRetry  // the delay before it goes on is over
	evFull       // the queue refused a message
	evRoom       // the queue has room again
	evReplaced   // other channels have taken the place of these
	evLeave      // nothing more is to come: end with a last read
	evStop
)

// An action is something decide wants done. What it needs to know stands in the
// status it comes with.
type action uint8

const (
	doFetch     action = iota // ask the source for the config, past its cache if stale
	doDial                    // open the live connection, or its next poll
	doHangUp                  // close it: normal
	doDrop                    // close it: stuck
	doPing                    // send a ping on it, and watch for the pong
	doKeepAlive               // the same, for a ping that no read waits for
	doWait                    // start the delay before attempt
	doWaitLong                // start the long delay
	doHold                    // live messages wait for the coming read
	doRelease                 // they wait no more
	doRead                    // begin a read, or go on with the one that broke off
	doPeek                    // begin a short read, from where the last polls hung
	doReadWait                // start the delay before the read goes on
	doAbortRead
	doGiveBack // forget the live messages that wait: a read will bring them
	doReady    // it can be relied upon: tell the user, or take the place of the stream before
)

// status is all that decide knows of a stream.
type status struct {
	state      State
	polling    bool // over long polling, not over a websocket
	auto       bool // the one may take the place of the other
	barred     bool // websockets have failed so often that one failure of theirs is enough to poll again
	trial      bool // tries whether websockets work again: one attempt, and it has to last
	old        bool // its channels have been replaced: it is not connected again
	needed     bool // of one that is old: a successor is missing, so it is connected again
	leaving    bool // it ends with the read that is due or under way
	configured bool // there is a config to connect with
	stale      bool // the next config must not come from a cache
	doubted    bool // the config may be of no use, since nothing answers: another is asked for, and is not a must
	attempt    int  // failed attempts since a connection last lasted

	pings int // ours, not answered yet
	fence int // so many pongs from now a read is due; 0: none waits for one

	read        readState
	due         readKind // the read that is due when this one is over
	readAttempt int      // failures of this read
	readRefused bool     // the last of them was a refusal of the channels

	anchored bool // the first read is done, or a cursor stands for it
	sure     bool // the history has been read, or nothing has answered in its place
	ready    bool
}

type readState uint8

const (
	readIdle readState = iota
	readRunning
	readWaiting // broken off; goes on after a delay
)

type readKind uint8

const (
	readNone  readKind = iota
	readShort          // for what a poll may have left out
	readWhole          // from the cursor
)

const (
	// patience is how many times a read may break off before live messages no
	// longer wait for it.
	patience = 3
	// lastPatience is the same for a stream's last read, which is given up
	// then: after some two minutes.
	lastPatience = 12
	// socketPatience is how many times websockets may fail before long polling
	// is tried.
	socketPatience = 5
	// configPatience is how many times connecting may fail before another
	// config is asked for: the server may have moved.
	configPatience = 5
)

// decide is the life of a stream: what it does next, given where it stands and
// what has happened. It is pure; everything it wants is in the actions.
func decide(s status, e event) (status, []action) {
	if s.state == StateClosed {
		return s, nil
	}
	d := decision{status: s}
	switch e.kind {
	case evStart:
		d.connect()
	case evConfig:
		d.configured, d.stale, d.doubted = true, false, false
		if d.state == StateConfiguring {
			d.connect()
		}
		if !d.anchored && d.read == readIdle {
			d.owe() // the first read runs beside the connect
		}
	case evConfigFailed:
		switch {
		case d.state == StateConfiguring && d.doubted:
			d.configured, d.stale, d.doubted = true, false, false
			d.connect()
		case d.state == StateConfiguring || e.failure == failFatal:
			d.fail(e.failure)
		}
	case evOpened:
		d.state = StateLive
		d.do(doHold)
		d.owe()
		d.readAttempt = 0 // what has failed was another connection's
		d.resume()        // the server can be reached again
		d.checkReady()
	case evLost:
		d.fail(e.failure)
	case evProved:
		d.attempt = 0
		d.barred = d.barred && d.polling
		if d.trial {
			d.trial = false
			d.checkReady()
		}
	case evRetry:
		if d.state == StateWaiting {
			d.connect()
		}
	case evPing:
		d.do(doHold)
		d.ping()
	case evQuiet:
		if d.polling {
			d.owe()
		} else {
			d.ping()
		}
	case evPong:
		d.ponged()
	case evIdle:
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
			d.peek()
		}
	case evHanging:
		d.peek()
	case evMany, evGarbled, evPast:
		d.owe()
	case evReadEnded:
		if e.again {
			d.due = readWhole
		}
		d.readEnded()
	case evReadBroken:
		d.readBroken(e.failure)
		if e.silent && !d.sure {
			d.sure = true
			d.checkReady()
		}
	case evReadRetry:
		d.resume()
	case evFull:
		d.pause()
	case evRoom:
		if d.state == StatePaused && d.read == readIdle {
			d.owe()
		}
	case evReplaced:
		d.replaced()
	case evLeave:
		d.leaving = true
		if d.state != StatePaused { // there room is waited for
			d.owe()
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
// read.
func (d *decision) connect() {
	switch {
	case d.old && !d.needed:
		d.state = StateWaiting
	case !d.configured:
		d.state = StateConfiguring
		d.do(doFetch)
	default:
		d.state = StateConnecting
		switch {
		case !d.polling || d.anchored:
			d.do(doDial)
		case d.read == readIdle:
			d.owe()
		}
	}
}

// fail answers a failed attempt or a lost connection.
func (d *decision) fail(why failure) {
	d.pings, d.fence = 0, 0
	switch {
	case why == failFatal, d.trial:
		d.state = StateClosed
		return
	case d.old && !d.needed:
		d.state = StateWaiting // what is still to come is for its last read
		return
	case d.old:
		d.attempt++
		d.state = StateWaiting
		d.do(doWait)
		return
	case why == failConfig:
		d.configured, d.stale, d.doubted = false, true, false
	}
	d.attempt++
	if d.configured && d.attempt%configPatience == 0 {
		d.configured, d.stale, d.doubted = false, true, true
	}
	d.chooseTransport()
	d.state = StateWaiting
	if why == failCrowded {
		d.do(doWaitLong)
		return
	}
	d.do(doWait)
}

// chooseTransport goes from websockets that keep failing to long polling, and
// back if that cannot be had either: then it need not be the websocket's fault.
// From then on each gets one try, until a websocket lasts.
func (d *decision) chooseTransport() {
	switch {
	case !d.auto || d.state == StateConfiguring:
	case !d.polling:
		d.barred = d.barred || d.attempt >= socketPatience
		d.polling = d.barred
	case d.attempt > 1: // since one lasted
		d.polling = false
	}
}

// replaced: what is connected stays so beside its successor, what is not is not
// connected again.
func (d *decision) replaced() {
	d.old = true
	if d.needed {
		if d.state == StateConfiguring {
			d.configured, d.stale, d.doubted = true, false, false
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
	if d.anchored && d.sure && d.state == StateLive && !d.ready && !d.trial {
		d.ready = true
		d.do(doReady)
	}
}

// pause gives up the connection, since a push server cannot be told to wait,
// and the read with it. When there is room, the read goes on, as often as the
// queue gets full, and only when it has brought everything, or has broken off
// too often, is there a connection again: so what was missed comes before what
// is new.
func (d *decision) pause() {
	if d.state != StatePaused {
		d.do(doHangUp)
	}
	d.state = StatePaused
	d.pings, d.fence, d.read, d.due = 0, 0, readIdle, readNone
	d.do(doAbortRead, doGiveBack)
}
