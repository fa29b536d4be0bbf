package delivery

import (
	"testing"
	"time"
)

// TestReplay_CursorMovesBySettledReplaysOnly: to what such a replay has shown
// and what arrived well before it began.
func TestReplay_CursorMovesBySettledReplaysOnly(t *testing.T) {
	s := newDriven(t, after(10))
	s.lives(11, 12)
	s.wantKnown(10)
	s.pass(SettleTime + time.Second)
	s.lives(13)
	if !s.reads(10, 11, 12, 13) {
		t.Error("a replay that shows the cursor's message is complete")
	}
	s.wantKnown(12) // 13 has just arrived: its predecessor may still be on its way to the store
	s.pass(SettleTime + time.Second)
	s.reads(12, 13, 14)
	s.wantKnown(13) // 14 was first shown by this very read
	s.want("11", "12", "13", "14R")
}

// TestReplay_IncompleteReplays: none of these moves the cursor, and what they
// bring is delivered all the same.
func TestReplay_IncompleteReplays(t *testing.T) {
	t.Run("a single message may be live", func(t *testing.T) {
		s := newDriven(t, after(4))
		s.lives(6)
		s.pass(time.Minute)
		if s.reads(7) {
			t.Error("complete")
		}
		s.wantKnown(4)
		s.want("6", "7R")
	})
	t.Run("a single message for two receivers", func(t *testing.T) {
		s := newDriven(t, after(4))
		if s.reads(7, 7) {
			t.Error("complete")
		}
		s.want("7R")
	})
	t.Run("silence", func(t *testing.T) {
		s := newDriven(t, after(4))
		s.lives(6)
		s.pass(time.Minute)
		s.BeginReplay(s.now, "")
		if result, _ := s.EndReplay(ReplaySilent, false, s.now); result.Complete {
			t.Error("complete")
		}
		s.wantKnown(4)
	})
	t.Run("the cursor's message alone", func(t *testing.T) {
		s := newDriven(t, after(4))
		if !s.reads(4) {
			t.Error("a replay that shows the cursor's message is complete")
		}
	})
}

// TestReplay_SingleAnswerMayHaveOvertaken: a hanging replay that was answered
// live waits for the next one, which brings what belongs before.
func TestReplay_SingleAnswerMayHaveOvertaken(t *testing.T) {
	s := newDriven(t, Position{})
	s.anchor(nil)
	s.BeginReplay(s.now, "")
	s.shows(11)
	if _, again := s.EndReplay(ReplayEnded, false, s.now); !again {
		t.Error("no other read")
	}
	s.lives(2)
	s.want()
	s.BeginReplay(s.now, "")
	s.shows(2, 3, 11)
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("2", "3R", "11R")
	s.reads(2, 3, 11, 12)
	s.lives(13)
	s.want("12R", "13")
}

// TestReplay_BrokenReplayGoesOn: from the last message shown, and counting from
// when it first began.
func TestReplay_BrokenReplayGoesOn(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 6, 7)
	s.pass(time.Second)
	if from := s.BeginReplay(s.now, ""); from != midAt(3) {
		t.Errorf("asked from %v", from)
	}
	s.shows(4, 5, 6)
	s.EndReplay(ReplayBroken, true, s.now)
	s.wantKnown(4)
	s.pass(time.Minute)
	if from := s.BeginReplay(s.now, ""); from != midAt(5) {
		t.Errorf("went on from %v", from)
	}
	s.shows(6, 7, 8)
	if result, _ := s.EndReplay(ReplayEnded, false, s.now); !result.Complete {
		t.Error("not complete")
	}
	s.wantKnown(4) // by the first beginning all of it was fresh
	s.pass(SettleTime + time.Second)
	s.reads(4, 5, 6, 7, 8)
	s.wantKnown(8)
	s.want("5", "6", "7", "8R")
}

// TestReplay_GoingOnProvesAnew: that a replay was definite before it broke off
// says nothing of the answer it goes on with.
func TestReplay_GoingOnProvesAnew(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 6)
	s.pass(time.Minute)
	s.BeginReplay(s.now, "")
	s.shows(4, 5)
	s.EndReplay(ReplayBroken, true, s.now)
	s.BeginReplay(s.now, "")
	s.shows(7) // 5 has expired, and a live message answers
	if result, _ := s.EndReplay(ReplayEnded, false, s.now); result.Complete {
		t.Error("complete")
	}
	s.wantKnown(4)
}

// TestReplay_DoesNotGoOnElsewhere: at another address there is another history.
func TestReplay_DoesNotGoOnElsewhere(t *testing.T) {
	s := newDriven(t, after(4))
	s.BeginReplay(s.now, "here")
	s.shows(4, 9)
	s.EndReplay(ReplayBroken, true, s.now)
	if from := s.BeginReplay(s.now, "there"); from != midAt(3) {
		t.Errorf("asked from %v", from)
	}
}

// TestReplay_SilenceIsNotTrustedFar: a replay without an answer may have
// stalled; what it should have shown is not forgotten.
func TestReplay_SilenceIsNotTrustedFar(t *testing.T) {
	s := newDriven(t, Position{})
	s.anchor(nil)
	s.lives(5)
	s.pass(time.Hour)
	s.BeginReplay(s.now, "")
	s.EndReplay(ReplaySilent, false, s.now)
	s.reads(5, 6)
	s.want("5", "6R")
}

// TestReplay_GarbledIsNotExpired: what a cursor stands on may be the message
// that could not be decoded; only an answer that can be read to the end says
// that the history has expired.
func TestReplay_GarbledIsNotExpired(t *testing.T) {
	s := newDriven(t, after(1))
	s.RetentionProbe, s.away, s.ReplayedAt = midAt(1), true, s.now.Add(-time.Hour)
	s.BeginReplay(s.now, "")
	s.Undecodable(Message{}, true, s.now)
	s.shows(2, 3)
	s.EndReplay(ReplayEnded, false, s.now)
	if s.gap != nil {
		t.Errorf("an answer with a message that could not be decoded: %+v", *s.gap)
	}
	s.pass(time.Minute)
	s.reads(2, 3)
	if s.gap == nil || s.gap.Reason != Expired {
		t.Errorf("an answer without what the cursor stands on: %+v", s.gap)
	}
}
