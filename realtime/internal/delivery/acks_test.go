package delivery

import (
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestAcks(t *testing.T) {
	k := func(n uint64) wire.Key { return wire.Key{Mid: midAt(n)} }
	l := NewAcks(Position{})
	want := func(after wire.Key, pos wire.Mid, done ...uint64) {
		t.Helper()
		c := l.PositionAfter(Receipt{Key: after})
		var got []uint64
		for d := range c.Keys() {
			got = append(got, d.Mid.Counter)
		}
		if c.Watermark != pos || !slices.Equal(got, done) {
			t.Errorf("cursor %v with %v, want %v with %v", c.Watermark, got, pos, done)
		}
	}
	for n := uint64(1); n <= 5; n++ {
		l.take([]wire.Key{k(n)}, 0)
	}
	want(k(1), wire.Mid{}, 1) // nothing is known of the history yet
	l.settle(k(1))
	l.settle(k(3))
	l.advance(Progress{Watermark: midAt(4)})
	want(k(3), midAt(1), 1, 3) // 2 is open, so the position stays before it
	want(k(2), midAt(3), 3)    // with 2 handled it moves up to before 4
	l.settle(k(2))
	l.settle(k(4))
	l.advance(Progress{Watermark: midAt(4)})
	want(k(5), midAt(4), 4, 5)
	l.take([]wire.Key{k(2)}, 0) // late: it turned up after the position had passed it
	want(k(5), midAt(1), 4, 5)
	if got := NewAcks(l.PositionAfter(Receipt{Key: k(5)})).PositionAfter(Receipt{}); got.Watermark != midAt(1) || len(keysOf(got)) != 2 {
		t.Errorf("acks that go on from a cursor give %+v", got)
	}
}

// stored is what comes back of a position that has been stored as the text of a
// cursor, which holds keys shortened.
func stored(p Position) Position {
	p.ReplayedAt = p.ReplayedAt.Truncate(time.Second)
	p.Acked, p.further = keysOf(p), nil
	for i, k := range p.Acked {
		if !p.Tags && !k.Mid.IsZero() {
			p.Acked[i] = k.Shorten()
		}
	}
	return p
}

// TestAcks_KeysAreKnownShortened: a message is known again by what a cursor
// holds of it, and so is one of the same mid that is another.
func TestAcks_KeysAreKnownShortened(t *testing.T) {
	s := newDriven(t, after(1))
	one, other := s.message(2, 0), s.message(2, 0)
	one.Key.Sum, other.Key.Sum = wire.FullSum|0x1234567, wire.FullSum|0x1234568
	s.Live(one, s.now)
	m, _, _ := s.queue.TryPop()
	from := stored(s.acks.PositionAfter(m.Receipt()))
	for _, first := range []Message{one, other} {
		next := newDriven(t, from)
		next.Live(first, next.now)
		next.Live(one, next.now)
		next.BeginReplay(next.now, "")
		next.shows(1)
		next.Replayed(one, next.now)
		next.Replayed(other, next.now)
		next.EndReplay(ReplayEnded, false, next.now)
		if first.Key == one.Key {
			next.want("2R") // the other
		} else {
			next.want("2")
		}
	}
}
