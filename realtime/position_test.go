package realtime

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// midAt is the mid number n of one server's sequence.
func midAt(n uint64) mid { return mid{1795421100, n} }

func TestMid(t *testing.T) {
	m, ok := midFromBCD([]byte{0x17, 0x95, 0x42, 0x11, 0, 0, 0, 0, 0, 0, 5, 0x32, 0x84})
	if !ok || m != (mid{1795421100, 53284}) {
		t.Fatalf("read %v, %v", m, ok)
	}
	if got := m.String(); got != "17954211000000000000053284" {
		t.Errorf("String is %s", got)
	}
	for _, bad := range [][]byte{nil, {0x17}, []byte("0123456789ab\xff"), make([]byte, 14)} {
		if m, ok := midFromBCD(bad); ok {
			t.Errorf("%x read as %v", bad, m)
		}
	}
	prev := map[mid]mid{
		{1795421100, 53284}: {1795421100, 53283},
		{1795421100, 1}:     {1795421100, 0},
		{1795421100, 0}:     {1795421099, 9999999999999999},
		{0, 0}:              {0, 0},
	}
	for from, want := range prev {
		if got := from.prev(); got != want {
			t.Errorf("before %v is %v, want %v", from, got, want)
		}
	}
	ordered := []mid{{}, {0, 1}, {1795421100, 0}, {1795421100, 7}, {1795421101, 0}}
	if !slices.IsSortedFunc(ordered, mid.compare) {
		t.Error("mids do not compare by their digits")
	}
}

func TestMidFromDigits(t *testing.T) {
	if m, ok := midFromDigits([]byte("17954211000000000000053284")); !ok || m != (mid{1795421100, 53284}) {
		t.Errorf("read %v, %v", m, ok)
	}
	if m, ok := midFromDigits([]byte("99999999999999999999999999")); !ok || m != (mid{maxEpoch, maxCounter}) {
		t.Errorf("read %v, %v", m, ok)
	}
	for _, bad := range []string{"", "1", "1795421100000000000005328", "179542110000000000000532840", "1795421100000000000005328a",
		"17954211/0000000000005328:", "+1795421100000000000053284", " 7954211000000000000053284"} {
		if m, ok := midFromDigits([]byte(bad)); ok || !m.isZero() {
			t.Errorf("%q read as %v", bad, m)
		}
	}
}

func TestMidFromTag(t *testing.T) {
	at := time.Unix(1795424435, 0)
	tests := []struct {
		at   time.Time
		tag  string
		want mid
		ok   bool
	}{
		{at, "1", mid{1795424435, 1}, true},
		{at, "060", mid{1795424435, 60}, true},
		{at, "0", mid{1795424435, 0}, true},
		{at, "9999999999999999", mid{1795424435, maxCounter}, true},
		{time.Unix(maxEpoch, 0), "1", mid{maxEpoch, 1}, true},
		{time.Unix(maxEpoch+1, 0), "1", mid{}, false},
		{time.Time{}, "1", mid{}, false},
		{at, "", mid{}, false},
		{at, "-1", mid{}, false},
		{at, "10000000000000000", mid{}, false},
	}
	for _, tt := range tests {
		if m, ok := midFromTag(tt.at, []byte(tt.tag)); m != tt.want || ok != tt.ok {
			t.Errorf("%v, %q: %v, %v", tt.at, tt.tag, m, ok)
		}
	}
}

func TestKeyOfTag(t *testing.T) {
	at, tag := time.Unix(1795424435, 0), []byte("1")
	keys := map[key]bool{}
	for _, parts := range [][]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "c"}, {"b", "a"}, {"ab"}} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		k := keyOfTag(at, tag, raw...)
		if k.mid != (mid{1795424435, 1}) || keys[k] {
			t.Errorf("%q: key %v is another's or has no place", parts, k)
		}
		keys[k] = true
	}
}

