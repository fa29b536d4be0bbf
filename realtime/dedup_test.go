package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestSuccessorRepeatsNothing: a connection that begins where the one before
// has been long ago shows again what had been passed; none of it is new,
// however long that takes.
func TestSuccessorRepeatsNothing(t *testing.T) {
	s := newDriven(t, after(1))
	for n := uint64(2); n <= 9; n++ {
		s.lives(n)
		s.pass(10 * time.Second)
	}
	s.reads(1, 2, 3, 4, 5, 6, 7, 8, 9)
	s.wantKnown(9)
	s.want("2", "3", "4", "5", "6", "7", "8", "9")
	next, covered := s.successor(s.now.Add(-time.Second), s.now) // before the move to 9
	if next.watermark != midAt(1) || !covered {
		t.Errorf("begins at %v, covered: %v", next.watermark, covered)
	}
	for range 20 {
		s.pass(time.Minute)
		s.reads(9) // what is passed long ago is forgotten
	}
	both := &driven{t, next, s.now}
	both.reads(2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	both.want("10R", "11R")
}

// TestSuccessorOfTheForgotten: what is longer ago than is remembered is not
// covered.
func TestSuccessorOfTheForgotten(t *testing.T) {
	s := newDriven(t, after(1))
	for n := uint64(2); n <= 60; n++ {
		s.lives(n)
		s.pass(10 * time.Second)
		s.reads(n-1, n)
	}
	if _, covered := s.successor(s.now.Add(-9*time.Minute), s.now); covered {
		t.Error("nine minutes are covered")
	}
	if next, covered := s.successor(s.now.Add(-4*time.Minute), s.now); !covered || next.watermark.Less(midAt(30)) || midAt(37).Less(next.watermark) {
		t.Errorf("four minutes ago: %v, covered: %v", next.watermark, covered)
	}
}

// TestOlderSequence: mids of a sequence below the cursor have the history read
// from its beginning, so that what was not sent live is found as well.
func TestOlderSequence(t *testing.T) {
	s := newDriven(t, after(7))
	var gaps int
	s.report = func(e Event) {
		if _, ok := e.(Gap); ok {
			gaps++
		}
	}
	older := func(n uint64) Message {
		m := s.message(n, 0)
		m.key.Mid = wire.Mid{Epoch: midAt(1).Epoch - 1000, Counter: n}
		return m
	}
	s.lives(8)
	s.live(older(3), s.now)
	if s.since < manyMessages {
		t.Error("no read is due")
	}
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
	if from := s.beginReplay(s.now, ""); !from.IsZero() {
		t.Errorf("the read begins at %v", from)
	}
	for n := uint64(1); n <= 3; n++ {
		s.replayed(older(n), s.now)
	}
	s.endReplay(replayEnded, false, s.now)
	s.want("8", "3", "1RL", "2RL") // late in the sequence that has begun
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
}

// TestSetBackCounter: a counter that was set back is reported once, and what
// comes is new.
func TestSetBackCounter(t *testing.T) {
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

// TestPollTakenUp: what is published while the server takes up a poll is kept
// and not sent; it is found at once, not with the next replay from the cursor.
func TestPollTakenUp(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithHandover(200 * time.Millisecond)}, WithTransport(TransportLongPolling))
		time.Sleep(10 * time.Second)
		l.emit("one")
		time.Sleep(100 * time.Millisecond)
		l.emit("two")
		time.Sleep(time.Second)
		l.want("one", "two")
	})
}
