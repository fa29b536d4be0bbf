package realtime

import "time"

type timerKind uint8

const (
	timerRetry     timerKind = iota // before the next attempt
	timerProved                     // a connection has lasted
	timerQuiet                      // the server has not pinged
	timerPong                       // our ping was not answered
	timerRead                       // a read does not answer, or has stalled
	timerReadRetry                  // before a broken read goes on
	timerFar                        // far enough from the last read for one that is due
	timerHold                       // a live message has waited long enough
	timerKinds
)

// timers are the deadlines of a loop, over one real timer. The zero time is no deadline.
type timers struct {
	deadlines [timerKinds]time.Time
	timer     *time.Timer
}

func (t *timers) init() {
	t.timer = time.NewTimer(time.Hour)
	t.timer.Stop()
}

func (t *timers) stop() { t.timer.Stop() }

func (t *timers) arm(kind timerKind, at time.Time) { t.deadlines[kind] = at }

func (t *timers) disarm(kinds ...timerKind) {
	for _, k := range kinds {
		t.deadlines[k] = time.Time{}
	}
}

// c sets the timer to the earliest deadline and returns its channel.
func (t *timers) c() <-chan time.Time {
	var next time.Time
	for _, at := range t.deadlines {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		return nil
	}
	t.timer.Reset(time.Until(next))
	return t.timer.C
}

// due reports whether a deadline has come, and takes it away.
func (t *timers) due(kind timerKind, now time.Time) bool {
	at := t.deadlines[kind]
	if at.IsZero() || now.Before(at) {
		return false
	}
	t.deadlines[kind] = time.Time{}
	return true
}
