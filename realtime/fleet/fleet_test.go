package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"golang.org/x/oauth2"
)

// client is a source for a portal without an installation.
func (w *world) client(p *pulltest.Portal) *b24pull.Client {
	w.t.Helper()
	c, err := b24pull.New(b24pull.OAuth(p.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.AccessToken()})), b24pull.WithHTTPClient(p.HTTPClient()))
	w.must(err)
	return c
}

// fleet is one that tells the world's events.
func (w *world) fleet(opts ...Option) *Fleet {
	w.t.Helper()
	f, err := New(append([]Option{WithObserver(w.events.note)}, opts...)...)
	w.must(err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		f.Shutdown(ctx)
		f.Shutdown(context.Background())
	})
	return f
}

func (w *world) add(f *Fleet, p *pulltest.Portal, opts ...realtime.Option) {
	w.t.Helper()
	w.must(f.Add(p.MemberID(), w.client(p), w.heard.of(p.MemberID()), opts...))
}

func emit(p *pulltest.Portal, from, to int) (commands []string) {
	for n := from; n <= to; n++ {
		commands = append(commands, fmt.Sprint("n", n))
		p.Emit(pulltest.Message{Command: commands[len(commands)-1], To: pulltest.Shared})
	}
	return commands
}

// TestFleet_AddRemove: a key is listened to from Add to Remove, which has all
// handled that has come; added again it goes on.
func TestFleet_AddRemove(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		one, two := w.portals[0], w.portals[1]
		f := w.fleet(WithCursors(w.cursors.Cursors))
		w.heard.do = func(string, realtime.Message) error { time.Sleep(time.Second); return nil }
		w.add(f, one)
		w.add(f, two)
		if err := f.Add(one.MemberID(), w.client(one), w.heard.of("")); err != ErrKeyExists {
			t.Errorf("added twice: %v", err)
		}
		w.eventually("ready", func() bool {
			return w.events.of(one.MemberID(), KindReady) == 1 && w.events.of(two.MemberID(), KindReady) == 1
		})
		want := emit(one, 1, 10)
		time.Sleep(2 * time.Second)
		w.must(f.Remove(t.Context(), one.MemberID()))
		if got := w.heard.from(one); !slices.Equal(got, want) {
			t.Errorf("Remove has handled %q", got)
		}
		if keys := f.Keys(); !slices.Equal(keys, []string{two.MemberID()}) || len(one.Subscribers()) != 0 {
			t.Errorf("left: %q, %d connections", keys, len(one.Subscribers()))
		}
		if err := f.Remove(t.Context(), one.MemberID()); err != ErrNoKey {
			t.Errorf("removed twice: %v", err)
		}
		if err := f.Restart("nobody"); err != ErrNoKey {
			t.Errorf("restarted: %v", err)
		}
		want = append(want, emit(one, 11, 13)...)
		w.add(f, one)
		w.eventually("the rest", func() bool { return len(w.heard.from(one)) >= len(want) })
		w.must(f.Shutdown(t.Context()))
		if got := w.heard.from(one); !slices.Equal(got, want) {
			t.Errorf("heard %q", got)
		}
		if err := f.Add("late", w.client(one), w.heard.of("")); err != ErrShutdown {
			t.Errorf("added after Shutdown: %v", err)
		}
	})
}

// TestFleet_AddWhileRemoved: a key that is added while it is drained begins
// when that has ended: there are never two subscriptions of it, and nothing is
// lost or comes twice.
func TestFleet_AddWhileRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet(WithCursors(w.cursors.Cursors))
		var mu sync.Mutex
		now, most := 0, 0
		w.heard.do = func(string, realtime.Message) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			now--
			return nil
		}
		w.add(f, p)
		w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
		var removals sync.WaitGroup
		var want []string
		for round := range 20 {
			want = append(want, emit(p, 3*round+1, 3*round+3)...)
			time.Sleep(500 * time.Millisecond)
			removals.Go(func() {
				if err := f.Remove(t.Context(), p.MemberID()); err != nil && err != ErrNoKey {
					t.Errorf("Remove: %v", err)
				}
			})
			synctest.Wait()
			if err := f.Add(p.MemberID(), w.client(p), w.heard.of(p.MemberID())); err != nil {
				t.Fatal(err)
			}
			if len(p.Subscribers()) > 1 {
				t.Fatalf("%d subscriptions at once", len(p.Subscribers()))
			}
		}
		removals.Wait()
		w.eventually("all", func() bool { return len(w.heard.from(p)) >= len(want) })
		w.must(f.Shutdown(t.Context()))
		if got := w.heard.from(p); !slices.Equal(got, want) || most != 1 {
			t.Errorf("%d at once; heard %q", most, got)
		}
	})
}

