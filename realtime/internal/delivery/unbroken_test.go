package delivery

import (
	"testing"
	"time"
)

// newKept is newDriven where the server says that it keeps messages for long.
func newKept(t *testing.T, from Position) *driven {
	s := newDriven(t, from)
	s.kept = keptFor
	return s
}

// proves has the watermark be moved as far as it can be.
func (s *driven) proves() {
	s.pass(proveEvery)
	s.Prove(s.now)
}

// TestUnbroken_Ids: where no id is missing the watermark follows what comes
// live, once that is settled, and no replay is due. Where one is missing it
// stays, and a replay is.
func TestUnbroken_Ids(t *testing.T) {
	s := newKept(t, after(4))
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
		want, begins     uint64
	}{
		"version 3":           {want: 4, begins: 9},
		"version 4":           {stamped: true, kept: keptFor, want: 9, begins: 9},
		"version 4, briefly":  {stamped: true, kept: time.Minute, want: 4, begins: 4},
		"version 4, unstated": {stamped: true, want: 4, begins: 4},
		"version 5":           {undated: true, want: 4, begins: 9},
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
			if from := s.BeginReplay(s.now, ""); from != midAt(tt.begins-1) {
				t.Errorf("a replay asks from %v", from)
			}
		})
	}
}

// TestUnbroken_TwiceGiven: an id that was given to two messages shows that the
// server has lost its place, so that others may have been given twice.
func TestUnbroken_TwiceGiven(t *testing.T) {
	s := newKept(t, after(4))
	s.lives(5, 6, 7)
	other := s.message(6, 0)
	other.Key.Sum = 1
	s.Live(other, s.now)
	s.pass(SettleTime)
	s.proves()
	s.wantKnown(6)
	s.proves() // however often that is looked at
	s.wantKnown(6)
	s.reads(6, 7)
	s.wantKnown(7)
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

// TestUnbroken_GatheredSlowly: what a server takes long to gather it has not read
// at one moment: its newest messages may have been stored meanwhile, when it had
// gone past older ones that were stored late.
func TestUnbroken_GatheredSlowly(t *testing.T) {
	for slowly, want := range map[time.Duration]uint64{0: 10, 3 * time.Second: 4} {
		s := newDriven(t, after(4))
		s.BeginReplay(s.now, "")
		s.pass(slowly)
		s.Replayed(s.message(4, 0), s.now)
		s.Replayed(s.message(10, time.Second), s.now)
		s.Replayed(s.message(20, 7*time.Second), s.now)
		s.proves()
		s.wantKnown(want)
	}
}

// TestUnbroken_ReplayHasYetToShow: what a replay has still to show stays
// remembered, however long it takes: the watermark does not pass it, by
// unbroken ids, to be forgotten some minutes later.
func TestUnbroken_ReplayHasYetToShow(t *testing.T) {
	s := newKept(t, after(4))
	s.lives(5, 6, 7)
	s.want("5", "6", "7")
	s.BeginReplay(s.now, "")
	s.shows(4, 5)
	s.pass(SettleTime + time.Second)
	s.proves()
	s.wantKnown(5)
	s.pass(rememberPassed + time.Second)
	unkept := s.message(8, 0)
	unkept.Transient = true
	s.Live(unkept, s.now) // has what is old be forgotten
	s.shows(6, 7)
	s.EndReplay(ReplayEnded, false, s.now)
	s.want("8")
}

// newUnstated is a history of a server that does not say what it keeps, of
// which messages 5 to 9 have come live and are settled. A replay begins at the
// last of them.
func newUnstated(t *testing.T) *driven {
	from := after(4)
	from.RetentionProbe, from.ReplayedAt = midAt(4), time.Unix(1795421100, 0)
	s := newDriven(t, from)
	s.Undated, s.RetentionProbe, s.ReplayedAt = true, midAt(4), s.now
	s.lives(5, 6, 7, 8, 9)
	s.pass(SettleTime + time.Second)
	s.proves()
	if from := s.BeginReplay(s.now, ""); from != midAt(8) {
		t.Fatalf("the replay asks from %v", from)
	}
	return s
}

// TestUnbroken_BelowTheReplay: that a replay which begins above the watermark
// does not show what lies between says nothing of it: it stays in the cursor.
func TestUnbroken_BelowTheReplay(t *testing.T) {
	s := newUnstated(t)
	s.want("5", "6", "7", "8", "9")
	s.shows(20, 21) // the server has not kept 9
	s.EndReplay(ReplayEnded, false, s.now)
	s.wantKnown(4)
	if got, _ := s.acks.Position(); len(got.Acked) != 6 {
		t.Errorf("the cursor has %v, want 4 to 9", got.Acked)
	}
	if from := s.BeginReplay(s.now, ""); from != midAt(3) {
		t.Errorf("the replay after it asks from %v", from)
	}
}

// TestUnbroken_GivenBack: what is given back has not been seen, so a replay
// that was to begin above it begins anew.
func TestUnbroken_GivenBack(t *testing.T) {
	s := newDriven(t, after(4))
	s.Undated, s.Settle = true, time.Second
	s.Reorder.Hold()
	s.lives(5, 6, 7, 8, 9)
	s.pass(s.Settle + time.Millisecond)
	s.BeginReplay(s.now, "")
	s.EndReplay(ReplayBroken, true, s.now) // the queue is full
	s.GiveBack()
	s.pass(time.Minute)
	if from := s.BeginReplay(s.now, ""); from != midAt(3) {
		t.Errorf("the replay asks from %v", from)
	}
}

// TestUnbroken_Outage: after an outage a replay has to show what the watermark
// stands on, and so does one that had begun above it.
func TestUnbroken_Outage(t *testing.T) {
	s := newUnstated(t)
	var gaps []Gap
	s.report = func(e Event) {
		if g, ok := e.(Gap); ok {
			gaps = append(gaps, g)
		}
	}
	s.Disconnected()
	s.EndReplay(ReplayBroken, true, s.now)
	s.pass(time.Hour)
	if from := s.BeginReplay(s.now, ""); from != midAt(3) {
		t.Errorf("the replay asks from %v", from)
	}
	s.shows(20, 21)
	s.EndReplay(ReplayEnded, false, s.now)
	if len(gaps) != 1 || gaps[0].Reason != Expired {
		t.Errorf("gaps %v", gaps)
	}
}

// TestUnbroken_BehindTheLasting: a replay begins at what the server is known to
// keep, so that it is answered at once, though messages that it does not keep
// have come behind that.
func TestUnbroken_BehindTheLasting(t *testing.T) {
	s := newDriven(t, after(4))
	s.Stamped = true
	for i := uint64(5); i <= 9; i++ {
		m := s.message(i, 0)
		if m.Transient = i > 7; !m.Transient {
			m.Kept = keptFor
		}
		s.Live(m, s.now)
	}
	s.pass(SettleTime + time.Second)
	s.proves()
	s.wantKnown(7)
	if from := s.BeginReplay(s.now, ""); from != midAt(6) {
		t.Errorf("a replay asks from %v", from)
	}
}

// TestUnbroken_OtherChannels: the watermark stands on nothing that has come
// over other channels, which its own do not keep: neither beside them nor when
// they have ended.
func TestUnbroken_OtherChannels(t *testing.T) {
	s := newKept(t, after(4))
	next, _ := s.Successor(s.now, s.now)
	s.lives(5, 6, 7)
	s.pass(SettleTime + time.Second)
	s.proves()
	next.Prove(s.now)
	if next.Watermark != midAt(4) {
		t.Errorf("beside the others it is at %v", next.Watermark)
	}
	s.Drop(s.History, s.now)
	s.pass(proveEvery)
	next.Prove(s.now)
	if next.Watermark != midAt(4) {
		t.Errorf("after them it is at %v", next.Watermark)
	}
	next.Live(s.message(8, 0), s.now)
	s.pass(SettleTime + time.Second)
	next.Prove(s.now)
	if next.Watermark != midAt(8) {
		t.Errorf("on its own it is at %v", next.Watermark)
	}
}

// TestUnbroken_BeginsOver: a replay of much that breaks off is begun anew where
// the watermark has moved with what it has shown, and is gone on with where it
// has not, as beside other channels: else it would never come to its end.
func TestUnbroken_BeginsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of messages")
	}
	for _, beside := range []bool{false, true} {
		s := newDriven(t, after(4))
		s.queue.MaxMessages, s.queue.maxBytes = 1<<20, 1<<30
		if beside {
			s.AddHistory(midAt(4), true)
		}
		const last = 240000
		s.BeginReplay(s.now, "")
		for n := uint64(4); n <= last; n += 2 { // others have the ids between
			s.Replayed(s.message(n, time.Duration(n)*30*time.Microsecond), s.now)
		}
		s.EndReplay(ReplayBroken, true, s.now)
		s.Prove(s.now)
		from := s.BeginReplay(s.now, "")
		if begins := s.Watermark.Prev(); !beside && (from != begins || begins == midAt(3)) {
			t.Errorf("it asks from %v, with the watermark behind %v", from, begins)
		}
		if goes := midAt(last).Prev(); beside && from != goes {
			t.Errorf("beside others it asks from %v, want %v", from, goes)
		}
	}
}
