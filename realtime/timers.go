package realtime

import "time"

type timerKind uint8

const (
	// of a connection
	timerRetry       timerKind = iota // before the next attempt
	timerStable                       // a connection has lasted
	timerIdle                         // the server has not pinged; of polls: the next replay
	timerPong                         // our ping was not answered; of polls: the poll
	timerKeepAlive                    // before a ping that keeps the connection from being idle
	timerHeartbeat                    // the server has given no sign of life
	timerPinged                       // a replay is to follow pings of the server
	timerShortReplay                  // a poll has been hanging for a moment
	timerHang                         // before the next poll, after one that came back too soon; before what the server wants later
	timerReplayRetry                  // before a broken replay goes on
	timerFar                          // far enough from the last replay for one that is due
	timerParked                       // what came over replaced channels has waited long enough
	timerLeave                        // nothing more comes over replaced channels

	// of the loop
	timerReplay  // a replay does not answer, or has stalled
	timerHeld    // a replay that waits may begin
	timerHold    // a live message has waited long enough
	timerRenew   // a config is about to end
	timerControl // control commands may be obeyed
	timerCheck   // the portal is asked whether it knows the successors that were gone over to
	timerReturn  // websockets may work again
	timerTell    // what has been summed up is to be told

	timerKinds
)

// deadlines are points in time; the zero time is none.
type deadlines [timerKinds]time.Time

func (d *deadlines) arm(kind timerKind, at time.Time) { d[kind] = at }

func (d *deadlines) disarm(kinds ...timerKind) {
	for _, k := range kinds {
		d[k] = time.Time{}
	}
}

func (d *deadlines) armed(kind timerKind) bool { return !d[kind].IsZero() }

// due reports whether a deadline has come, and takes it away.
func (d *deadlines) due(kind timerKind, now time.Time) bool {
	at := d[kind]
	if at.IsZero() || now.Before(at) {
		return false
	}
	d[kind] = time.Time{}
	return true
}

// next is the earlier of a point in time and all deadlines.
func (d *deadlines) next(first time.Time) time.Time {
	for _, at := range d {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// alarm is a real timer that is set anew before each wait.
type alarm struct{ timer *time.Timer }

func newAlarm() alarm {
	a := alarm{time.NewTimer(time.Hour)}
	a.timer.Stop()
	return a
}

func (a alarm) stop() { a.timer.Stop() }

// at returns a channel that tells when the time has come; never for the zero
// time.
func (a alarm) at(t time.Time) <-chan time.Time {
	if t.IsZero() {
		return nil
	}
	a.timer.Reset(time.Until(t))
	return a.timer.C
}
