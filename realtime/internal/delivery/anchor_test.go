package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestAnchor(t *testing.T) {
	tests := []struct {
		name string
		ages map[uint64]time.Duration // before now, by the server's clock
		want uint64
	}{
		{"nothing kept", nil, 0},
		{"all old: the newest alone is not settled", map[uint64]time.Duration{1: time.Hour, 2: time.Hour - 6*time.Second, 3: time.Hour - 12*time.Second}, 2},
		{"the greatest that is more than L below the newest", map[uint64]time.Duration{1: time.Minute, 2: 6 * time.Second, 3: 5 * time.Second, 4: 0}, 2},
		{"all within L", map[uint64]time.Duration{1: 3 * time.Second, 2: time.Second}, 0},
		{"a long history", map[uint64]time.Duration{1: 9 * time.Hour, 2: 8 * time.Hour, 3: time.Hour, 4: time.Second, 5: 0}, 3},
		{"one message: it may have been live", map[uint64]time.Duration{1: time.Hour}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newDriven(t, Position{})
			s.anchor(tt.ages)
			s.wantKnown(tt.want)
			s.lives(4, 5)
			delivered := []string{}
			for _, n := range []uint64{4, 5} {
				if _, known := tt.ages[n]; !known {
					delivered = append(delivered, fmt.Sprint(n))
				}
			}
			s.want(delivered...) // what the anchor has shown is known, not delivered
			if tt.want > 0 {
				s.reads(tt.want, 4, 5)
				s.want()
			}
		})
	}
}

// TestAnchor_ProbeOfUnsettled: a cursor that stands on nothing, since all that
// the first replay has shown may be followed by what came before it, holds what
// the channels keep. It is the only one that a short life has.
func TestAnchor_ProbeOfUnsettled(t *testing.T) {
	s := newDriven(t, Position{})
	s.anchor(map[uint64]time.Duration{1: 3 * time.Second, 2: time.Second})
	if got, _ := s.acks.Position(); !got.Watermark.IsZero() || got.RetentionProbe != midAt(2) {
		t.Errorf("the cursor is at %v with %v, want zero with %v", got.Watermark, got.RetentionProbe, midAt(2))
	}
}

func TestAnchor_NothingIsTakenBeforeTheAnchor(t *testing.T) {
	s := newDriven(t, Position{})
	s.lives(5)
	s.anchor(map[uint64]time.Duration{1: time.Hour, 2: time.Minute, 3: 0})
	s.want()
	s.reads(2, 3, 4, 5) // the replay that follows brings it
	s.want("4R", "5R")
}

// TestAnchor_CameMeanwhile: what has come live while the first replay was under
// way, and is not in its answer, another one brings at once.
func TestAnchor_CameMeanwhile(t *testing.T) {
	for came, want := range map[uint64]bool{3: false, 5: true} {
		s := newDriven(t, Position{})
		s.BeginReplay(s.now, "")
		s.lives(came)
		s.shows(1, 2, 3)
		if _, again := s.EndReplay(ReplayEnded, false, s.now); again != want {
			t.Errorf("%d came live: another one at once is %v", came, again)
		}
	}
}

// TestAnchor_FirstReplayAnsweredLive: with nothing kept the first replay hangs,
// and the first live message answers it. It is delivered if it also comes over
// the connection, before the replay's end or behind it.
func TestAnchor_FirstReplayAnsweredLive(t *testing.T) {
	begin := func() *driven {
		s := newDriven(t, Position{})
		s.BeginReplay(s.now, "")
		return s
	}
	t.Run("before", func(t *testing.T) {
		s := begin()
		s.lives(5)
		s.shows(5)
		s.EndReplay(ReplayEnded, false, s.now)
		s.lives(5)
		s.reads(5, 6)
		s.want("5", "6R")
	})
	t.Run("behind", func(t *testing.T) {
		s := begin()
		s.shows(5)
		s.EndReplay(ReplayEnded, false, s.now)
		s.lives(5, 5)
		m, _, _ := s.queue.TryPop()
		if m.Command != "5" {
			t.Fatalf("delivered %q", m.Command)
		}
		if c := s.acks.PositionAfter(m.Receipt()); len(keysOf(c)) != 1 {
			t.Errorf("its cursor is %v", c)
		}
		s.reads(5, 6)
		s.want("6R")
	})
	t.Run("behind, while the queue is full", func(t *testing.T) {
		s := begin()
		s.shows(5)
		s.EndReplay(ReplayEnded, false, s.now)
		s.queue.MaxMessages = 1
		s.lives(6)
		if s.Live(s.message(5, 0), s.now) {
			t.Fatal("5 was taken")
		}
		s.want("6")
		s.lives(5)
		s.want("5L")
	})
	t.Run("never: it stood before the beginning", func(t *testing.T) {
		s := begin()
		s.shows(5)
		s.EndReplay(ReplayEnded, false, s.now)
		s.reads(5)
		s.reads(5, 6)
		s.want("6R")
	})
}

// TestAnchor_SlowFirstReplay: a first replay without an answer, though there
// was one to give; what is surely older than that is not taken for new, and all
// else is.
func TestAnchor_SlowFirstReplay(t *testing.T) {
	s := newDriven(t, Position{})
	s.BeginReplay(s.now, "")
	s.EndReplay(ReplaySilent, false, s.now)
	s.pass(5 * time.Second)
	s.BeginReplay(s.now, "")
	for n, age := range []time.Duration{time.Hour, time.Minute, 8 * time.Second, 5 * time.Second, 2 * time.Second} {
		s.Replayed(s.message(uint64(n+1), -age), s.now)
	}
	s.EndAnswer(s.now)
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("4R", "5R") // 4 may be of the five seconds since then: the newest is two seconds old
	s.pass(time.Hour)
	s.reads(1, 2, 3, 4, 5, 6)
	s.want("6R")
}

// TestAnchor_LongHistoryIsNotRemembered: of what the first replay shows, only
// the newest part is kept.
func TestAnchor_LongHistoryIsNotRemembered(t *testing.T) {
	s := newDriven(t, Position{})
	s.BeginReplay(s.now, "")
	const n = 100_000 // one a second
	for i := uint64(1); i <= n; i++ {
		s.Replayed(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(i)}, Time: s.now.Add(time.Duration(i) * time.Second)}}, s.now)
	}
	s.EndReplay(ReplayEnded, false, s.now)
	s.wantKnown(n - 6)
	if s.seen.len() > 400 || s.above.len() > 1000 {
		t.Errorf("%d messages remembered", s.seen.len())
	}
	if s.reads(n-6, n-5, n-4, n-3, n-2, n-1, n, n+1); s.Watermark != midAt(n-6) {
		t.Errorf("cursor at %v", s.Watermark)
	}
	s.want(fmt.Sprint(n+1) + "R")
}