// TestFleet_OnesOwnErrors: what goes wrong with one key is met with patience,
// its message comes again, and no other key notices.
func TestFleet_OnesOwnErrors(t *testing.T) {
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("s3cr3t of one's own") },
		"a panic":  func() error { panic("exploded") },
	} {
		for _, parallel := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", parallel ", parallel), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pulltest.Network) {
					w := newWorld(t, 2, n)
					bad, good := w.portals[0], w.portals[1]
					f := w.fleet()
					failures := 3
					w.heard.do = func(member string, m realtime.Message) error {
						if member == bad.MemberID() && m.Command == "n2" && failures > 0 {
							failures--
							return fail()
						}
						return nil
					}
					var opts []realtime.Option
					if parallel {
						opts = append(opts, realtime.WithParallel(4, func(realtime.Message) string { return "" }))
					}
					w.add(f, bad, opts...)
					w.add(f, good, opts...)
					w.eventually("ready", func() bool {
						return w.events.of(bad.MemberID(), KindReady) == 1 && w.events.of(good.MemberID(), KindReady) == 1
					})
					want := emit(bad, 1, 3)
					emit(good, 1, 3)
					w.eventually("heard by the other", func() bool { return len(w.heard.from(good)) == 3 })
					w.eventually("heard in the end", func() bool { return len(w.heard.from(bad)) >= 3 })
					if got := w.heard.from(bad); !slices.Equal(got, want) {
						t.Errorf("heard %q", got)
					}
					if n := w.events.of(bad.MemberID(), KindFailed); n != 3 || w.events.of(good.MemberID(), KindFailed) != 0 {
						t.Errorf("%d failures", n)
					}
					last := w.events.last(bad.MemberID(), KindFailed)
					var panicked *PanicError
					if last.Delay < 20*time.Second || last.Delay > 24*time.Second || last.Run != 3 || errors.As(last.Err, &panicked) != (name == "a panic") {
						t.Errorf("told %+v", last)
					}
					if panicked != nil && !strings.Contains(string(panicked.Stack), "fleet_test.go") {
						t.Errorf("the stack is not the handler's:\n%s", panicked.Stack)
					}
					w.must(f.Shutdown(t.Context()))
				})
			})
		}
	}
}

// TestFleet_Goexit: a handler that ends its goroutine ends its key, and does
// not hold up anybody.
func TestFleet_Goexit(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		w.heard.do = func(string, realtime.Message) error { runtime.Goexit(); return nil }
		w.add(f, p)
		w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
		emit(p, 1, 1)
		w.eventually("gone", func() bool { return w.events.of(p.MemberID(), KindRemoved) == 1 })
		if e := w.events.last(p.MemberID(), KindRemoved); e.Err != errGoexit || len(f.Keys()) != 0 {
			t.Errorf("told %+v; keys %v", e, f.Keys())
		}
	})
}

// TestFleet_GoesOnWithoutStore: a run that is begun again loses nothing, though
// nobody keeps cursors, whether something was handled before it ended or not.
func TestFleet_GoesOnWithoutStore(t *testing.T) {
	for _, before := range []int{0, 5} {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n)
				p := w.portals[0]
				f := w.fleet(WithRestart(func(string, error, int) Restart { return After(10 * time.Second) }))
				w.add(f, p)
				w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
				time.Sleep(20 * time.Second)
				want := emit(p, 1, before)
				w.eventually("heard", func() bool { return len(w.heard.from(p)) == before })
				f.Subscription(p.MemberID()).Close()
				w.eventually("ended", func() bool { return w.events.of(p.MemberID(), KindFailed) == 1 })
				want = append(want, emit(p, before+1, before+5)...)
				w.eventually("begun again", func() bool { return w.events.of(p.MemberID(), KindReady) == 2 })
				w.eventually("heard all", func() bool { return len(w.heard.from(p)) >= len(want) })
				if got := w.heard.from(p); !slices.Equal(got, want) {
					t.Errorf("heard %q", got)
				}
				w.must(f.Shutdown(t.Context()))
			})
		})
	}
}

