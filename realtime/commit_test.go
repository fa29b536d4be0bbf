package realtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/sleep"
)

// slowStore takes some time for each save, and gives up when the context is
// done.
type slowStore struct {
	MemoryStore
	delay atomic.Int64
	saves atomic.Int64
}

func (s *slowStore) Save(ctx context.Context, c Cursor) error {
	s.saves.Add(1)
	if !sleep.For(ctx, time.Duration(s.delay.Load())) {
		return ctx.Err()
	}
	return s.MemoryStore.Save(ctx, c)
}

// TestCommit_HeedsItsContext: also while another save is under way.
func TestCommit_HeedsItsContext(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		store := new(slowStore)
		store.delay.Store(int64(time.Hour))
		l.subscribe(nil, WithCursorStore(store))
		const limit = 100 * time.Millisecond
		l.run(func(ctx context.Context, m Message) error {
			if m.Command != "two" {
				return nil
			}
			time.Sleep(5 * time.Second)
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			begin := time.Now()
			if err := l.sub.Commit(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Commit returned %v", err)
			}
			if took := time.Since(begin); took != limit {
				t.Errorf("Commit returned after %v", took)
			}
			return nil
		})
		<-l.sub.Ready()
		l.emit("one")
		l.emit("two")
		time.Sleep(10 * time.Second)
		store.delay.Store(0)
		if err := l.stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want()
	})
}

// TestCommit_InHandler: what a handler has committed does not come again,
// whatever it returns then. With a context that is done nothing is saved at
// once, but at the end.
func TestCommit_InHandler(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		for _, opts := range [][]Option{nil, {WithParallel(2, nil)}} {
			t.Run(fmt.Sprintf("context done %v, options %d", done, len(opts)), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open()
					store := new(slowStore)
					l.subscribe(nil, append(opts, WithCursorStore(store), WithSaveInterval(time.Hour))...)
					l.run(func(ctx context.Context, m Message) error {
						ctx, cancel := context.WithCancel(ctx)
						defer cancel()
						if done {
							cancel()
						}
						before := store.saves.Load()
						err := l.sub.Commit(ctx, m)
						saves := store.saves.Load() - before
						if !done && (err != nil || saves != 1) || done && (!errors.Is(err, context.Canceled) || saves != 0) {
							t.Errorf("Commit returned %v, %d saves", err, saves)
						}
						return errHandler
					})
					<-l.sub.Ready()
					time.Sleep(time.Minute)
					l.emit("one")
					<-l.done
					if !errors.Is(l.err, errHandler) {
						t.Errorf("Run returned %v", l.err)
					}
					next := l.goOn(store, nil)
					time.Sleep(time.Minute)
					next.want()
				})
			})
		}
	}
}

// TestCommit_LastSave: the last save has ten seconds, and one from the moment
// on that the context is cancelled.
func TestCommit_LastSave(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	tests := []struct {
		name    string
		close   bool
		cancel  time.Duration // how long after that
		save    time.Duration
		returns time.Duration
	}{
		{"closed", true, never, never, 10 * time.Second},
		{"closed, and saved in time", true, never, 9 * time.Second, 9 * time.Second},
		{"cancelled", false, 0, never, time.Second},
		{"cancelled, and saved in time", false, 0, 900 * time.Millisecond, 900 * time.Millisecond},
		{"closed, then cancelled", true, 2 * time.Second, never, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(slowStore)
				l.subscribe(nil, WithCursorStore(store))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error)
				go func() { done <- l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil })) }()
				<-l.sub.Ready()
				time.Sleep(time.Minute)
				store.delay.Store(int64(tt.save))
				l.emit("one")
				time.Sleep(100 * time.Millisecond) // a save is under way
				begin := time.Now()
				if tt.close {
					l.sub.Close()
				}
				timer := time.AfterFunc(tt.cancel, cancel)
				defer timer.Stop()
				err := <-done
				if took := time.Since(begin); took != tt.returns {
					t.Errorf("Run returned after %v", took)
				}
				saved := tt.save != never
				if hung := strings.Contains(fmt.Sprint(err), "saving the cursor"); hung == saved {
					t.Errorf("Run returned %v", err)
				}
				if !tt.close && !errors.Is(err, context.Canceled) {
					t.Errorf("Run returned %v", err)
				}
				store.delay.Store(0)
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				if saved {
					next.want()
				} else {
					next.want("one")
				}
			})
		})
	}
}

// closedStore cannot be loaded.
type closedStore struct{ MemoryStore }

func (*closedStore) Load(ctx context.Context) (Cursor, error) {
	return Cursor{}, errors.Join(errBroken, ctx.Err())
}

// TestCommit_LoadFails: a subscription whose cursor cannot be loaded has ended,
// and says so.
func TestCommit_LoadFails(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprint("closed before ", closed), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				var log strings.Builder
				l.subscribe(nil, WithCursorStore(new(closedStore)), WithLogger(newTestLogger(&log)))
				if closed {
					l.sub.Close()
				}
				l.run(nil)
				<-l.done
				changes := l.changes(StateClosed)
				if s := l.sub.State(); s != StateClosed || len(changes) != 1 || changes[0].From != StateIdle {
					t.Fatalf("state is %v, changes %+v", s, changes)
				}
				failed := errors.Is(changes[0].Cause, errBroken)
				logged := strings.Contains(log.String(), "ERROR") && strings.Contains(log.String(), errBroken.Error())
				if errors.Is(l.err, errBroken) == closed || failed == closed || logged == closed {
					t.Errorf("Run returned %v, cause %v, logged %q", l.err, changes[0].Cause, log.String())
				}
				select {
				case <-l.sub.Ready():
					t.Error("ready")
				default:
				}
			})
		})
	}
}
