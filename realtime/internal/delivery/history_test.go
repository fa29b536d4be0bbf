package delivery

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestHistory_Disorder: a message stored behind one with a greater mid is found
// by the next replay, also if the greater one has been seen long ago.
func TestHistory_Disorder(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(6)
	s.reads(4, 6)
	s.pass(time.Second)
	s.reads(4, 5, 6)
	s.want("6", "5RL")
	s.pass(SettleTime)
	s.reads(4, 5, 6)
	s.wantKnown(6)
}

// TestHistory_GiveBack: what waits is unseen again, but what is not kept is
// delivered, and a replay that has shown what is given back begins anew.
func TestHistory_GiveBack(t *testing.T) {
	s := newDriven(t, after(4))
	s.Reorder.Hold()
	transient := s.message(6, 0)
	transient.Transient = true
	s.lives(9)
	s.Live(transient, s.now)
	s.lives(7)
	s.BeginReplay(s.now, "")
	s.shows(4, 7)
	s.EndReplay(ReplayBroken, true, s.now)
	s.GiveBack()
	s.want("6")
	if from := s.BeginReplay(s.now, ""); from != midAt(3) {
		t.Errorf("asked from %v", from)
	}
	s.shows(4, 7, 9)
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("7R", "9R")
}

// TestHistory_GiveBackBelowTheCursor: no replay brings what waits below the
// cursor, so it is delivered.
func TestHistory_GiveBackBelowTheCursor(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(9)
	s.pass(time.Minute)
	s.Reorder.Hold()
	s.lives(7) // late
	s.reads(4, 9)
	s.Reorder.Hold()
	s.lives(8, 10)
	s.wantKnown(9)
	s.GiveBack()
	s.want("9", "7L", "8L")
	s.reads(9, 10)
	s.want("10R")
}

// TestHistory_ClockOfLiveTimes: a live time that is none says nothing of the
// server's clock.
func TestHistory_ClockOfLiveTimes(t *testing.T) {
	for name, tt := range map[string]struct{ shift, want time.Duration }{
		"a little wrong": {2 * time.Minute, 2 * time.Minute},
		"none":           {-20 * time.Hour, 0},
	} {
		s := newDriven(t, Position{})
		s.Stamped = true
		s.BeginReplay(s.now, "")
		s.Live(s.message(1, tt.shift), s.now)
		if s.shift != tt.want {
			t.Errorf("%s: the clock is taken to be %v ahead", name, s.shift)
		}
	}
}

// TestHistory_RefusedIsNotSeen: what the queue has refused comes again and is
// delivered then.
func TestHistory_RefusedIsNotSeen(t *testing.T) {
	s := newDriven(t, after(4))
	s.queue.MaxMessages = 2
	s.lives(5, 6)
	if s.Live(s.message(7, 0), s.now) {
		t.Fatal("7 was taken")
	}
	s.BeginReplay(s.now, "")
	s.shows(4, 5, 6)
	if s.Replayed(s.message(7, 0), s.now) {
		t.Fatal("7 was taken")
	}
	s.EndReplay(ReplayBroken, true, s.now)
	s.want("5", "6")
	if from := s.BeginReplay(s.now, ""); from != midAt(5) {
		t.Errorf("went on from %v", from)
	}
	s.shows(6, 7)
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("7R")
}

// TestHistory_Repeats: what has been seen is remembered from the cursor on, and
// for five minutes what it has passed.
func TestHistory_Repeats(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 5, 6)
	s.pass(time.Minute)
	s.reads(4, 5, 6)
	s.wantKnown(6)
	s.pass(rememberPassed - time.Second)
	s.reads(6, 7)
	s.lives(5, 6)
	s.want("5", "6", "7R")
	s.pass(2 * time.Second)
	s.reads(6, 7)
	s.lives(6, 7)
	s.want()
	s.lives(5)
	s.want("5L") // forgotten: forgetting may repeat, it cannot lose
	if n := s.seen.len(); n != 3 {
		t.Errorf("%d messages remembered, want 3", n)
	}
}

// TestHistory_LateLiveMessage: a live message below the cursor that is not
// remembered is new.
func TestHistory_LateLiveMessage(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 7)
	s.pass(time.Minute)
	s.reads(4, 5, 7)
	s.wantKnown(7)
	s.lives(6)
	s.want("5", "7", "6L")
}

// TestHistory_SameMidOtherBody: a server that lost its data can give a mid
// twice.
func TestHistory_SameMidOtherBody(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5)
	other := s.message(5, 0)
	other.Key.Sum = 1
	s.Live(other, s.now)
	s.want("5", "5")
}

// TestHistory_UnkeptIsForgotten: what the server does not keep, by its own word
// or by a replay that should have shown it, is not remembered for ever, and
// stands in no cursor.
func TestHistory_UnkeptIsForgotten(t *testing.T) {
	s := newDriven(t, after(4))
	n := uint64(resttest.Rounds(20_000)) // one a second
	for i := uint64(5); i <= n; i++ {
		m := s.message(i, 0)
		m.Transient = i%2 == 0 // the server does not say of the others
		s.Live(m, s.now)
		got, _, ok := s.queue.TryPop()
		if !ok {
			t.Fatal("not delivered")
		}
		s.acks.Handled(got.Receipt())
		if size := len(keysOf(s.acks.PositionAfter(got.Receipt()))); size > 1000 {
			t.Fatalf("a cursor of %d messages", size)
		}
		s.pass(time.Second)
		if i%100 == 0 {
			s.reads(4)
		}
	}
	s.wantKnown(4)
	if s.seen.len() > 1000 || s.above.len() > 1000 || s.acks.acked.len() > 1000 {
		t.Errorf("%d messages remembered, %d above the cursor, %d handled", s.seen.len(), s.above.len(), s.acks.acked.len())
	}
	s.Live(s.message(n, 0), s.now)
	s.reads(4)
	s.want() // neither the last ones nor the cursor's own come again
}