// TestFleet_CursorMismatch: a cursor that does not fit is given up, which is
// told, and all that is kept comes.
func TestFleet_CursorMismatch(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		one, two := w.portals[0], w.portals[1]
		f := w.fleet(WithCursors(func(string) realtime.CursorStore { return w.cursors.Cursors("the one") }))
		w.add(f, one)
		w.eventually("ready", func() bool { return w.events.of(one.MemberID(), KindReady) == 1 })
		emit(one, 1, 1)
		w.eventually("heard", func() bool { return len(w.heard.from(one)) == 1 })
		w.must(f.Remove(t.Context(), one.MemberID()))
		want := emit(two, 1, 3)
		w.add(f, two)
		w.eventually("all that is kept", func() bool { return slices.Equal(w.heard.from(two), want) })
		if e := w.events.last(two.MemberID(), KindCursorDropped); !errors.Is(e.Err, realtime.ErrCursorMismatch) || e.Run != 1 {
			t.Errorf("told %+v", e)
		}
		if w.events.of(two.MemberID(), KindFailed)+w.events.of(two.MemberID(), KindWaiting) != 0 {
			t.Error("it is told as a failure")
		}
		want = append(want, emit(two, 4, 4)...)
		w.must(f.Shutdown(t.Context()))
		f = w.fleet(WithCursors(func(string) realtime.CursorStore { return w.cursors.Cursors("the one") }))
		w.add(f, two)
		w.eventually("the next", func() bool { return len(w.heard.from(two)) >= 4 })
		if got := w.heard.from(two); !slices.Equal(got, want) || w.events.of(two.MemberID(), KindCursorDropped) != 1 {
			t.Errorf("heard %q", got)
		}
		w.must(f.Shutdown(t.Context()))
	})
}

// TestFleet_Shutdown: all keys are drained at once, within one deadline; what
// is left then is counted, and a second call waits for the end.
func TestFleet_Shutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 10, n)
		f := w.fleet()
		stuck := w.portals[3]
		release := make(chan struct{})
		w.heard.do = func(member string, _ realtime.Message) error {
			if member == stuck.MemberID() {
				<-release
			}
			time.Sleep(time.Second)
			return nil
		}
		for _, p := range w.portals {
			w.add(f, p)
		}
		for _, p := range w.portals {
			w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
			emit(p, 1, 5)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		err := f.Shutdown(ctx)
		var left *ShutdownError
		if !errors.As(err, &left) || !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(left.Keys, []string{stuck.MemberID()}) || left.Unhandled != 5 {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(began); took != 8*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
		for _, p := range w.portals {
			if got := len(w.heard.from(p)); p != stuck && got != 5 {
				t.Errorf("%d of 5 were handled", got)
			}
		}
		close(release)
		if err := f.Shutdown(context.Background()); !errors.As(err, &left) || !errors.Is(err, realtime.ErrClosed) || left.Unhandled != 4 {
			t.Errorf("the second Shutdown: %v", err)
		}
		if len(f.Keys()) != 0 {
			t.Errorf("left: %v", f.Keys())
		}
	})
}

// TestFleet_Refuses: mistakes have a clear error.
func TestFleet_Refuses(t *testing.T) {
	f, err := New()
	if err != nil {
		t.Fatal(err)
	}
	handler := realtime.HandlerFunc(func(context.Context, realtime.Message) error { return nil })
	source := realtime.PortalConfig(new(b24pull.Client))
	for want, err := range map[string]error{
		"key is empty":               f.Add("", source, handler),
		"the handler is nil":         f.Add("a", source, nil),
		"source is nil":              f.Add("a", nil, handler),
		"an option is nil":           f.Add("a", source, handler, nil),
		"the logger is nil":          second(New(WithLogger(nil))),
		"the function is nil":        second(New(WithCursors(nil))),
		"give 1 or more":             second(New(WithRequests(0))),
		"give 0 or more":             second(New(WithQueueBytes(-1))),
		"WithPortals is for NewAppl": second(New(WithPortals("portal.example"))),
		"one is no host":             second(New(WithPortals("portal.example/path"))),
		"want https://HOST/PATH":     second(New(WithEventURL("example"))),
		"fleet: an option is nil":    second(New(nil)),
		"the tokens are nil":         second(NewApplication(nil, nil)),
		"the path is empty":          second(NewCursorFolder("")),
		"not a directory":            second(NewCursorFolder("fleet_test.go")),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if len(f.Keys()) != 0 {
		t.Errorf("keys %v", f.Keys())
	}
}

func second[T any](_ T, err error) error { return err }

func someCursor(t *testing.T) (c realtime.Cursor) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, pulltest.NewNetwork())
		f := w.fleet(WithCursors(w.cursors.Cursors))
		p := w.portals[0]
		w.add(f, p)
		w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return len(w.heard.from(p)) == 1 })
		w.must(f.Shutdown(t.Context()))
		c, _ = w.cursors.Cursors(p.MemberID()).Load(t.Context())
	})
	return c
}
