package realtime

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestCursor_Text(t *testing.T) {
	tests := []delivery.Position{
		{},
		{Progress: delivery.Progress{Watermark: midAt(1)}},
		{Progress: delivery.Progress{Watermark: wire.Mid{Epoch: 9_999_999_999, Counter: wire.MaxCounter}}},
		{Acked: []wire.Key{{Mid: midAt(3), Sum: 1}}},
		{Progress: delivery.Progress{Watermark: midAt(7)}, Acked: []wire.Key{{Mid: midAt(9), Sum: 0}, {Mid: midAt(9), Sum: 0xffff}, {Mid: midAt(12), Sum: 5}, {Mid: wire.Mid{Epoch: 1795421101, Counter: 2}, Sum: 6}}},
		{Progress: delivery.Progress{Watermark: midAt(7), RetentionProbe: midAt(8), ReplayedAt: time.Unix(1795421103, 0)}},
		{Acked: []wire.Key{{Mid: wire.Mid{}, Sum: wire.FullSum | 0xfffff}, {Mid: midAt(9), Sum: 5}}},
		{Bound: delivery.Binding{Portal: 1, Server: 2, Channels: 3}},
		{Progress: delivery.Progress{Watermark: wire.Mid{Epoch: 1795421101, Counter: 2}}, Bound: delivery.Binding{Portal: 1, Server: 0xffffffff, Channels: 3}, Tags: true, Acked: []wire.Key{{Mid: wire.Mid{Epoch: 1795421101, Counter: 2}, Sum: 6}}},
	}
	for _, at := range tests {
		c := Cursor{at}
		text, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Cursor
		if err := back.UnmarshalText(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(c, back, cmp.AllowUnexported(Cursor{}, delivery.Position{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestCursor_Damaged(t *testing.T) {
	text, _ := Cursor{delivery.Position{Progress: delivery.Progress{Watermark: midAt(7)}, Acked: []wire.Key{{Mid: midAt(9), Sum: 8}}}}.MarshalText()
	for i := range text {
		for _, c := range []byte("02A.~") {
			damaged := slices.Clone(text)
			if damaged[i] == c {
				continue
			}
			damaged[i] = c
			kept := Cursor{delivery.Position{Progress: delivery.Progress{Watermark: midAt(1)}}}
			if err := kept.UnmarshalText(damaged); err == nil || kept.position.Watermark != midAt(1) {
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
	text, _ := Cursor{delivery.Position{Progress: delivery.Progress{Watermark: midAt(7)}, Acked: []wire.Key{{Mid: midAt(9), Sum: 8}}}}.MarshalText()
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
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(Cursor{}, delivery.Position{})); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

// TestCursor_TextShortensKeys: but for those without a mid, and of positions by
// tag.
func TestCursor_TextShortensKeys(t *testing.T) {
	whole := wire.Key{Mid: midAt(9), Sum: wire.FullSum | 0x1234567}
	without := wire.Key{Sum: wire.FullSum | 0x1234567}
	for _, tags := range []bool{false, true} {
		text, err := Cursor{delivery.Position{Tags: tags, Acked: []wire.Key{without, whole}}}.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Cursor
		if err := back.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		want := []wire.Key{without, whole}
		if !tags {
			want[1] = whole.Shorten()
		}
		if diff := cmp.Diff(want, back.position.Acked); diff != "" {
			t.Errorf("tags: %v (-want +got):\n%s", tags, diff)
		}
	}
}
