package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// keysOf are the keys of a position.
func keysOf(p Position) []wire.Key { return slices.Collect(p.Keys()) }

func midAt(n uint64) wire.Mid { return wire.Mid{Epoch: 1795421100, Counter: n} }

// newHistory begins a history of its own.
func newHistory(from Position, q *Queue, now time.Time, report func(Event)) *History {
	return NewDedup(from, NewAcks(from), q, now, report).First(from, !from.IsZero(), now)
}

// after is the cursor of one who has handled message n and all before it.
func after(n uint64) Position {
	return Position{Progress: Progress{Watermark: midAt(n)}, Acked: []wire.Key{{Mid: midAt(n)}}}
}

// driven is a history by hand, with a clock of its own.
type driven struct {
	t *testing.T
	*History
	now  time.Time
	kept time.Duration // what messages say of how long they are
}

func newDriven(t *testing.T, from Position) *driven {
	now := time.Unix(1795421100, 0)
	return &driven{t: t, History: newHistory(from, NewQueue(100, 1<<20), now, func(Event) {}), now: now}
}

func (s *driven) pass(d time.Duration) { s.now = s.now.Add(d) }

func (s *driven) message(n uint64, created time.Duration) Message {
	return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n)}, Time: s.now.Add(created), Size: 10, Kept: s.kept, Command: fmt.Sprint(n)}}
}

func (s *driven) lives(ns ...uint64) {
	for _, n := range ns {
		if !s.Live(s.message(n, 0), s.now) {
			s.t.Fatalf("live %d was refused", n)
		}
	}
}

// reads runs one whole replay that shows messages, and returns whether it was
// complete.
func (s *driven) reads(ns ...uint64) bool {
	s.BeginReplay(s.now, "")
	s.shows(ns...)
	s.EndAnswer(s.now)
	result, again := s.EndReplay(ReplayEnded, false, s.now)
	if again {
		s.BeginReplay(s.now, "")
		s.shows(ns...)
		s.EndReplay(ReplayEnded, false, s.now)
	}
	return result.Complete
}

func (s *driven) shows(ns ...uint64) {
	for _, n := range ns {
		if !s.Replayed(s.message(n, 0), s.now) {
			s.t.Fatalf("history %d was refused", n)
		}
	}
}

// wantKnown checks the cursor.
func (s *driven) wantKnown(n uint64) {
	s.t.Helper()
	want := wire.Mid{}
	if n > 0 {
		want = midAt(n)
	}
	if s.Watermark != want {
		s.t.Errorf("cursor at %v, want %v", s.Watermark, want)
	}
}

// want checks what has been delivered since the last call; a late message is
// written as n+"L", a replayed one as n+"R".
func (s *driven) want(messages ...string) {
	s.t.Helper()
	var got []string
	for {
		m, _, ok := s.queue.TryPop()
		if !ok {
			break
		}
		text := m.Command
		if m.Replayed {
			text += "R"
		}
		if m.Late {
			text += "L"
		}
		got = append(got, text)
		s.acks.Handled(m.Receipt())
	}
	if !slices.Equal(got, messages) {
		s.t.Errorf("delivered %q, want %q", got, messages)
	}
}

// anchor runs the first replay of a history over messages of some age.
func (s *driven) anchor(ages map[uint64]time.Duration) {
	s.BeginReplay(s.now, "")
	var ns []uint64
	for n := range ages {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	for _, n := range ns {
		s.Replayed(s.message(n, -ages[n]), s.now)
	}
	s.EndReplay(ReplayEnded, false, s.now)
}
