package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// slowRemoval is a store that waits, where it is to remove its cursor.
type slowRemoval struct {
	realtime.MemoryStore
	removing chan struct{}
	once     sync.Once
}

func (s *slowRemoval) Save(ctx context.Context, c realtime.Cursor) error {
	if at, _ := s.Load(ctx); c.IsZero() && !at.IsZero() {
		s.once.Do(func() {
			close(s.removing)
			time.Sleep(time.Second)
		})
	}
	return s.MemoryStore.Save(ctx, c)
}

// TestRaces_InstalledWhileLeaving: a portal that installs the application again
// while what there was of it is removed is listened to.
func TestRaces_InstalledWhileLeaving(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		store := &slowRemoval{removing: make(chan struct{})}
		r := w.installed(p, WithCursors(func(string) realtime.CursorStore { return store }))
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		time.Sleep(10 * time.Second)
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		<-store.removing
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		emit(p, 2, 2)
		w.eventually("heard again", func() bool { return w.heard.has(p, "n2") })
		if got := w.heard.from(p); !slices.Equal(got, []string{"n1", "n2"}) {
			t.Errorf("heard %q", got)
		}
		r.stop()
	})
}

// TestRaces_InstalledWhenRemoved: a portal that installs the application again
// when it is told that it is gone is listened to.
func TestRaces_InstalledWhenRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		var r *running
		var once sync.Once
		r = w.run(WithObserver(func(e Event) {
			w.events.note(e)
			if e.Kind == KindRemoved {
				once.Do(func() { w.must(p.InstallByEvent(t.Context(), r.at+"/install")) })
			}
		}))
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.ready(p, 1)
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.ready(p, 2)
		r.stop()
	})
}

// askedStore is a store of tokens that has load called first.
type askedStore struct {
	oauth.TokenStore
	load func() error
}

func (s *askedStore) Load(ctx context.Context, key string) (*oauth.Token, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	return s.TokenStore.Load(ctx, key)
}

// TestRaces_InstalledWhileAsked: a portal is listened to that has installed the
// application again, also if what there was of it is gone while its token is
// looked at.
func TestRaces_InstalledWhileAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		var asked atomic.Pointer[func()]
		w.store = &askedStore{w.store, func() error {
			if f := asked.Swap(nil); f != nil {
				(*f)()
			}
			return nil
		}}
		cursors := &slowRemoval{removing: make(chan struct{})}
		r := w.installed(p, WithCursors(func(string) realtime.CursorStore { return cursors }))
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		time.Sleep(10 * time.Second)
		w.must(r.tokens.Delete(t.Context(), p.MemberID()))
		<-cursors.removing
		token := new(oauth.Token)
		w.must(token.UnmarshalJSON(fmt.Appendf(nil, `{"access_token":%q,"refresh_token":"s3cr3t","portal":%q,"member_id":%q}`, p.AccessToken(), p.URL(), p.MemberID())))
		w.must(r.tokens.Put(t.Context(), p.MemberID(), token))
		gone := func() {
			w.eventually("gone", func() bool { _, found := r.app.Fleet().Status(p.MemberID()); return !found })
		}
		asked.Store(&gone)
		r.app.Start(t.Context(), p.MemberID())
		w.ready(p, 2)
		r.stop()
	})
}

// TestRaces_InstalledWhileFailing: an installation that comes while a run fails
// has the next one begun, although the policy would wait.
func TestRaces_InstalledWhileFailing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		w.heard.do = func(_ string, m realtime.Message) error {
			if w.events.of(p.MemberID(), KindBegun) > 1 {
				return nil
			}
			time.Sleep(10 * time.Second)
			return errors.New("the handler's")
		}
		r := w.installed(p, WithRestart(func(string, error, int) Restart { return Wait() }))
		emit(p, 1, 1)
		time.Sleep(time.Second)
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		r.stop()
	})
}

