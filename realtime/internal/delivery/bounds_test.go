package delivery

import (
	"runtime"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// heapHeld is how many bytes of memory are in use, after what is not used any
// more has been collected.
func heapHeld() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools have held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flooded is a history to which much comes, and a user who handles it at once.
type flooded struct {
	*History
	now               time.Time
	forgotten, events int
}

func newFlooded(from Position) *flooded {
	f := &flooded{now: time.Unix(1795421100, 0)}
	f.History = newHistory(from, NewQueue(4096, 16<<20), f.now, func(e Event) {
		f.events++
		if e, ok := e.(Forgotten); ok {
			f.forgotten += e.Messages
		}
	})
	return f
}

// lives takes a live message and handles what is delivered.
func (f *flooded) lives(m Message) (delivered int) {
	m.Time, m.Size = f.now, 100
	f.History.Live(m, f.now)
	return f.handle()
}

func (f *flooded) handle() (delivered int) {
	for {
		m, _, ok := f.queue.TryPop()
		if !ok {
			return delivered
		}
		f.acks.Handled(m.Receipt())
		delivered++
	}
}

// small checks the bounds of what is remembered, and that those who are told
// hear of all that is not, now and then.
func (f *flooded) small(t *testing.T, came int) {
	t.Helper()
	passed := 0
	for _, g := range f.passed {
		passed += len(g.keys)
	}
	remembered := f.seen.len()
	if remembered > MaxRemembered || remembered < MaxRemembered-forgetAtOnce || f.above.len()+passed != remembered {
		t.Errorf("%d are remembered: %d above the low watermark and %d passed", remembered, f.above.len(), passed)
	}
	if f.forgotten+remembered != came || f.events > came/forgetAtOnce {
		t.Errorf("told in %d events that %d were forgotten, of %d that came", f.events, f.forgotten, came)
	}
	if done, open := f.acks.acked.len(), f.acks.pending.len(); done > MaxRemembered || open > 0 {
		t.Errorf("%d are handled, %d open", done, open)
	}
}

// floods are messages of which many come. Most of them no replay moves the low
// watermark above.
var floods = map[string]func(n uint64) Message{
	"ascending": func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n + 2), Sum: uint32(n) | wire.FullSum}}}
	},
	"descending": func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(1<<30 - n), Sum: uint32(n) | wire.FullSum}}}
	},
	"in disorder": func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2 + n*2654435761%(1<<31)), Sum: uint32(n) | wire.FullSum}}}
	},
	"without mids": func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: wire.Mid{}, Sum: uint32(n*2654435761) | wire.FullSum}}}
	},
	"not kept": func(n uint64) Message {
		return Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n + 2), Sum: uint32(n) | wire.FullSum}, Transient: true}}
	},
}

// TestBounds_RememberedIsBounded: whatever comes, and however much of it, what
// is remembered is bounded in number and bytes, for each message costs some
// steps whatever the order in which they come; and what has been forgotten
// comes again rather than not at all.
func TestBounds_RememberedIsBounded(t *testing.T) {
	for name, message := range floods {
		t.Run(name, func(t *testing.T) {
			switch {
			case testing.Short():
				t.Skip("hundreds of thousands of messages")
			case !resttest.Thorough && name != "in disorder":
				t.Skip("B24PULL_LONG=1 runs all floods")
			}
			const many = MaxRemembered + 2*forgetAtOnce
			before := heapHeld()
			f := newFlooded(Position{Progress: Progress{Watermark: midAt(1)}})
			for n := range uint64(many) {
				if f.lives(message(n)) != 1 {
					t.Fatalf("message %d was not delivered", n)
				}
				f.now = f.now.Add(time.Second / 10_000)
			}
			held := heapHeld() - before
			t.Logf("%d MB", held>>20)
			if held > 40<<20 {
				t.Errorf("%d bytes are held", held)
			}
			f.small(t, many)
			if n := f.lives(message(many - 1)); n != 0 {
				t.Error("the last one is not remembered")
			}
			if n := f.lives(message(0)); n != 1 {
				t.Error("the first one is still remembered")
			}
			runtime.KeepAlive(f)
		})
	}
}

// TestBounds_ForgottenComesAgain: what was forgotten while reads failed comes
// again.
func TestBounds_ForgottenComesAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of messages")
	}
	s := newDriven(t, after(1))
	for n := uint64(2); n <= MaxRemembered+2; n++ {
		s.lives(n)
		m, _, _ := s.queue.TryPop()
		s.acks.Handled(m.Receipt())
	}
	s.reads(1, 2, 3)
	s.want("1RL", "2RL", "3RL")
}

