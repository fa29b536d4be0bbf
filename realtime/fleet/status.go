package fleet

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// State is where the portal of a key stands.
type State uint8

// The states of a key.
const (
	_            State = iota
	StateQueued        // it waits for the end of the one before it under the key
	StateRunning       // its subscription runs; Status.Subscription says where that stands
	StateDelayed       // its subscription has ended with an error and is begun again at Status.Next
	StateWaiting       // its subscription has ended and is not begun again of itself; see Wait
	StateEnding        // it is being removed
	states
)

var stateNames = [states]string{"none", "queued", "running", "delayed", "waiting", "ending"}

// String is the state in lower case.
func (s State) String() string {
	if s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is how it stands with the portal of a key.
type Status struct {
	State State
	// Subscription is the state of the subscription that runs.
	Subscription realtime.State
	// Runs counts the subscriptions of the key since it was added.
	Runs int
	// Err is why the last run has ended; nil while one runs. It holds no
	// secret.
	Err error
	// Next is when the next run begins, in StateDelayed.
	Next time.Time
	// Stats are those of all runs since the key was added.
	Stats realtime.Stats
}

// Stats are those of a whole fleet.
type Stats struct {
	// Keys counts the keys in each State.
	Keys map[State]int
	// Live counts the subscriptions that are connected.
	Live int
	// Total are the sums over all subscriptions, those that have ended
	// included, so that what is counted only grows. QueuedMessages and
	// QueuedBytes are the sums of what is queued now. Of what is no number it
	// has any one subscription's value.
	Total realtime.Stats
	// Requests are under way, of those that WithRequests says, and Waiting wait
	// for their turn.
	Requests, Waiting int
}

// Status returns how it stands with a key; false if there is no such key.
func (f *Fleet) Status(key string) (Status, bool) {
	f.mu.Lock()
	m := f.members[key]
	f.mu.Unlock()
	if m == nil {
		return Status{}, false
	}
	return m.now(), true
}

// now is the status with what the subscription says.
func (m *member) now() Status {
	m.fleet.mu.Lock()
	s, past, sub := m.status, m.past, m.sub
	if m.ending {
		s.State = StateEnding
	}
	m.fleet.mu.Unlock()
	addStats(&s.Stats, past)
	if sub != nil {
		s.Subscription = sub.State()
		addStats(&s.Stats, sub.Stats())
	}
	return s
}

// Stats returns the statistics of the fleet.
func (f *Fleet) Stats() Stats {
	all := Stats{Keys: make(map[State]int)}
	all.Requests, all.Waiting = f.shared.Gate.Counts()
	f.mu.Lock()
	members := slices.Collect(maps.Values(f.members))
	past := f.past // of those that are gone; a member that goes from now on keeps its own
	var before []*member
	for _, m := range members {
		for one := m.before; one != nil && !one.isGone(); one = one.before {
			before = append(before, one)
		}
	}
	f.mu.Unlock()
	addStats(&all.Total, past)
	for _, m := range members {
		s := m.now()
		all.Keys[s.State]++
		if s.Subscription == realtime.StateLive || s.Subscription == realtime.StateDegraded {
			all.Live++
		}
		addStats(&all.Total, s.Stats)
	}
	for _, m := range before {
		addStats(&all.Total, m.now().Stats)
	}
	return all
}

// isGone reports whether nothing of the member runs any more, and the fleet's
// past has what it had.
func (m *member) isGone() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// addStats adds what is counted, and what is queued. What is neither, like a
// duration or a time, is the later one's.
func addStats(sum *realtime.Stats, s realtime.Stats) {
	to, from := reflect.ValueOf(sum).Elem(), reflect.ValueOf(s)
	for i := range from.NumField() {
		switch a, b := to.Field(i), from.Field(i); a.Kind() {
		case reflect.Uint64:
			a.SetUint(a.Uint() + b.Uint())
		case reflect.Int:
			a.SetInt(a.Int() + b.Int())
		case reflect.Map:
			next := reflect.MakeMapWithSize(a.Type(), a.Len())
			for _, m := range []reflect.Value{a, b} {
				for k, v := range m.Seq2() {
					n := v.Uint()
					if old := next.MapIndex(k); old.IsValid() {
						n += old.Uint()
					}
					next.SetMapIndex(k, reflect.ValueOf(n).Convert(a.Type().Elem()))
				}
			}
			a.Set(next)
		default:
			if !b.IsZero() {
				a.Set(b)
			}
		}
	}
}
