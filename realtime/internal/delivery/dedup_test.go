package delivery

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestDedup_SuccessorRepeatsNothing: a connection that begins where the one
// before has been long ago shows again what had been passed; none of it is new,
// however long that takes.
func TestDedup_SuccessorRepeatsNothing(t *testing.T) {
	s := newDriven(t, after(1))
	for n := uint64(2); n <= 9; n++ {
		s.lives(n)
		s.pass(10 * time.Second)
	}
	s.reads(1, 2, 3, 4, 5, 6, 7, 8, 9)
	s.wantKnown(9)
	s.want("2", "3", "4", "5", "6", "7", "8", "9")
	next, covered := s.Successor(s.now.Add(-time.Second), s.now) // before the move to 9
	if next.Watermark != midAt(1) || !covered {
		t.Errorf("begins at %v, covered: %v", next.Watermark, covered)
	}
	for range 20 {
		s.pass(time.Minute)
		s.reads(9) // what is passed long ago is forgotten
	}
	both := &driven{t: t, History: next, now: s.now}
	both.reads(2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	both.want("10R", "11R")
}

// TestDedup_SuccessorOfTheForgotten: what is longer ago than is remembered is
// not covered.
func TestDedup_SuccessorOfTheForgotten(t *testing.T) {
	s := newDriven(t, after(1))
	for n := uint64(2); n <= 60; n++ {
		s.lives(n)
		s.pass(10 * time.Second)
		s.reads(n-1, n)
	}
	if _, covered := s.Successor(s.now.Add(-9*time.Minute), s.now); covered {
		t.Error("nine minutes are covered")
	}
	if next, covered := s.Successor(s.now.Add(-4*time.Minute), s.now); !covered || next.Watermark.Less(midAt(30)) || midAt(37).Less(next.Watermark) {
		t.Errorf("four minutes ago: %v, covered: %v", next.Watermark, covered)
	}
}

// TestDedup_OlderSequence: mids of a sequence below the cursor have the history
// read from its beginning, so that what was not sent live is found as well.
func TestDedup_OlderSequence(t *testing.T) {
	s := newDriven(t, after(7))
	var gaps int
	s.report = func(e Event) {
		if _, ok := e.(Gap); ok {
			gaps++
		}
	}
	older := func(n uint64) Message {
		m := s.message(n, 0)
		m.Key.Mid = wire.Mid{Epoch: midAt(1).Epoch - 1000, Counter: n}
		return m
	}
	s.lives(8)
	s.Live(older(3), s.now)
	if s.Arrived < ManyMessages {
		t.Error("no read is due")
	}
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
	if from := s.BeginReplay(s.now, ""); !from.IsZero() {
		t.Errorf("the read begins at %v", from)
	}
	for n := uint64(1); n <= 3; n++ {
		s.Replayed(older(n), s.now)
	}
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("8", "3", "1RL", "2RL") // late in the sequence that has begun
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
}

// TestDedup_SetBackCounter: a counter that was set back is reported once, and
// what comes is new.
func TestDedup_SetBackCounter(t *testing.T) {
	s := newDriven(t, after(10_000_000))
	var gaps int
	s.report = func(e Event) {
		if _, ok := e.(Gap); ok {
			gaps++
		}
	}
	s.lives(9_999_990) // a straggler
	if gaps > 0 {
		t.Error("a straggler was taken for a gap")
	}
	s.pass(farBack)
	s.lives(17, 18)
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
	s.wantKnown(10_000_000)
	s.want("9999990", "17L", "18L")
}

// TestDedup_GraverGapStays: until a message bears it.
func TestDedup_GraverGapStays(t *testing.T) {
	s := newDriven(t, after(1))
	s.Lose(Gap{Reason: ServerChanged})
	s.Lose(Gap{Reason: Paused})
	s.lives(2)
	if m, _, _ := s.queue.TryPop(); m.Gap == nil || m.Gap.Reason != ServerChanged {
		t.Errorf("gap %+v", m.Gap)
	}
	s.lives(3)
	if m, _, _ := s.queue.TryPop(); m.Gap != nil {
		t.Errorf("gap %+v", m.Gap)
	}
}
