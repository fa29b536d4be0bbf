package realtime

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestCursorText(t *testing.T) {
	tests := []Cursor{
		{},
		{pos: midAt(1)},
		{pos: wire.Mid{Epoch: 9_999_999_999, Counter: wire.MaxCounter}},
		{acked: []wire.Key{{Mid: midAt(3), Sum: 1}}},
		{pos: midAt(7), acked: []wire.Key{{Mid: midAt(9), Sum: 0}, {Mid: midAt(9), Sum: 0xffff}, {Mid: midAt(12), Sum: 5}, {Mid: wire.Mid{Epoch: 1795421101, Counter: 2}, Sum: 6}}},
		{pos: midAt(7), retentionProbe: midAt(8), replayedAt: time.Unix(1795421103, 0)},
		{acked: []wire.Key{{Mid: wire.Mid{}, Sum: wire.FullSum | 0xfffff}, {Mid: midAt(9), Sum: 5}}},
		{bound: binding{1, 2, 3}},
		{bound: binding{1, 0xffffffff, 3}, tags: true, pos: wire.Mid{Epoch: 1795421101, Counter: 2}, acked: []wire.Key{{Mid: wire.Mid{Epoch: 1795421101, Counter: 2}, Sum: 6}}},
	}
	for _, c := range tests {
		text, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Cursor
		if err := back.UnmarshalText(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(c, back, cmp.AllowUnexported(Cursor{}, wire.Key{}, wire.Mid{}, binding{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestCursorKeysAreShort: a message is known again by what a cursor holds of
// it, and so is one of the same mid that is another.
func TestCursorKeysAreShort(t *testing.T) {
	s := newDriven(t, after(1))
	one, other := s.message(2, 0), s.message(2, 0)
	one.key.Sum, other.key.Sum = wire.FullSum|0x1234567, wire.FullSum|0x1234568
	s.live(one, s.now)
	m, _, _ := s.queue.tryPop()
	text, err := m.Cursor().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var from Cursor
	if err := from.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	for _, first := range []Message{one, other} {
		next := newDriven(t, from)
		next.live(first, next.now)
		next.live(one, next.now)
		next.beginReplay(next.now, "")
		next.shows(1)
		next.replayed(one, next.now)
		next.replayed(other, next.now)
		next.endReplay(replayEnded, false, next.now)
		if first.key == one.key {
			next.want("2R") // the other
		} else {
			next.want("2")
		}
	}
}

func TestCursorDamaged(t *testing.T) {
	text, _ := Cursor{pos: midAt(7), acked: []wire.Key{{Mid: midAt(9), Sum: 8}}}.MarshalText()
	for i := range text {
		for _, c := range []byte("02A.~") {
			damaged := slices.Clone(text)
			if damaged[i] == c {
				continue
			}
			damaged[i] = c
			kept := Cursor{pos: midAt(1)}
			if err := kept.UnmarshalText(damaged); err == nil || kept.pos != midAt(1) {
				t.Errorf("%s: error %v, cursor %v", damaged, err, kept)
			}
		}
		var c Cursor
		if err := c.UnmarshalText(text[:i]); err == nil && i > 0 {
			t.Errorf("%s: no error", text[:i])
		}
	}
}

// FuzzCursor: no text makes a cursor panic, and what decodes encodes to the
// same again.
func FuzzCursor(f *testing.F) {
	text, _ := Cursor{pos: midAt(7), acked: []wire.Key{{Mid: midAt(9), Sum: 8}}}.MarshalText()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var c, again Cursor
		if c.UnmarshalText(text) != nil {
			return
		}
		out, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(Cursor{}, wire.Key{}, wire.Mid{}, binding{})); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}