func TestKeyOf(t *testing.T) {
	id := []byte{0x17, 0x95, 0x42, 0x11, 0, 0, 0, 0, 0, 0, 5, 0x32, 0x84}
	if got := keyOf(id, []byte("body")).mid; got != (mid{1795421100, 53284}) {
		t.Errorf("mid is %v", got)
	}
	if keyOf(id, []byte("a")) == keyOf(id, []byte("b")) {
		t.Error("another body has the same key")
	}
	other := append([]byte{0xaa}, id[1:]...)
	if k := keyOf(other, []byte("a")); !k.mid.isZero() {
		t.Errorf("an id that is no mid became %v", k.mid)
	}
	if keyOf(other, []byte("a")) == keyOf(id[:3], []byte("a")) {
		t.Error("ids that are no mids are not told apart")
	}
	if keyOfDigits([]byte("17954211000000000000053284"), []byte("a")) != keyOf(id, []byte("a")) {
		t.Error("an id in digits has another key than in bytes")
	}
	if k := keyOfDigits([]byte("1"), []byte("a")); !k.mid.isZero() || k == keyOfDigits([]byte("2"), []byte("a")) {
		t.Errorf("digits that are no mid became %v", k)
	}
}

func TestCursorText(t *testing.T) {
	tests := []Cursor{
		{},
		{pos: midAt(1)},
		{pos: mid{9_999_999_999, maxCounter}},
		{done: []key{{midAt(3), 1}}},
		{pos: midAt(7), done: []key{{midAt(9), 0}, {midAt(9), 0xffff}, {midAt(12), 5}, {mid{1795421101, 2}, 6}}},
		{pos: midAt(7), witness: midAt(8), readAt: time.Unix(1795421103, 0)},
		{done: []key{{mid{}, fullSum | 0xfffff}, {midAt(9), 5}}},
		{bound: binding{1, 2, 3}},
		{bound: binding{1, 0xffffffff, 3}, tags: true, pos: mid{1795421101, 2}, done: []key{{mid{1795421101, 2}, 6}}},
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
		if diff := cmp.Diff(c, back, cmp.AllowUnexported(Cursor{}, key{}, mid{}, binding{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// TestCursorKeysAreShort: a message is known again by what a cursor holds of
// it, and so is one of the same mid that is another.
func TestCursorKeysAreShort(t *testing.T) {
	s := newDriven(t, after(1))
	one, other := s.message(2, 0), s.message(2, 0)
	one.key.sum, other.key.sum = fullSum|0x1234567, fullSum|0x1234568
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
		next.beginRead(next.now, "")
		next.shows(1)
		next.history(one, next.now)
		next.history(other, next.now)
		next.endRead(readEnded, false, next.now)
		if first.key == one.key {
			next.want("2R") // the other
		} else {
			next.want("2")
		}
	}
}

func TestCursorDamaged(t *testing.T) {
	text, _ := Cursor{pos: midAt(7), done: []key{{midAt(9), 8}}}.MarshalText()
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
	text, _ := Cursor{pos: midAt(7), done: []key{{midAt(9), 8}}}.MarshalText()
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
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(Cursor{}, key{}, mid{}, binding{})); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

func TestLedger(t *testing.T) {
	k := func(n uint64) key { return key{mid: midAt(n)} }
	l := newLedger(Cursor{})
	want := func(after key, pos mid, done ...uint64) {
		t.Helper()
		c := l.cursorAfter(Message{key: after})
		var got []uint64
		for _, d := range c.done {
			got = append(got, d.mid.counter)
		}
		if c.pos != pos || !slices.Equal(got, done) {
			t.Errorf("cursor %v with %v, want %v with %v", c.pos, got, pos, done)
		}
	}
	for n := uint64(1); n <= 5; n++ {
		l.take(Message{key: k(n)})
	}
	want(k(1), mid{}, 1) // nothing is known of the history yet
	l.settle(k(1))
	l.settle(k(3))
	l.advance(midAt(4), mid{}, time.Time{})
	want(k(3), midAt(1), 1, 3) // 2 is open, so the position stays before it
	want(k(2), midAt(3), 3)    // with 2 handled it moves up to before 4
	l.settle(k(2))
	l.settle(k(4))
	l.advance(midAt(4), mid{}, time.Time{})
	want(k(5), midAt(4), 4, 5)
	l.take(Message{key: k(2)}) // late: it turned up after the position had passed it
	want(k(5), midAt(1), 4, 5)
	if got := newLedger(l.cursorAfter(Message{key: k(5)})).cursorAfter(Message{}); got.pos != midAt(1) || len(got.done) != 2 {
		t.Errorf("a ledger that goes on from a cursor gives %+v", got)
	}
}
