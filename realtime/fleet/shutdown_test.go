package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestShutdown_Removed: the deadline is also that of a subscription that was
// removed and is waited for by a newer one of its key: its handler's context
// ends, and what it leaves is counted.
func TestShutdown_Removed(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, f *Fleet, key string) error{
		"Shutdown": func(ctx context.Context, f *Fleet, _ string) error { return f.Shutdown(ctx) },
		"Remove":   func(ctx context.Context, f *Fleet, key string) error { return f.Remove(ctx, key) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n)
				p := w.portals[0]
				f := w.fleet()
				key := p.MemberID()
				handling, handled := make(chan struct{}), make(chan struct{})
				w.must(f.Add(key, w.client(p), realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
					time.Sleep(time.Second) // the others have come
					if err := f.Remove(ctx, key); err != nil {
						t.Errorf("Remove by the handler: %v", err)
					}
					if err := f.Add(key, w.client(p), w.heard.of(key)); err != nil {
						t.Errorf("Add by the handler: %v", err)
					}
					close(handling)
					select {
					case <-ctx.Done():
					case <-time.After(time.Hour):
						t.Error("the handler's context has not ended an hour later")
					}
					time.Sleep(time.Second) // what is left is counted with this one
					close(handled)
					return nil
				})))
				w.ready(p, 1)
				emit(p, 1, 3)
				<-handling
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := end(ctx, f, key)
				var left *realtime.DrainError
				if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &left) || left.Unhandled != 3 {
					t.Errorf("%s: %v", name, err)
				}
				var all *ShutdownError
				if errors.As(err, &all) && (all.Unhandled != 3 || !slices.Equal(all.Keys, []string{key})) {
					t.Errorf("Shutdown: %+v", all)
				}
				<-handled
				w.eventually("gone", func() bool { return len(f.Keys()) == 0 })
			})
		})
	}
}

// TestRemoved_Err: that a key is gone is told with an error if the portal has
// left, and without one if it was removed, however its last run has ended.
func TestRemoved_Err(t *testing.T) {
	for name, end := range map[string]func(f *Fleet, key string) error{
		"Shutdown": func(f *Fleet, _ string) error { return f.Shutdown(context.Background()) },
		"Remove":   func(f *Fleet, key string) error { return f.Remove(context.Background(), key) },
	} {
		for ended, err := range map[string]error{"delayed": errors.New("the database is away"), "waiting": b24pull.ErrUninstalled, "running": nil} {
			t.Run(name+" while it is "+ended, func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *pulltest.Network) {
					w := newWorld(t, 1, n)
					p := w.portals[0]
					f := w.fleet(WithLogger(slog.New(slog.NewTextHandler(w.out, nil))), WithRestart(func(_ string, err error, _ int) Restart {
						if errors.Is(err, b24pull.ErrUninstalled) {
							return Wait()
						}
						return After(time.Hour)
					}))
					w.heard.do = func(string, realtime.Message) error { return err }
					w.add(f, p)
					w.ready(p, 1)
					emit(p, 1, 1)
					w.eventually("resting", func() bool { s, _ := f.Status(p.MemberID()); return s.State.String() == ended })
					w.must(end(f, p.MemberID()))
					if e := w.events.last(p.MemberID(), KindRemoved); e.Kind != KindRemoved || e.Err != nil {
						t.Errorf("told %+v", e)
					}
					if err == nil && strings.Contains(w.out.String(), "has ended with an error") {
						t.Errorf("logged:\n%s", w.out)
					}
				})
			})
		}
	}
}

// TestRemoved_Left: a portal that has uninstalled the application is told of
// with an error, also if it was removed before that could be seen.
func TestRemoved_Left(t *testing.T) {
	for name, end := range map[string]func(r *running, p *pulltest.Portal){
		"uninstalled": func(*running, *pulltest.Portal) {},
		"uninstalled and removed": func(r *running, p *pulltest.Portal) {
			if err := r.app.Fleet().Remove(context.Background(), p.MemberID()); err != nil && err != ErrNoKey {
				r.w.t.Errorf("Remove: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n)
				p := w.portals[0]
				r := w.installed(p)
				w.heard.do = func(string, realtime.Message) error { time.Sleep(10 * time.Second); return nil }
				emit(p, 1, 1)
				time.Sleep(time.Second)
				w.must(p.Uninstall(t.Context(), r.at+"/event"))
				end(r, p)
				w.eventually("gone", func() bool { return w.events.of(p.MemberID(), KindRemoved) == 1 })
				if e := w.events.last(p.MemberID(), KindRemoved); b24pull.EndingOf(e.Err) != b24pull.EndsRun {
					t.Errorf("told %+v", e)
				}
				r.stop()
			})
		})
	}
}

// TestRemoved_DeletedElsewhere: a portal whose token another process has deleted
// has had one, also if it is removed before its subscription sees that.
func TestRemoved_DeletedElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		key := w.portals[0].MemberID()
		r := w.installed(w.portals[0])
		locked, err := w.store.Lock(t.Context(), key)
		w.must(err)
		w.must(locked.Delete(t.Context()))
		locked.Unlock()
		w.must(r.app.Fleet().Remove(t.Context(), key))
		if e := w.events.last(key, KindRemoved); !errors.Is(e.Err, b24pull.ErrUninstalled) {
			t.Errorf("told %+v, want %v", e, b24pull.ErrUninstalled)
		}
		r.stop()
	})
}