// TestRaces_StoreFails: where the store of tokens cannot tell whether a portal
// has gone, it is asked again later: one that has is forgotten, and one that has
// installed the application again meanwhile is listened to.
func TestRaces_StoreFails(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("installed again: ", again), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n)
				p := w.portals[0]
				var failing atomic.Bool
				w.store = &askedStore{w.store, func() error {
					if failing.Load() {
						return errors.New("the database is away")
					}
					return nil
				}}
				w.heard.do = func(string, realtime.Message) error { time.Sleep(10 * time.Second); return nil }
				r := w.installed(p)
				emit(p, 1, 1)
				time.Sleep(time.Second)
				token, err := r.tokens.Get(t.Context(), p.MemberID())
				w.must(err)
				w.must(r.tokens.Delete(t.Context(), p.MemberID()))
				if again {
					w.must(r.tokens.Put(t.Context(), p.MemberID(), token))
					r.app.Start(t.Context(), p.MemberID())
				}
				failing.Store(true)
				time.Sleep(time.Minute)
				failing.Store(false)
				if again {
					w.ready(p, 2)
				} else {
					w.eventually("gone", func() bool { return len(r.app.Fleet().Keys()) == 0 })
				}
				r.stop()
			})
		})
	}
}

// TestRaces_RemovedWhileOpened: a key is removed whose run is just beginning.
func TestRaces_RemovedWhileOpened(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		removed := make(chan error, 1)
		tokens := w.newTokens()
		var app *Application
		app, err := NewApplication(tokens, func(portal Portal) realtime.Handler {
			go func() { removed <- app.Fleet().Remove(context.Background(), portal.MemberID) }()
			w.eventually("ending", func() bool {
				status, _ := app.Fleet().Status(portal.MemberID)
				return status.State == StateEnding
			})
			return w.heard.of(portal.MemberID)
		})
		w.must(err)
		r := &running{w: w, app: app, tokens: tokens, at: "http://app.example"}
		r.serve()
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		select {
		case err := <-removed:
			w.must(err)
		case <-time.After(time.Hour):
			t.Fatal("Remove waits for ever")
		}
		if len(p.Subscribers()) != 0 {
			t.Error("it is listened to")
		}
		r.stop()
	})
}

// TestRaces_DroppedAndFailed: a subscription that has given up its cursor, and
// fails before it has another one, still begins with all that is kept.
func TestRaces_DroppedAndFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		one, two := w.portals[0], w.portals[1]
		cursors := WithCursors(func(string) realtime.CursorStore { return w.cursors.Cursors("the one") })
		f := w.fleet(cursors)
		w.add(f, one)
		w.ready(one, 1)
		emit(one, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(one, "n1") })
		w.must(f.Shutdown(t.Context()))
		want := emit(two, 1, 3)
		f = w.fleet(cursors, WithObserver(func(e Event) {
			w.events.note(e)
			if e.Kind == KindCursorDropped {
				two.Misbehave(pulltest.REST, pulltest.RESTError(500, "SERVER_ERROR"))
			}
		}), WithRestart(func(string, error, int) Restart {
			two.Behave(pulltest.REST)
			return After(time.Second)
		}))
		w.add(f, two)
		w.eventually("failed", func() bool { return w.events.of(two.MemberID(), KindFailed) == 1 })
		w.eventually("all that is kept", func() bool { return slices.Equal(w.heard.from(two), want) })
		w.must(f.Shutdown(t.Context()))
	})
}

// TestFleet_FromHandler: a handler can remove its own key, and shut the fleet
// down, without waiting for itself.
func TestFleet_FromHandler(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, f *Fleet, key string) error{
		"Remove":   func(ctx context.Context, f *Fleet, key string) error { return f.Remove(ctx, key) },
		"Shutdown": func(ctx context.Context, f *Fleet, _ string) error { return f.Shutdown(ctx) },
		"Remove with another context": func(_ context.Context, f *Fleet, key string) error {
			return f.Remove(context.Background(), key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 2, n)
				p := w.portals[0]
				f := w.fleet()
				ended := make(chan error, 1)
				handler := realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
					if m.Command == "n1" {
						ended <- end(ctx, f, p.MemberID())
					}
					return w.heard.of(p.MemberID()).Handle(ctx, m)
				})
				w.must(f.Add(p.MemberID(), w.client(p), handler))
				w.add(f, w.portals[1])
				w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
				emit(p, 1, 3)
				if err := <-ended; err != nil {
					t.Error(err)
				}
				w.eventually("gone", func() bool { _, found := f.Status(p.MemberID()); return !found })
				w.must(f.Shutdown(t.Context()))
			})
		})
	}
}
