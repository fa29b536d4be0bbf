package delivery

import (
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// ordered records what an reorder buffer lets through.
type ordered struct {
	ReorderBuffer
	out []uint64
	now time.Time
}

func newOrdered() *ordered {
	o := &ordered{now: time.Unix(1795421100, 0)}
	o.Patience, o.most, o.mostOf = HoldMax, maxReplayed, 1<<20
	o.emit = func(m *Message) { o.out = append(o.out, m.Key.Mid.Counter) }
	return o
}

func (o *ordered) lives(ns ...uint64) {
	for _, n := range ns {
		m := Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n)}}}
		if o.waits() {
			o.park(&m, o.now)
		} else {
			o.emit(&m)
		}
	}
}

func (o *ordered) finds(ns ...uint64) {
	for _, n := range ns {
		o.found(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n)}}})
		o.shown(midAt(n))
	}
}

func (o *ordered) want(t *testing.T, ns ...uint64) {
	t.Helper()
	if !slices.Equal(o.out, ns) {
		t.Errorf("let through %v, want %v", o.out, ns)
	}
}

func TestReorder_WithoutReplay(t *testing.T) {
	o := newOrdered()
	o.lives(1, 3, 2)
	o.want(t, 1, 3, 2) // as the server sent them
}

func TestReorder_MergesReplay(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.lives(5, 6)
	o.want(t)
	o.finds(2, 3)
	o.want(t, 2, 3) // nothing that waits is older
	o.finds(4)
	o.shown(midAt(5)) // the replay shows again what waits
	o.want(t, 2, 3, 4, 5)
	o.finds(8)
	o.lives(9)
	o.want(t, 2, 3, 4, 5, 6)
	o.end(false)
	o.want(t, 2, 3, 4, 5, 6, 8, 9)
	o.lives(10)
	o.want(t, 2, 3, 4, 5, 6, 8, 9, 10)
}

// TestReorder_KeepsTheServersOrder: waiting messages stay in the order they
// came in, also where their ids are not.
func TestReorder_KeepsTheServersOrder(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.lives(6, 5)
	o.finds(3, 4, 7)
	o.end(false)
	o.want(t, 3, 4, 6, 5, 7)
}

// TestReorder_ReplayAloneComesLast: what only the replay has above the greatest
// waiting message waits for the end, since the server may be about to send
// messages that belong before it.
func TestReorder_ReplayAloneComesLast(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.finds(2, 4)
	o.want(t)
	o.lives(3)
	o.end(false)
	o.want(t, 2, 3, 4)
}

func TestReorder_BoundsTheTail(t *testing.T) {
	o := newOrdered()
	for n := uint64(1); n <= maxReplayed+10; n++ {
		o.finds(n)
	}
	if len(o.out) != 10 {
		t.Errorf("%d of %d let through, want 10", len(o.out), maxReplayed+10)
	}
}

// TestReorder_Pending: while another replay is pending, only what this one's
// answer covers is let through.
func TestReorder_Pending(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.lives(3, 9)
	o.finds(2, 4)
	o.end(true)
	o.want(t, 2, 3, 4)
	o.finds(7)
	o.end(false)
	o.want(t, 2, 3, 4, 7, 9)
}

// TestReorder_ReplayWithoutHold: while a replay brings its answer, live
// messages wait for its end in any case.
func TestReorder_ReplayWithoutHold(t *testing.T) {
	o := newOrdered()
	o.lives(1)
	o.finds(2, 3)
	o.lives(4)
	o.want(t, 1)
	o.end(false)
	o.lives(5)
	o.want(t, 1, 2, 3, 4, 5)
}

// TestReorder_HoldEnds: nobody waits longer than HoldMax for a replay that does
// not begin to answer.
func TestReorder_HoldEnds(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.lives(1)
	o.now = o.now.Add(HoldMax / 2)
	o.lives(2)
	if next := o.Expire(o.now); !next.Equal(o.now.Add(HoldMax / 2)) {
		t.Errorf("next in %v", next.Sub(o.now))
	}
	o.want(t)
	o.now = o.now.Add(HoldMax / 2)
	o.Expire(o.now)
	o.want(t, 1)
	o.begins()
	if next := o.Expire(o.now); !next.Equal(o.now.Add(HoldMax / 2)) {
		t.Errorf("while a read answers, next in %v", next.Sub(o.now))
	}
	o.now = o.now.Add(HoldMax / 2)
	o.Expire(o.now)
	o.want(t, 1, 2)
	o.end(false)
	o.want(t, 1, 2)
}

func TestReorder_Release(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.lives(1, 2)
	o.Release()
	o.lives(3)
	o.want(t, 1, 2, 3)
}

