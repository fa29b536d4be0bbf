package soak

import (
	"io"
	"testing"
	"time"
)

// TestTally: what is lost, repeated and out of order.
func TestTally(t *testing.T) {
	const unsaved = time.Second
	// messages 0 to 3 are kept, of publishers 0, 1, 0, 1; message 4 is not
	type event struct {
		life, n int
		at      time.Duration
		killed  bool
	}
	did := func(life int, numbers ...int) (events []event) {
		for _, n := range numbers {
			events = append(events, event{life: life, n: n})
		}
		return events
	}
	kill := func(at time.Duration) event { return event{at: at, killed: true} }
	all := did(0, 0, 1, 2, 3)
	tests := []struct {
		name   string
		events []event
		want   string
		bad    bool
	}{
		{"all of it", all, "lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 0", false},
		{"nothing", nil, "lost 4, repeated 0, out of order 0 of 4; cuts 0, kills 0", true},
		{"one is missing", did(0, 0, 1, 3, 4), "lost 1, repeated 0, out of order 0 of 4; cuts 0, kills 0", true},
		{"one comes twice", append(all, did(0, 3)...), "lost 0, repeated 1, out of order 0 of 4; cuts 0, kills 0", true},
		{"one that is not kept comes twice", append(all, did(0, 4, 4)...), "lost 0, repeated 1, out of order 0 of 4; cuts 0, kills 0", true},
		{"one was never published", append(all, did(0, 5)...), "lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 0", true},
		{"publishers overtake each other", did(0, 1, 3, 0, 2), "lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 0", false},
		{"messages of one publisher do", did(0, 2, 1, 0, 3), "lost 0, repeated 0, out of order 1 of 4; cuts 0, kills 0", false},
		{"one that is not kept does", did(0, 4, 0, 1, 2, 3), "lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 0", false},
		{"again after a kill", append(append(did(0, 0, 1, 2), kill(unsaved)), did(1, 0, 1, 2, 3)...),
			"lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 1", false},
		{"again although it was saved", append(append(did(0, 0, 1, 2), kill(unsaved+1)), did(1, 2, 3)...),
			"lost 0, repeated 1, out of order 0 of 4; cuts 0, kills 1", true},
		{"again twice after a kill", append(append(all, kill(0)), did(1, 3, 3)...),
			"lost 0, repeated 1, out of order 0 of 4; cuts 0, kills 1", true},
		{"again after the second kill", append(append(all, kill(0), kill(time.Hour)), did(2, 3)...),
			"lost 0, repeated 0, out of order 0 of 4; cuts 0, kills 2", false},
		{"one that is not kept again after a kill", append(append(all, did(0, 4)[0], kill(0)), did(1, 4)...),
			"lost 0, repeated 1, out of order 0 of 4; cuts 0, kills 1", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			a := newTally(unsaved)
			for n := range 5 {
				if got := a.published(n%2, n < 4); got != n {
					t.Fatalf("message %d is number %d", n, got)
				}
			}
			for _, e := range tt.events {
				if e.killed {
					a.killed(start.Add(e.at))
				} else {
					a.begun(e.n)
					a.handled(e.life, e.n, start.Add(e.at))
				}
			}
			c := a.now()
			if c.String() != tt.want || c.bad() != tt.bad {
				t.Errorf("%s, bad: %v; want %s, %v", c, c.bad(), tt.want, tt.bad)
			}
		})
	}
}

// TestTally_InHand: a message that was in hand at a kill is not handled, and its
// coming again is no repeat.
func TestTally_InHand(t *testing.T) {
	a := newTally(0)
	n := a.published(0, true)
	a.begun(n)
	a.killed(time.Now())
	if c := a.now(); c.killsInside != 1 || c.lost() != 1 {
		t.Errorf("%s", c.progress())
	}
	if missing := a.missing(9); len(missing) != 1 || missing[0] != n {
		t.Errorf("missing %v", missing)
	}
	a.begun(n)
	a.handled(1, n, time.Now())
	a.killed(time.Now())
	if c := a.now(); c.killsInside != 1 || c.bad() {
		t.Errorf("%s", c.progress())
	}
}

// TestTally_VerdictOfMemory: a consumer that takes in the whole backlog has failed,
// even if it loses nothing.
func TestTally_VerdictOfMemory(t *testing.T) {
	for max, well := range map[int64]bool{0: true, 60 << 20: true, 200 << 20: false} {
		s := &soak{options: &options{backlog: 1}, log: &lines{out: io.Discard}, tally: newTally(0)}
		s.memory.max = max
		if got := s.verdict(io.Discard); got != well {
			t.Errorf("with %d MiB all is well: %v", max>>20, got)
		}
	}
}
