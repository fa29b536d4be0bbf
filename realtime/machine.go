package realtime

import "sync/atomic"

// State is where a subscription stands.
type State uint8

const (
	StateIdle        State = iota // not run yet
	StateConfiguring              // asking the source for the config
	StateConnecting               // opening the live connection
	StateLive                     // connected; messages arrive
	StateWaiting                  // disconnected; the next attempt is due after a delay
	StatePaused                   // disconnected, because the queue is full
	StateClosed                   // over, for good
)

// String is the name of the state in lower case.
func (s State) String() string {
	return [...]string{"idle", "configuring", "connecting", "live", "waiting", "paused", "closed"}[s]
}

// stateBox shows the state to other goroutines.
type stateBox struct{ v atomic.Uint32 }

func (b *stateBox) set(s State) { b.v.Store(uint32(s)) }
func (b *stateBox) get() State  { return State(b.v.Load()) }

// An event is something the machine decides upon.
type event struct {
	kind    eventKind
	failure failure // of the failed, lost and broken kinds
	again   bool    // of evReadEnded: its answer calls for another read
}

type eventKind uint8

const (
	evStart eventKind = iota
	evConfig
	evConfigFailed
	evOpened     // the live connection is up
	evLost       // the live connection is gone, or could not be opened
	evProved     // it has lasted long enough to be trusted
	evRetry      // the delay is over
	evPing       // the server has pinged and got its pong: it has sent nothing between the two
	evPong       // our ping has been answered, so what the server sent before has arrived
	evQuiet      // no ping for too long
	evStuck      // no pong for too long
	evMany       // many messages have come since the last read
	evGarbled    // a live frame could not be read to its end
	evReadEnded  // the read is over, with or without an answer
	evReadBroken // the read broke off
	evReadRetry  // the delay before it goes on is over
	evFull       // the queue refused a message
	evRoom       // the queue has room again
	evStop
)

// An action is something decide wants done. What it needs to know stands in the status it comes with.
type action uint8

const (
	doFetch    action = iota // ask the source for the config, past its cache if stale
	doDial                   // open the live connection
	doHangUp                 // close it: normal
	doDrop                   // close it: stuck
	doPing                   // send a ping on it, and watch for the pong
	doWait                   // start the delay before attempt
	doWaitLong               // start the long delay
	doHold                   // live messages wait for the coming read
	doRelease                // they wait no more
	doRead                   // begin a read, or go on with the one that broke off
	doReadWait               // start the delay before the read goes on
	doAbortRead
	doGiveBack // forget the live messages that wait: a read will bring them
	doReady    // tell the user
)

// status is all that decide knows.
type status struct {
	state      State
	fetching   bool // the source has been asked for a config
	configured bool // there is a config to connect with
	stale      bool // the next config must not come from a cache
	attempt    int  // failed attempts since a connection last lasted

	pings int // ours, not answered yet

	read        readState
	due         bool // another read is due when this one is over
	readAttempt int  // failures of this read

	anchored bool // the first read is done, or a cursor stands for it
	ready    bool
}

type readState uint8

const (
	readIdle readState = iota
	readRunning
	readWaiting // broken off; goes on after a delay
)

// patience is how many times a read may break off before live messages no longer wait for it.
const patience = 3

// decide is the life of a subscription: what it does next, given where it stands and what has happened. It is
// pure; everything it wants is in the actions.
func decide(s status, e event) (status, []action) {
	if s.state == StateClosed {
		return s, nil
	}
	d := decision{status: s}
	switch e.kind {
	case evStart:
		d.connect()
	case evConfig:
		d.fetching, d.configured, d.stale = false, true, false
		if d.state == StateConfiguring {
			d.connect()
		}
		if !d.anchored {
			d.owe() // the first read runs beside the connect
		}
	case evConfigFailed:
		d.fetching = false
		if d.state == StateConfiguring || e.failure == failFatal {
			d.fail(e.failure)
		}
	case evOpened:
		d.state = StateLive
		d.do(doHold)
		d.owe()
		d.checkReady()
	case evLost:
		d.fail(e.failure)
	case evProved:
		d.attempt = 0
	case evRetry:
		if d.state == StateWaiting {
			d.connect()
		}
	case evPing:
		d.do(doHold)
		d.ping()
	case evQuiet:
		d.ping()
	case evPong:
		if d.pings > 0 {
			if d.pings--; d.pings == 0 {
				d.owe()
			}
		}
	case evStuck:
		d.do(doDrop)
		d.fail(failPassing)
	case evMany, evGarbled:
		d.owe()
	case evReadEnded:
		d.due = d.due || e.again
		d.readEnded()
	case evReadBroken:
		d.readBroken(e.failure)
	case evReadRetry:
		if d.read == readWaiting {
			d.read = readRunning
			d.do(doRead)
		}
	case evFull:
		d.pause()
	case evRoom:
		if d.state == StatePaused && d.read == readIdle {
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

// connect dials, with a new config first if the present one is of no use.
func (d *decision) connect() {
	if d.configured {
		d.state = StateConnecting
		d.do(doDial)
		return
	}
	d.state = StateConfiguring
	if !d.fetching {
		d.fetching = true
		d.do(doFetch)
	}
}

// fail answers a failed attempt or a lost connection.
func (d *decision) fail(why failure) {
	d.pings = 0
	if why == failFatal {
		d.state = StateClosed
		return
	}
	if why == failConfig {
		d.configured, d.stale = false, true
	}
	d.state = StateWaiting
	d.attempt++
	if why == failCrowded {
		d.do(doWaitLong)
		return
	}
	d.do(doWait)
}

func (d *decision) ping() {
	d.pings++
	d.do(doPing)
}

// owe sees to it that a read begins after this moment.
func (d *decision) owe() {
	if d.read != readIdle {
		d.due = true
		return
	}
	d.read = readRunning
	d.do(doRead)
}

func (d *decision) readEnded() {
	d.read, d.readAttempt = readIdle, 0
	d.anchored = true
	if d.due {
		d.due = false
		d.owe()
	} else if d.state == StatePaused {
		d.connect()
	}
	d.checkReady()
}

func (d *decision) readBroken(why failure) {
	d.read = readWaiting
	d.readAttempt++
	d.do(doReadWait)
	if d.readAttempt >= patience {
		d.do(doRelease)
	}
	if why == failConfig && (d.state == StateLive || d.state == StatePaused) {
		d.do(doHangUp)
		d.fail(why)
	}
}

func (d *decision) checkReady() {
	if d.anchored && d.state == StateLive && !d.ready {
		d.ready = true
		d.do(doReady)
	}
}

// pause gives up the connection, since a push server cannot be told to wait, and the read with it. When there is
// room, the read goes on, as often as the queue gets full, and only when it has brought everything is there a
// connection again: so what was missed comes before what is new.
func (d *decision) pause() {
	if d.state != StatePaused {
		d.do(doHangUp)
	}
	d.state = StatePaused
	d.pings, d.read, d.due = 0, readIdle, false
	d.do(doAbortRead, doGiveBack)
}
