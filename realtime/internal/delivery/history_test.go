package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// after is the cursor of one who has handled message n and all before it.
func after(n uint64) Position {
	return Position{Known: Known{Watermark: midAt(n)}, Acked: []wire.Key{{Mid: midAt(n)}}}
}

// driven is a history by hand, with a clock of its own.
type driven struct {
	t *testing.T
	*History
	now time.Time
}

func newDriven(t *testing.T, from Position) *driven {
	now := time.Unix(1795421100, 0)
	return &driven{t, newHistory(from, NewQueue(100, 1<<20), now, func(Event) {}), now}
}

func (s *driven) pass(d time.Duration) { s.now = s.now.Add(d) }

func (s *driven) message(n uint64, created time.Duration) Message {
	return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n)}, Time: s.now.Add(created), Size: 10, Command: fmt.Sprint(n)}}
}

func (s *driven) lives(ns ...uint64) {
	for _, n := range ns {
		if !s.Live(s.message(n, 0), s.now) {
			s.t.Fatalf("live %d was refused", n)
		}
	}
}

// reads runs one whole replay that shows messages, and returns whether it was
// complete.
func (s *driven) reads(ns ...uint64) bool {
	s.BeginReplay(s.now, "")
	s.shows(ns...)
	s.EndAnswer(s.now)
	result, again := s.EndReplay(ReplayEnded, false, s.now)
	if again {
		s.BeginReplay(s.now, "")
		s.shows(ns...)
		s.EndReplay(ReplayEnded, false, s.now)
	}
	return result.Complete
}

func (s *driven) shows(ns ...uint64) {
	for _, n := range ns {
		if !s.Replayed(s.message(n, 0), s.now) {
			s.t.Fatalf("history %d was refused", n)
		}
	}
}

// wantKnown checks the cursor.
func (s *driven) wantKnown(n uint64) {
	s.t.Helper()
	want := wire.Mid{}
	if n > 0 {
		want = midAt(n)
	}
	if s.Watermark != want {
		s.t.Errorf("cursor at %v, want %v", s.Watermark, want)
	}
}

// want checks what has been delivered since the last call; a late message is
// written as n+"L", a replayed one as n+"R".
func (s *driven) want(messages ...string) {
	s.t.Helper()
	var got []string
	for {
		m, _, ok := s.queue.TryPop()
		if !ok {
			break
		}
		text := m.Command
		if m.Replayed {
			text += "R"
		}
		if m.Late {
			text += "L"
		}
		got = append(got, text)
		s.acks.Handled(m.Receipt())
	}
	if !slices.Equal(got, messages) {
		s.t.Errorf("delivered %q, want %q", got, messages)
	}
}

