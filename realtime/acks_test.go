package realtime

import (
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestAcks(t *testing.T) {
	k := func(n uint64) wire.Key { return wire.Key{Mid: midAt(n)} }
	l := newAcks(Cursor{})
	want := func(after wire.Key, pos wire.Mid, done ...uint64) {
		t.Helper()
		c := l.cursorAfter(Message{key: after})
		var got []uint64
		for _, d := range c.acked {
			got = append(got, d.Mid.Counter)
		}
		if c.pos != pos || !slices.Equal(got, done) {
			t.Errorf("cursor %v with %v, want %v with %v", c.pos, got, pos, done)
		}
	}
	for n := uint64(1); n <= 5; n++ {
		l.take(Message{key: k(n)})
	}
	want(k(1), wire.Mid{}, 1) // nothing is known of the history yet
	l.settle(k(1))
	l.settle(k(3))
	l.advance(midAt(4), wire.Mid{}, time.Time{})
	want(k(3), midAt(1), 1, 3) // 2 is open, so the position stays before it
	want(k(2), midAt(3), 3)    // with 2 handled it moves up to before 4
	l.settle(k(2))
	l.settle(k(4))
	l.advance(midAt(4), wire.Mid{}, time.Time{})
	want(k(5), midAt(4), 4, 5)
	l.take(Message{key: k(2)}) // late: it turned up after the position had passed it
	want(k(5), midAt(1), 4, 5)
	if got := newAcks(l.cursorAfter(Message{key: k(5)})).cursorAfter(Message{}); got.pos != midAt(1) || len(got.acked) != 2 {
		t.Errorf("a ledger that goes on from a cursor gives %+v", got)
	}
}
