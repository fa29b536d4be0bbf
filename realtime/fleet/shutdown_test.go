package fleet

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

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
