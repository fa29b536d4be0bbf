package notices

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestNotices: the first of a kind is told at once, what follows within Every
// as one, kinds apart, and nothing is left out at the end.
func TestNotices(t *testing.T) {
	var told []string
	type event struct {
		kind  string
		count int
	}
	n := Notices[string, event]{
		Tell: func(e event) { told = append(told, fmt.Sprint(e.kind, e.count)) },
		Sum:  func(sum, e event) event { sum.count += e.count; return sum },
	}
	begun := time.Unix(1795421100, 0)
	at := func(d time.Duration) time.Time { return begun.Add(d) }
	n.Add("a", event{"a", 1}, at(0))
	for i := range 5 {
		n.Add("a", event{"a", 2}, at(time.Duration(i)*time.Second))
	}
	n.Add("b", event{"b", 1}, at(2*time.Second))
	if next := n.Next(); next != at(Every) {
		t.Errorf("the next is to be told at %v", next)
	}
	n.Flush(at(Every - 1))
	n.Flush(at(Every))
	n.Add("a", event{"a", 1}, at(Every+1))
	n.Add("b", event{"b", 1}, at(3*time.Second))
	n.FlushAll()
	slices.Sort(told[3:])
	if want := []string{"a1", "b1", "a10", "a1", "b1"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if !n.Next().IsZero() {
		t.Error("something is left")
	}
}
