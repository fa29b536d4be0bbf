package delivery

import (
	"testing"
	"time"
)

// TestDating_TimesThatCannotBe: where the rule goes by the server's times,
// those that a live message cannot have are none.
func TestDating_TimesThatCannotBe(t *testing.T) {
	t.Run("anchor", func(t *testing.T) {
		s := newDriven(t, Position{})
		s.Stamped = true
		s.BeginReplay(s.now, "") // by a websocket, and answered live: a frame of several
		for i, created := range []int64{1_795_421, 1_795_821, 4_000_000_000} {
			m := s.message(uint64(i+1), 0)
			m.Time = time.Unix(created, 0)
			s.Replayed(m, s.now)
		}
		s.EndReplay(ReplayEnded, false, s.now)
		s.wantKnown(0)
	})
	t.Run("anchor with some that can", func(t *testing.T) {
		s := newDriven(t, Position{})
		s.Stamped = true
		s.BeginReplay(s.now, "")
		for n := range uint64(2) {
			m := s.message(n+1, 0)
			m.Time = time.Unix(4_000_000, 0)
			s.Replayed(m, s.now)
		}
		s.Replayed(s.message(3, -time.Second), s.now)
		s.Replayed(s.message(4, 0), s.now)
		s.EndReplay(ReplayEnded, false, s.now)
		s.wantKnown(0)
		if s.seen.len() != 4 {
			t.Errorf("%d remembered", s.seen.len())
		}
	})
	t.Run("screen", func(t *testing.T) {
		s := newDriven(t, Position{})
		s.Stamped = true
		s.BeginReplay(s.now, "")
		s.EndReplay(ReplaySilent, false, s.now)
		s.pass(time.Second)
		s.BeginReplay(s.now, "")
		m := s.message(1, 0)
		m.Time = time.Unix(4_000_000, 0)
		s.Replayed(m, s.now)
		s.Replayed(s.message(2, 0), s.now)
		s.EndAnswer(s.now)
		s.EndReplay(ReplayEnded, false, s.now)
		s.want("1R", "2R")
	})
	t.Run("a clock that nobody knows", func(t *testing.T) {
		s := newDriven(t, after(1))
		s.Stamped, s.dating.unknown = true, true
		recorded := s.message(2, -1000*time.Hour)
		spoiled := s.message(3, 0)
		spoiled.Time = time.Unix(int64(uint32(s.now.UnixMilli()-500)), 0)
		s.Live(recorded, s.now)
		s.Live(spoiled, s.now)
		for _, want := range []time.Time{recorded.Time, {}} {
			if m, _, _ := s.queue.TryPop(); !m.Time.Equal(want) {
				t.Errorf("a message bears %v, want %v", m.Time, want)
			}
		}
	})
	t.Run("at the very end", func(t *testing.T) {
		s := newDriven(t, after(1))
		s.Stamped = true
		m := s.message(2, 0)
		m.Time = time.Unix(409_534_603, 0)
		s.Lastly(m, s.now)
		if m, _, ok := s.queue.TryPop(); !ok || !m.Time.IsZero() {
			t.Errorf("a message bears %v (there is one: %v)", m.Time, ok)
		}
	})
	t.Run("a server whose clock is off", func(t *testing.T) {
		s := newDriven(t, after(1))
		s.Stamped = true
		const off = -50 * time.Hour
		s.BeginReplay(s.now, "")
		s.Replay.Poll = true
		for n := uint64(1); n < 4; n++ {
			s.Replayed(s.message(n, off), s.now)
		}
		s.EndReplay(ReplayEnded, false, s.now)
		s.Live(s.message(9, off), s.now)
		for range 4 {
			m, _, ok := s.queue.TryPop()
			if ok && m.Key.Mid == midAt(9) && m.Time.IsZero() {
				t.Error("it is not learned from the history")
			}
		}
	})
}
