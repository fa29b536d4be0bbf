package wire

import (
	"slices"
	"testing"
	"time"
)

func TestPosition_Mid(t *testing.T) {
	m, ok := midFromBCD([]byte{0x17, 0x95, 0x42, 0x11, 0, 0, 0, 0, 0, 0, 5, 0x32, 0x84})
	if !ok || m != (Mid{1795421100, 53284}) {
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
	prev := map[Mid]Mid{
		{1795421100, 53284}: {1795421100, 53283},
		{1795421100, 1}:     {1795421100, 0},
		{1795421100, 0}:     {1795421099, 9999999999999999},
		{0, 0}:              {0, 0},
	}
	for from, want := range prev {
		if got := from.Prev(); got != want {
			t.Errorf("before %v is %v, want %v", from, got, want)
		}
	}
	ordered := []Mid{{}, {0, 1}, {1795421100, 0}, {1795421100, 7}, {1795421101, 0}}
	if !slices.IsSortedFunc(ordered, Mid.Compare) {
		t.Error("mids do not compare by their digits")
	}
}

func TestPosition_MidFromDigits(t *testing.T) {
	if m, ok := MidFromDigits([]byte("17954211000000000000053284")); !ok || m != (Mid{1795421100, 53284}) {
		t.Errorf("read %v, %v", m, ok)
	}
	if m, ok := MidFromDigits([]byte("99999999999999999999999999")); !ok || m != (Mid{MaxEpoch, MaxCounter}) {
		t.Errorf("read %v, %v", m, ok)
	}
	for _, bad := range []string{"", "1", "1795421100000000000005328", "179542110000000000000532840", "1795421100000000000005328a",
		"17954211/0000000000005328:", "+1795421100000000000053284", " 7954211000000000000053284"} {
		if m, ok := MidFromDigits([]byte(bad)); ok || !m.IsZero() {
			t.Errorf("%q read as %v", bad, m)
		}
	}
}

func TestPosition_MidFromTag(t *testing.T) {
	at := time.Unix(1795424435, 0)
	tests := []struct {
		at   time.Time
		tag  string
		want Mid
		ok   bool
	}{
		{at, "1", Mid{1795424435, 1}, true},
		{at, "060", Mid{1795424435, 60}, true},
		{at, "0", Mid{1795424435, 0}, true},
		{at, "9999999999999999", Mid{1795424435, MaxCounter}, true},
		{time.Unix(MaxEpoch, 0), "1", Mid{MaxEpoch, 1}, true},
		{time.Unix(MaxEpoch+1, 0), "1", Mid{}, false},
		{time.Time{}, "1", Mid{}, false},
		{at, "", Mid{}, false},
		{at, "-1", Mid{}, false},
		{at, "10000000000000000", Mid{}, false},
	}
	for _, tt := range tests {
		if m, ok := midFromTag(tt.at, []byte(tt.tag)); m != tt.want || ok != tt.ok {
			t.Errorf("%v, %q: %v, %v", tt.at, tt.tag, m, ok)
		}
	}
}

func TestPosition_KeyOfTag(t *testing.T) {
	at, tag := time.Unix(1795424435, 0), []byte("1")
	keys := map[Key]bool{}
	for _, parts := range [][]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "c"}, {"b", "a"}, {"ab"}} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		k := keyOfTag(at, tag, raw...)
		if k.Mid != (Mid{1795424435, 1}) || keys[k] {
			t.Errorf("%q: key %v is another's or has no place", parts, k)
		}
		keys[k] = true
	}
}

func TestPosition_KeyOf(t *testing.T) {
	id := []byte{0x17, 0x95, 0x42, 0x11, 0, 0, 0, 0, 0, 0, 5, 0x32, 0x84}
	if got := keyOfBCD(id, []byte("body")).Mid; got != (Mid{1795421100, 53284}) {
		t.Errorf("mid is %v", got)
	}
	if keyOfBCD(id, []byte("a")) == keyOfBCD(id, []byte("b")) {
		t.Error("another body has the same key")
	}
	other := append([]byte{0xaa}, id[1:]...)
	if k := keyOfBCD(other, []byte("a")); !k.Mid.IsZero() {
		t.Errorf("an id that is no mid became %v", k.Mid)
	}
	if keyOfBCD(other, []byte("a")) == keyOfBCD(id[:3], []byte("a")) {
		t.Error("ids that are no mids are not told apart")
	}
	if keyOfDigits([]byte("17954211000000000000053284"), []byte("a")) != keyOfBCD(id, []byte("a")) {
		t.Error("an id in digits has another key than in bytes")
	}
	if k := keyOfDigits([]byte("1"), []byte("a")); !k.Mid.IsZero() || k == keyOfDigits([]byte("2"), []byte("a")) {
		t.Errorf("digits that are no mid became %v", k)
	}
}
