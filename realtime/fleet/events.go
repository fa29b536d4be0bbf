package fleet

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// An Event is something that has happened to the portal of a key.
type Event struct {
	// Key is the one that Add was given; of an Application the portal's member
	// id.
	Key string
	// Kind is what has happened.
	Kind Kind
	// Run counts the subscriptions of the key since it was added, from 1 on.
	Run int
	// Told is what the subscription itself tells, where Kind is KindTold, and else
	// nil.
	Told realtime.Event
	// Err is why, nil if nothing went wrong. It holds no secret. Where Kind is
	// KindRemoved it is nil if the key was removed, by Remove or Shutdown, however
	// its last run has ended. Otherwise it says why the key is gone of itself: the
	// portal has uninstalled the application, or its token was deleted, and
	// [b24pull.EndingOf] says [b24pull.EndsRun]; or something has called
	// runtime.Goexit.
	Err error
	// Delay is how long until the next run, where Kind is KindFailed.
	Delay time.Duration
	// To is the new address, where Kind is KindMoved.
	To string
}

// Kind is what an [Event] tells of. Later releases add kinds.
type Kind uint8

// The kinds of events.
const (
	_                    Kind = iota
	KindTold                  // the subscription tells something: Event.Told
	KindBegun                 // a run of the subscription begins
	KindReady                 // no event of the portal can be missed any more
	KindFailed                // a run has ended with Err and is begun again after Delay
	KindWaiting               // a run has ended with Err and is not begun again of itself; see Wait
	KindRemoved               // the key is gone, and so is all that ran for it; see Event.Err
	KindCursorDropped         // the cursor did not fit (Err); the subscription is begun without it
	KindCursorNotRemoved      // the cursor of a portal that has uninstalled the application could not be removed
	KindEventsBound           // the portal tells from now on when it uninstalls the application
	KindEventsNotBound        // it does not: event.bind has failed with Err
	KindReadyFailed           // the function of WithReady has returned Err
	KindMoved                 // the portal has moved To another address; with Err it is not followed, or the address could not be stored
	kinds
)

var kindNames = [kinds]string{"none", "told", "begun", "ready", "failed", "waiting", "removed", "cursor dropped", "cursor not removed",
	"events bound", "events not bound", "ready failed", "moved"}

// String is the kind in lower case.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText is String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// log logs what the fleet tells of itself. What subscriptions tell they log.
func (e Event) log(l *slog.Logger) {
	switch e.Kind {
	case KindTold:
	case KindBegun:
		l.Debug("begun", "run", e.Run)
	case KindReady:
		l.Info("subscribed", "run", e.Run)
	case KindFailed:
		l.Error("the subscription has ended and is begun again", "run", e.Run, "delay", e.Delay, "err", e.Err)
	case KindWaiting:
		l.Error("the subscription has ended", "run", e.Run, "err", e.Err)
	case KindRemoved:
		l.Info("removed", "err", e.Err)
	case KindCursorDropped:
		l.Warn("the cursor does not fit and is given up; what is kept of the history comes, also what has come before", "err", e.Err)
	case KindCursorNotRemoved:
		l.Warn("the cursor could not be removed", "err", e.Err)
	case KindEventsBound:
		l.Info("the portal tells when it uninstalls the application")
	case KindEventsNotBound:
		l.Error("the portal does not tell when it uninstalls the application", "err", e.Err)
	case KindReadyFailed:
		l.Error("what was to be done first has failed", "err", e.Err)
	case KindMoved:
		if e.Err != nil {
			l.Error("the portal has moved", "to", e.To, "err", e.Err)
			return
		}
		l.Warn("the portal has moved", "to", e.To)
	}
}