// anchor runs the first replay of a history over messages of some age.
func (s *driven) anchor(ages map[uint64]time.Duration) {
	s.BeginReplay(s.now, "")
	var ns []uint64
	for n := range ages {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	for _, n := range ns {
		s.Replayed(s.message(n, -ages[n]), s.now)
	}
	s.EndReplay(ReplayEnded, false, s.now)
}

func TestHistory_Anchor(t *testing.T) {
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

func TestHistory_NothingIsTakenBeforeTheAnchor(t *testing.T) {
	s := newDriven(t, Position{})
	s.lives(5)
	s.anchor(map[uint64]time.Duration{1: time.Hour, 2: time.Minute, 3: 0})
	s.want()
	s.reads(2, 3, 4, 5) // the replay that follows brings it
	s.want("4R", "5R")
}

// TestHistory_FirstReplayAnsweredLive: with nothing kept the first replay hangs, and the
// first live message answers it. It is delivered if it also comes over the
// connection, before the replay's end or behind it.
func TestHistory_FirstReplayAnsweredLive(t *testing.T) {
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
		if c := s.acks.PositionAfter(m.Receipt()); len(c.Acked) != 1 {
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

// TestHistory_SlowFirstReplay: a first replay without an answer, though there was one to
// give; what is surely older than that is not taken for new, and all else is.
func TestHistory_SlowFirstReplay(t *testing.T) {
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

// TestHistory_CursorMovesBySettledReplaysOnly: to what such a replay has shown and what
// arrived well before it began.
func TestHistory_CursorMovesBySettledReplaysOnly(t *testing.T) {
	s := newDriven(t, after(10))
	s.lives(11, 12)
	s.wantKnown(10)
	s.pass(SettleTime + time.Second)
	s.lives(13)
	if !s.reads(10, 11, 12, 13) {
		t.Error("a read that shows the cursor's message is complete")
	}
	s.wantKnown(12) // 13 has just arrived: its predecessor may still be on its way to the store
	s.pass(SettleTime + time.Second)
	s.reads(12, 13, 14)
	s.wantKnown(13) // 14 was first shown by this very read
	s.want("11", "12", "13", "14R")
}

// TestHistory_Disorder: a message stored behind one with a greater mid is found by the
// next replay, also if the greater one has been seen long ago.
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

// TestHistory_IncompleteReplays: none of these moves the cursor, and what they bring is
// delivered all the same.
func TestHistory_IncompleteReplays(t *testing.T) {
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
			t.Error("a read that shows the cursor's message is complete")
		}
	})
}

// TestHistory_SingleAnswerMayHaveOvertaken: a hanging replay that was answered live
// waits for the next one, which brings what belongs before.
func TestHistory_SingleAnswerMayHaveOvertaken(t *testing.T) {
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

// TestHistory_BrokenReplayGoesOn: from the last message shown, and counting from when it
// first began.
func TestHistory_BrokenReplayGoesOn(t *testing.T) {
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

// TestHistory_GoingOnProvesAnew: that a replay was definite before it broke off says
// nothing of the answer it goes on with.
func TestHistory_GoingOnProvesAnew(t *testing.T) {
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

// TestHistory_ReplayDoesNotGoOnElsewhere: at another address there is another history.
func TestHistory_ReplayDoesNotGoOnElsewhere(t *testing.T) {
	s := newDriven(t, after(4))
	s.BeginReplay(s.now, "here")
	s.shows(4, 9)
	s.EndReplay(ReplayBroken, true, s.now)
	if from := s.BeginReplay(s.now, "there"); from != midAt(3) {
		t.Errorf("asked from %v", from)
	}
}

// TestHistory_GiveBack: what waits is unseen again, but what is not kept is delivered,
// and a replay that has shown what is given back begins anew.
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

// TestHistory_GiveBackBelowTheCursor: no replay brings what waits below the cursor, so
// it is delivered.
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

// TestHistory_ClockOfLiveTimes: a live time that is none says nothing of the server's
// clock.
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

// TestHistory_RefusedIsNotSeen: what the queue has refused comes again and is delivered
// then.
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

// TestHistory_Repeats: what has been seen is remembered from the cursor on, and for
// five minutes what it has passed.
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
	if n := len(s.seen); n != 3 {
		t.Errorf("%d messages remembered, want 3", n)
	}
}

// TestHistory_LateLiveMessage: a live message below the cursor that is not remembered
// is new.
func TestHistory_LateLiveMessage(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5, 7)
	s.pass(time.Minute)
	s.reads(4, 5, 7)
	s.wantKnown(7)
	s.lives(6)
	s.want("5", "7", "6L")
}

// TestHistory_SameMidOtherBody: a server that lost its data can give a mid twice.
func TestHistory_SameMidOtherBody(t *testing.T) {
	s := newDriven(t, after(4))
	s.lives(5)
	other := s.message(5, 0)
	other.Key.Sum = 1
	s.Live(other, s.now)
	s.want("5", "5")
}

// TestHistory_UnkeptIsForgotten: what the server does not keep, by its own word or by a
// replay that should have shown it, is not remembered for ever, and stands in
// no cursor.
func TestHistory_UnkeptIsForgotten(t *testing.T) {
	s := newDriven(t, after(4))
	const n = 20_000 // one a second
	for i := uint64(5); i <= n; i++ {
		m := s.message(i, 0)
		m.Transient = i%2 == 0 // the server does not say of the others
		s.Live(m, s.now)
		got, _, ok := s.queue.TryPop()
		if !ok {
			t.Fatal("not delivered")
		}
		s.acks.Handled(got.Receipt())
		if size := len(s.acks.PositionAfter(got.Receipt()).Acked); size > 1000 {
			t.Fatalf("a cursor of %d messages", size)
		}
		s.pass(time.Second)
		if i%100 == 0 {
			s.reads(4)
		}
	}
	s.wantKnown(4)
	if len(s.seen) > 1000 || len(s.above) > 1000 || s.acks.acked.len() > 1000 {
		t.Errorf("%d messages remembered, %d above the cursor, %d handled", len(s.seen), len(s.above), s.acks.acked.len())
	}
	s.Live(s.message(n, 0), s.now)
	s.reads(4)
	s.want() // neither the last ones nor the cursor's own come again
}

// TestHistory_SilenceIsNotTrustedFar: a replay without an answer may have stalled; what
// it should have shown is not forgotten.
func TestHistory_SilenceIsNotTrustedFar(t *testing.T) {
	s := newDriven(t, Position{})
	s.anchor(nil)
	s.lives(5)
	s.pass(time.Hour)
	s.BeginReplay(s.now, "")
	s.EndReplay(ReplaySilent, false, s.now)
	s.reads(5, 6)
	s.want("5", "6R")
}

// TestHistory_LongHistoryIsNotRemembered: of what the first replay shows, only the
// newest part is kept.
func TestHistory_LongHistoryIsNotRemembered(t *testing.T) {
	s := newDriven(t, Position{})
	s.BeginReplay(s.now, "")
	const n = 100_000 // one a second
	for i := uint64(1); i <= n; i++ {
		s.Replayed(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(i)}, Time: s.now.Add(time.Duration(i) * time.Second)}}, s.now)
	}
	s.EndReplay(ReplayEnded, false, s.now)
	s.wantKnown(n - 6)
	if len(s.seen) > 400 || cap(s.above) > 1000 {
		t.Errorf("%d messages remembered", len(s.seen))
	}
	if s.reads(n-6, n-5, n-4, n-3, n-2, n-1, n, n+1); s.Watermark != midAt(n-6) {
		t.Errorf("cursor at %v", s.Watermark)
	}
	s.want(fmt.Sprint(n+1) + "R")
}

// TestHistory_GarbledIsNotExpired: what a cursor stands on may be the message that
// could not be decoded; only an answer that can be read to the end says that
// the history has expired.
func TestHistory_GarbledIsNotExpired(t *testing.T) {
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