// TestBounds_PassedGoesFirst: what no replay should bring is forgotten before
// what the next one will.
func TestBounds_PassedGoesFirst(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of messages")
	}
	f := newFlooded(Position{Progress: Progress{Watermark: midAt(1)}})
	kept, transient := floods["ascending"], floods["not kept"]
	for n := range uint64(1000) {
		f.lives(kept(n))
	}
	for n := range uint64(2 * MaxRemembered) {
		f.lives(transient(1000 + n))
	}
	for n := range uint64(1000) {
		if f.lives(kept(n)) != 0 {
			t.Fatalf("message %d, which the server keeps, was forgotten", n)
		}
	}
}

// TestBounds_HandledIsBounded: what the user is not to get is bounded, too,
// while he is busy with one message for hours.
func TestBounds_HandledIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of messages")
	}
	f := newFlooded(Position{Progress: Progress{Watermark: midAt(1)}})
	f.History.Live(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2)}, Size: 1}}, f.now) // stays open
	for n := range uint64(2 * MaxRemembered) {
		f.Undecodable(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n + 3), Sum: wire.FullSum}}}, false, f.now)
		if n%20_000 == 0 { // reads move the low watermark
			f.BeginReplay(f.now.Add(time.Minute), "")
			f.Replayed(Message{Record: wire.Record{Key: wire.Key{Mid: f.Watermark, Sum: 0}}}, f.now)
			f.Undecodable(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n + 2), Sum: wire.FullSum}}}, true, f.now)
			f.EndReplay(ReplayEnded, false, f.now)
			f.now = f.now.Add(2 * rememberPassed)
			f.forget(f.now)
		}
	}
	if done := f.acks.acked.len(); done > MaxRemembered || f.forgotten == 0 {
		t.Errorf("%d are handled, and %d were told of as forgotten", done, f.forgotten)
	}
	if c, _ := f.acks.Position(); !c.Watermark.Less(midAt(2)) {
		t.Errorf("the cursor has passed what is open: %v", c.Watermark)
	}
}

// TestBounds_EpochsAreBounded: so many sequences of mids are known, and those
// in use stay known.
func TestBounds_EpochsAreBounded(t *testing.T) {
	f := newFlooded(Position{Progress: Progress{Watermark: midAt(1)}})
	f.lives(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(2)}}})
	gaps := 0
	f.report = func(e Event) {
		if _, ok := e.(Gap); ok {
			gaps++
		}
	}
	others := resttest.Rounds(10_000)
	for n := range uint64(others) {
		f.lives(Message{Record: wire.Record{Key: wire.Key{Mid: wire.Mid{Epoch: midAt(1).Epoch + 1 + n, Counter: 1}}}})
		before := gaps
		if f.lives(Message{Record: wire.Record{Key: wire.Key{Mid: midAt(3 + n)}}}); gaps > before {
			t.Fatal("the sequence in use was forgotten")
		}
	}
	if len(f.epochs) != maxEpochs || gaps != others {
		t.Errorf("%d sequences are known, %d gaps were told of", len(f.epochs), gaps)
	}
}

// TestBounds_FirstReplayIsBounded: a first replay may show whatever it likes.
// What is remembered is the greatest of it.
func TestBounds_FirstReplayIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of messages")
	}
	for name, message := range floods {
		if !resttest.Thorough && name != "in disorder" {
			continue
		}
		for _, at := range []time.Time{{}, time.Unix(1795421100, 0)} { // no time, or that of one second
			before := heapHeld()
			f := newFlooded(Position{})
			f.BeginReplay(f.now, "")
			const many = MaxRemembered + 2*forgetAtOnce
			for n := range uint64(many) {
				m := message(n)
				m.Time, m.Size = at, 100
				f.Replayed(m, f.now)
				if n == many/2 {
					if held := heapHeld() - before; held > 20<<20 {
						t.Errorf("%s: %d bytes are held while it is read", name, held)
					}
				}
			}
			f.EndReplay(ReplayEnded, false, f.now)
			held := heapHeld() - before
			t.Logf("%s: %d MB", name, held>>20)
			if held > 40<<20 || f.seen.len() > MaxRemembered || f.Replay != nil {
				t.Errorf("%s: %d bytes are held, %d messages remembered", name, held, f.seen.len())
			}
			if f.forgotten+f.seen.len() != many || f.events > 1 {
				t.Errorf("%s: %d are remembered, and %d events told that %d are not", name, f.seen.len(), f.events, f.forgotten)
			}
			runtime.KeepAlive(f)
		}
	}
}