// TestReorder_WaitsOnForAnother: what waits for a pending replay is not
// overtaken by what comes live next.
func TestReorder_WaitsOnForAnother(t *testing.T) {
	o := newOrdered()
	o.finds(2)
	o.lives(4)
	o.end(true)
	o.lives(5)
	o.want(t, 2)
	o.finds(3)
	o.end(false)
	o.want(t, 2, 3, 4, 5)
}

// TestReorder_Replaced: what the replay of replaced channels alone has waits a
// while for what comes live over the new connection, and is read there, before
// it.
func TestReorder_Replaced(t *testing.T) {
	replaced := func() *ordered {
		o := newOrdered()
		o.Replaced = true
		o.finds(2, 4)
		o.end(false)
		o.Expire(o.now)
		o.want(t)
		o.Replaced = false
		return o
	}
	o := replaced()
	o.Pass() // a poll of theirs ends
	o.lives(3, 5)
	o.want(t)
	o.Release() // one of the others' ends
	o.want(t, 2, 3, 4, 5)
	o.lives(6)
	o.want(t, 2, 3, 4, 5, 6)

	o = replaced()
	o.finds(3)
	o.end(false)
	o.want(t, 2, 3, 4)

	o = replaced()
	o.now = o.now.Add(HoldMax / 2)
	o.lives(3)
	o.now = o.now.Add(HoldMax / 2)
	o.Expire(o.now)
	o.want(t, 2, 3, 4)

	o = replaced()
	o.lives(5)
	if next := o.Expire(o.now); !next.Equal(o.now.Add(HoldMax)) {
		t.Errorf("it waits for %v", next.Sub(o.now))
	}
	o.now = o.now.Add(HoldMax)
	o.Expire(o.now)
	o.lives(6)
	o.want(t, 2, 4, 5, 6)

	o = replaced()
	o.Hold()
	o.lives(3)
	o.now = o.now.Add(HoldMax)
	o.Expire(o.now)
	o.want(t, 2, 3, 4)
}

// TestReorder_SingleAnswer: an answer that may be a live message says nothing
// of what may stand before that.
func TestReorder_SingleAnswer(t *testing.T) {
	s := newDriven(t, after(1))
	s.Reorder.Hold()
	s.lives(4)
	s.BeginReplay(s.now, "")
	s.shows(4)
	s.want()
	s.EndReplay(ReplayEnded, true, s.now)
	s.lives(5)
	s.want()
	s.reads(1, 2, 3, 4, 5)
	s.want("2R", "3R", "4", "5")
}

// TestReorder_SingleAnswers: nor does a second such answer let through what the
// first one has brought.
func TestReorder_SingleAnswers(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.begins()
	o.found(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(6)}}})
	o.expectAnother()
	o.lives(4)
	o.begins()
	o.end(true)
	o.want(t)
	o.finds(3)
	o.shown(midAt(6))
	o.end(false)
	o.want(t, 3, 4, 6)
}

// TestReorder_SingleAnswerAhead: what such an answer has brought does not
// overtake what the next replay shows before it, whatever waits behind it.
func TestReorder_SingleAnswerAhead(t *testing.T) {
	o := newOrdered()
	o.Hold()
	o.begins()
	o.found(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(6)}}})
	o.expectAnother()
	o.lives(7)
	o.finds(3)
	o.want(t, 3)
	o.finds(5)
	o.shown(midAt(6))
	o.shown(midAt(7))
	o.end(false)
	o.want(t, 3, 5, 6, 7)
}

// TestReorder_HoldsNoLonger: while a replay goes on answering, what waits does
// so for its time, in whatever order it has come, and what the replay brings
// then is behind its turn.
func TestReorder_HoldsNoLonger(t *testing.T) {
	for _, sorted := range []bool{false, true} {
		o := newOrdered()
		o.Sorted = sorted
		arrived := make(map[uint64]time.Time)
		longest := time.Duration(0)
		o.emit = func(m *Message) {
			if at, live := arrived[m.Key.Mid.Counter]; live {
				longest = max(longest, o.now.Sub(at))
				delete(arrived, m.Key.Mid.Counter)
			}
		}
		o.begins()
		for n := range uint64(500) { // each before the one before it
			o.lives(100_000 - n)
			arrived[100_000-n] = o.now
			if n%10 == 0 {
				o.finds(n + 1)
			}
			o.now = o.now.Add(100 * time.Millisecond)
			for next := o.Expire(o.now); !next.IsZero() && !o.now.Before(next); next = o.Expire(o.now) {
			}
		}
		if waits := len(arrived); longest > HoldMax || waits > 20 {
			t.Errorf("sorted %t: held for up to %v, and %d wait", sorted, longest, waits)
		}
		if n := o.replayed.len(); n > 2 {
			t.Errorf("sorted %t: %d that the read has brought wait", sorted, n)
		}
	}
}
