package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// A caller is something of the user's that ends its own key, once, and notes
// that it has returned from that.
type caller struct {
	end      func()
	called   atomic.Bool
	returned chan struct{}
}

func (c *caller) call() {
	if c.called.CompareAndSwap(false, true) {
		c.end()
		close(c.returned)
	}
}

// callingStore calls when it saves.
type callingStore struct {
	realtime.MemoryStore
	call func()
}

func (s *callingStore) Save(ctx context.Context, c realtime.Cursor) error {
	s.call()
	return s.MemoryStore.Save(ctx, c)
}

// TestCallers_OfEnds: whatever of the user's a key waits for can remove the key,
// and shut the fleet down, without waiting for itself; all keys end.
func TestCallers_OfEnds(t *testing.T) {
	ends := map[string]func(ctx context.Context, f *Fleet, key string) error{
		"Remove":   func(ctx context.Context, f *Fleet, key string) error { return f.Remove(ctx, key) },
		"Shutdown": func(ctx context.Context, f *Fleet, _ string) error { return f.Shutdown(ctx) },
	}
	options := map[string]func(c *caller) Option{
		"WithReady's function": func(c *caller) Option {
			return WithReady(func(context.Context, Portal) error { c.call(); return nil })
		},
		"WithRestart's function": func(c *caller) Option {
			return WithRestart(func(string, error, int) Restart { c.call(); return After(time.Second) })
		},
		"WithCursors' function": func(c *caller) Option {
			return WithCursors(func(string) realtime.CursorStore { c.call(); return new(realtime.MemoryStore) })
		},
		"a cursor store": func(c *caller) Option {
			return WithCursors(func(string) realtime.CursorStore { return &callingStore{call: c.call} })
		},
	}
	for _, kind := range []Kind{KindTold, KindBegun, KindReady, KindFailed, KindEventsBound, KindRemoved} {
		options["the observer of "+kind.String()] = func(c *caller) Option {
			return WithObserver(func(e Event) {
				if e.Kind == kind {
					c.call()
				}
			})
		}
	}
	for name, option := range options {
		for how, end := range ends {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pulltest.Network) {
					w := newWorld(t, 2, n)
					one, two := w.portals[0], w.portals[1]
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					c := &caller{returned: make(chan struct{})}
					var r *running
					begun := make(chan struct{})
					c.end = func() {
						<-begun
						if err := end(ctx, r.app.Fleet(), one.MemberID()); err != nil {
							t.Errorf("%s: %v", how, err)
						}
					}
					r = w.run(option(c))
					close(begun)
					w.heard.do = func(member string, m realtime.Message) error {
						if member == one.MemberID() && m.Command == "n2" {
							return errors.New("the database is away")
						}
						return nil
					}
					w.must(one.InstallByEvent(t.Context(), r.at+"/install"))
					time.Sleep(10 * time.Second)
					emit(one, 1, 2)
					time.Sleep(10 * time.Second)
					if err := two.InstallByEvent(t.Context(), r.at+"/install"); err != nil {
						t.Error(err)
					}
					time.Sleep(10 * time.Second)
					if name == "the observer of removed" {
						go r.app.Fleet().Remove(ctx, one.MemberID())
					}
					select {
					case <-c.returned:
					case <-time.After(time.Minute):
						t.Errorf("%s has not returned", how)
					}
					w.eventually("gone", func() bool { _, found := r.app.Fleet().Status(one.MemberID()); return !found || t.Failed() })
					if how == "Shutdown" {
						w.eventually("shut down", func() bool { return len(r.app.Fleet().Keys()) == 0 || t.Failed() })
					}
					cancel()
					r.stop()
				})
			})
		}
	}
}

// TestCallers_Handlers: handlers of several keys can shut the fleet down at
// once, with a context of their own and with another; nothing that has come is
// dropped.
func TestCallers_Handlers(t *testing.T) {
	for name, with := range map[string]func(own context.Context) context.Context{
		"with its own context": func(own context.Context) context.Context { return own },
		"with another context": func(context.Context) context.Context { return context.Background() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 3, n)
				f := w.fleet()
				returned := make(chan error, 2)
				for i, p := range w.portals {
					key := p.MemberID()
					w.must(f.Add(key, w.client(p), realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
						time.Sleep(time.Second)
						if i > 0 && m.Command == "n1" {
							returned <- f.Shutdown(with(ctx))
						}
						if err := ctx.Err(); err != nil {
							t.Errorf("%s: %s is handled with %v", key, m.Command, err)
						}
						return w.heard.of(key).Handle(ctx, m)
					})))
				}
				for _, p := range w.portals {
					w.ready(p, 1)
				}
				for _, p := range w.portals {
					emit(p, 1, 10)
				}
				time.Sleep(time.Minute)
				if len(returned) != 2 {
					t.Errorf("%d of two have returned", len(returned))
				}
				if keys := f.Keys(); len(keys) > 0 {
					t.Errorf("left: %v", keys)
				}
				for _, p := range w.portals {
					if got := w.heard.from(p); len(got) != 10 {
						t.Errorf("handled: %v", got)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				w.must(f.Shutdown(ctx))
				for range len(returned) {
					w.must(<-returned)
				}
			})
		})
	}
}

