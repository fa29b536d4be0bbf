package delivery

import (
	"testing"
	"time"
)

// proves has the watermark be moved as far as it can be.
func (s *driven) proves() {
	s.pass(proveEvery)
	s.Prove(s.now)
}

// TestUnbroken_Ids: where no id is missing the watermark follows what comes
// live, once that is settled, and no replay is due. Where one is missing it
// stays, and a replay is.
func TestUnbroken_Ids(t *testing.T) {
	s := newDriven(t, after(4))
	const n = 3000
	for i := uint64(5); i <= n; i++ {
		s.Live(s.message(i, 0), s.now)
		s.queue.TryPop()
	}
	s.proves()
	s.wantKnown(4)
	s.pass(SettleTime)
	s.proves()
	s.wantKnown(n)
	if s.WantsReplay() {
		t.Error("a replay is due")
	}
	for i := uint64(n + 2); i <= 2*n; i++ { // but for one
		s.Live(s.message(i, 0), s.now)
		s.queue.TryPop()
	}
	s.pass(SettleTime)
	s.proves()
	s.wantKnown(n)
	if !s.WantsReplay() {
		t.Error("no replay is due")
	}
	s.Live(s.message(n+1, 0), s.now) // it was only late
	s.pass(SettleTime)
	s.proves()
	s.wantKnown(2 * n)
}

// TestUnbroken_StandsOnWhatLasts: the watermark stands on what the server keeps
// for long, and where it does not say what it keeps, on what replays show.
func TestUnbroken_StandsOnWhatLasts(t *testing.T) {
	for name, tt := range map[string]struct {
		stamped, undated bool
		kept             time.Duration
		want             uint64
	}{
		"version 3":           {want: 9},
		"version 4":           {stamped: true, kept: keptFor, want: 9},
		"version 4, briefly":  {stamped: true, kept: time.Minute, want: 4},
		"version 4, unstated": {stamped: true, want: 4},
		"version 5":           {undated: true, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := newDriven(t, after(4))
			s.Stamped, s.Undated = tt.stamped, tt.undated
			for i := uint64(5); i <= 9; i++ {
				m := s.message(i, 0)
				m.Kept = tt.kept
				s.Live(m, s.now)
			}
			s.pass(SettleTime)
			s.proves()
			s.wantKnown(tt.want)
			if from := s.BeginReplay(s.now, ""); from != midAt(8) {
				t.Errorf("a replay asks from %v", from)
			}
		})
	}
}

// TestUnbroken_TwiceGiven: an id that was given to two messages shows that the
// server has lost its place, so that others may have been given twice.
func TestUnbroken_TwiceGiven(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 6, 7)
	other := s.message(6, 0)
	other.Key.Sum = 1
	s.Live(other, s.now)
	s.pass(SettleTime)
	s.proves()
	s.wantKnown(6)
}

// TestUnbroken_TimesOfAReplay: while a replay is under way the watermark moves to
// what was published more than the settle time before the newest message of its
// answer. One that has broken off and goes on says nothing more: what was
// stored meanwhile below where it goes on it does not show.
func TestUnbroken_TimesOfAReplay(t *testing.T) {
	s := newDriven(t, after(4))
	shows := func(n uint64, created time.Duration) {
		if !s.Replayed(s.message(n, created), s.now) {
			t.Fatal("refused")
		}
	}
	s.BeginReplay(s.now, "")
	shows(4, 0)
	shows(10, 10*time.Second)
	shows(12, 9*time.Second) // it came behind one that is as old as
	shows(20, 15*time.Second)
	s.proves()
	s.wantKnown(4)
	shows(30, 16*time.Second)
	s.proves()
	s.wantKnown(12)
	s.EndReplay(ReplayBroken, true, s.now)
	s.pass(time.Minute)
	s.BeginReplay(s.now, "")
	shows(30, 16*time.Second)
	shows(40, time.Minute)
	s.proves()
	s.wantKnown(12)
	s.EndReplay(ReplayEnded, false, s.now)
	s.wantKnown(12)
	s.pass(SettleTime + time.Second)
	s.reads(12, 20, 30, 40)
	s.wantKnown(40)
}