// TestCallers_ByContext: what a handler waits for in another goroutine is known
// by the handler's context.
func TestCallers_ByContext(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		handled := make(chan error, 1)
		w.must(f.Add(p.MemberID(), w.client(p), realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
			ended := make(chan error)
			go func() { ended <- errors.Join(f.Remove(ctx, p.MemberID()), f.Shutdown(ctx)) }()
			select {
			case err := <-ended:
				handled <- err
			case <-time.After(time.Minute):
				handled <- errors.New("it waits")
				<-ended
			}
			return nil
		})))
		w.ready(p, 1)
		emit(p, 1, 1)
		if err := <-handled; err != nil {
			t.Error(err)
		}
		w.eventually("gone", func() bool { return len(f.Keys()) == 0 })
		w.must(f.Shutdown(t.Context()))
	})
}

// TestCallers_InTheChain: the handler of a subscription that is being removed can
// remove its key again, under which there is another one.
func TestCallers_InTheChain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		again := make(chan struct{})
		removed := make(chan error, 1)
		w.must(f.Add(p.MemberID(), w.client(p), realtime.HandlerFunc(func(context.Context, realtime.Message) error {
			<-again
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			removed <- f.Remove(ctx, p.MemberID())
			return nil
		})))
		w.ready(p, 1)
		emit(p, 1, 1)
		time.Sleep(time.Second)
		first := make(chan error, 1)
		go func() { first <- f.Remove(t.Context(), p.MemberID()) }()
		time.Sleep(time.Second)
		w.add(f, p)
		close(again)
		w.must(<-removed)
		w.must(<-first)
		w.eventually("gone", func() bool { return len(f.Keys()) == 0 })
		w.must(f.Shutdown(t.Context()))
	})
}

// sourceFunc is a ConfigSource.
type sourceFunc func(ctx context.Context, cache bool) (*b24pull.Config, error)

func (f sourceFunc) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	return f(ctx, cache)
}

// TestCallers_Source: a source that removes its key, in a goroutine that it waits
// for as well, loses nothing that has come.
func TestCallers_Source(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		w.heard.do = func(string, realtime.Message) error { time.Sleep(time.Minute); return nil }
		client := w.client(p)
		var removes atomic.Bool
		removed := make(chan error, 1)
		source := sourceFunc(func(ctx context.Context, cache bool) (*b24pull.Config, error) {
			if removes.CompareAndSwap(true, false) {
				beside := make(chan error)
				go func() { beside <- f.Remove(ctx, p.MemberID()) }()
				removed <- <-beside
			}
			return client.GetApplicationConfig(ctx, cache)
		})
		w.must(f.Add(p.MemberID(), source, w.heard.of(p.MemberID()), realtime.WithHTTPClient(p.HTTPClient())))
		w.ready(p, 1)
		want := emit(p, 1, 5)
		time.Sleep(time.Second)
		removes.Store(true)
		p.ExpireConfig()
		w.must(<-removed)
		time.Sleep(time.Hour)
		if got := w.heard.from(p); !slices.Equal(got, want) || len(f.Keys()) > 0 {
			t.Errorf("handled %v; left %v", got, f.Keys())
		}
		w.must(f.Shutdown(t.Context()))
	})
}

// TestCallers_ManyShutdowns: however many handlers shut the fleet down, what that
// takes does not multiply.
func TestCallers_ManyShutdowns(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		const keys = 20
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet()
		start, release := make(chan struct{}), make(chan struct{})
		for i := range keys {
			w.must(f.Add(fmt.Sprint("key ", i), w.client(p), realtime.HandlerFunc(func(ctx context.Context, _ realtime.Message) error {
				<-start
				err := f.Shutdown(ctx)
				<-release
				return err
			})))
		}
		time.Sleep(10 * time.Second)
		emit(p, 1, 1)
		time.Sleep(10 * time.Second)
		before := runtime.NumGoroutine()
		close(start)
		time.Sleep(10 * time.Second)
		if after := runtime.NumGoroutine(); after > before+keys {
			t.Errorf("%d goroutines, and %d before", after, before)
		}
		close(release)
		w.must(f.Shutdown(t.Context()))
	})
}
