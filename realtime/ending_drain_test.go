package realtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestEnding_DrainWaits: as http.Server.Shutdown, with the usual idiom: what was
// received is handled when Drain returns, the cursor is saved, and nothing runs.
func TestEnding_DrainWaits(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]Option{"one at a time": nil, "parallel": {WithParallel(3, nil)}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				store := new(countingStore)
				var handled atomic.Int32
				l.received(slowly(&handled), append(opts, WithCursorStore(store))...)
				func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if err := l.sub.Drain(ctx); err != nil {
						t.Errorf("Drain returned %v", err)
					}
				}()
				if n := handled.Load(); n != 20 {
					t.Errorf("handled %d of 20", n)
				}
				if !isOver(l.sub.Done()) || l.sub.Err() != nil || l.sub.State() != StateClosed {
					t.Errorf("not over: %v, %v", l.sub.State(), l.sub.Err())
				}
				<-l.done
				if l.err != nil {
					t.Errorf("Run returned %v", l.err)
				}
				if err := l.sub.Drain(t.Context()); err != nil {
					t.Errorf("once more: %v", err)
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				next.want()
			})
		})
	}
}

// TestEnding_DrainCut: a context that ends first closes the subscription, and
// Drain tells how many messages are not handled, the one in hand among them. It
// does not wait for a handler that hangs.
func TestEnding_DrainCut(t *testing.T) {
	t.Parallel()
	const limit = 3*time.Second + 500*time.Millisecond
	for name, opts := range map[string][]Option{"one at a time": nil, "parallel": {WithParallel(3, byCommand)}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				var handled atomic.Int32
				l.received(slowly(&handled), opts...)
				before := time.Now()
				err := l.sub.Drain(within(t, limit))
				if took := time.Since(before); took != limit {
					t.Errorf("Drain took %v", took)
				}
				wantUnhandled(t, err, context.DeadlineExceeded, 20-int(handled.Load()))
				if n := handled.Load(); n < 3 || n > 5 {
					t.Errorf("handled %d", n)
				}
				<-l.sub.Done()
				<-l.done
				if l.err != nil {
					t.Errorf("Run returned %v", l.err)
				}
				wantUnhandled(t, l.sub.Drain(t.Context()), ErrClosed, 20-int(handled.Load()))
			})
		})
	}
	t.Run("a handler that hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			release := make(chan struct{})
			l.received(func(context.Context, Message) error { <-release; return nil })
			wantUnhandled(t, l.sub.Drain(within(t, time.Minute)), context.DeadlineExceeded, 20)
			time.Sleep(time.Minute)
			if isOver(l.sub.Done()) {
				t.Error("it is over while a handler runs")
			}
			close(release)
			<-l.sub.Done()
			wantUnhandled(t, l.sub.Drain(t.Context()), ErrClosed, 19)
		})
	})
	t.Run("an expired context", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errHandler)
			err := l.sub.Drain(ctx)
			wantUnhandled(t, err, context.Canceled, 20-int(handled.Load()))
			if !errors.Is(err, errHandler) {
				t.Errorf("no cause in %v", err)
			}
		})
	})
	t.Run("messages that are not kept", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.start(nil)
			hand := l.again()
			hand.subscribe(nil)
			hand.run(func(ctx context.Context, m Message) error {
				_ = hand.sub.Commit(ctx, m) // counts once
				<-ctx.Done()
				return ctx.Err()
			})
			<-hand.sub.Ready()
			for range 5 {
				l.portal.Emit(pulltest.Message{Command: "fleeting", Expiry: -1})
			}
			time.Sleep(10 * time.Second)
			wantUnhandled(t, hand.sub.Drain(within(t, time.Minute)), context.DeadlineExceeded, 5)
			if err := l.sub.Drain(t.Context()); err != nil {
				t.Errorf("all handled: %v", err)
			}
		})
	})
}

// TestEnding_DrainFromWithin: no callback waits for itself, whatever context it
// gives. The drain has begun, and all is handled.
func TestEnding_DrainFromWithin(t *testing.T) {
	t.Parallel()
	contexts := map[string]func(handler context.Context) context.Context{
		"its context": func(ctx context.Context) context.Context { return ctx },
		"another":     func(context.Context) context.Context { return context.Background() },
		"one that is over": func(context.Context) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx
		},
	}
	for name, of := range contexts {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprint(name, ", handlers ", workers), func(t *testing.T) {
				inBubble(t, func(t *testing.T, l *life) {
					var handled atomic.Int32
					var once sync.Once
					l.received(func(ctx context.Context, _ Message) error {
						time.Sleep(2 * time.Second)
						once.Do(func() {
							if err := l.sub.Drain(of(ctx)); err != nil {
								t.Errorf("Drain returned %v", err)
							}
						})
						handled.Add(1)
						return nil
					}, WithParallel(workers, nil))
					<-l.done
					if n := handled.Load(); n != 20 || l.err != nil {
						t.Errorf("handled %d, Run returned %v", n, l.err)
					}
				})
			})
		}
	}
	t.Run("a goroutine of the handler's", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.received(func(ctx context.Context, _ Message) error {
				drained := make(chan error)
				go func() { drained <- l.sub.Drain(ctx) }()
				return <-drained
			})
			<-l.done
			if l.err != nil {
				t.Errorf("Run returned %v", l.err)
			}
		})
	})
	t.Run("the loop", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.emit("one")
			l.emit("two")
			l.subscribe(nil, WithHistory())
			n := 0
			for _, err := range l.sub.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 1 {
					time.Sleep(time.Second)
					if err := l.sub.Drain(context.Background()); err != nil {
						t.Errorf("Drain returned %v", err)
					}
				}
			}
			if n != 2 || l.sub.Err() != nil || !isOver(l.sub.Done()) {
				t.Errorf("%d messages, %v", n, l.sub.Err())
			}
		})
	})
	t.Run("an observer", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil, WithObserver(func(e Event) {
				if c, ok := e.(StateChange); ok && c.To == StateLive {
					if err := l.sub.Drain(context.Background()); err != nil {
						t.Errorf("Drain returned %v", err)
					}
				}
			}))
			l.run(nil)
			<-l.done
		})
	})
	t.Run("the store", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil, WithCursorStore(drainingStore{new(MemoryStore), l}))
			l.run(nil)
			<-l.done
			if l.err != nil {
				t.Errorf("Run returned %v", l.err)
			}
		})
	})
}

// drainingStore drains the subscription that it belongs to.
type drainingStore struct {
	*MemoryStore
	l *life
}

func (s drainingStore) Save(ctx context.Context, c Cursor) error {
	if err := s.l.sub.Drain(context.Background()); err != nil {
		return err
	}
	return s.MemoryStore.Save(ctx, c)
}

// TestEnding_DrainOfAnother: a handler can wait for another subscription.
func TestEnding_DrainOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, l *life) {
		var handled atomic.Int32
		l.received(slowly(&handled))
		outer := l.again()
		outer.subscribe(nil)
		outer.run(func(ctx context.Context, _ Message) error { return l.sub.Drain(ctx) })
		<-outer.sub.Ready()
		l.emit("drain the other")
		time.Sleep(10 * time.Second)
		if handled.Load() >= 20 || len(outer.commands()) != 1 {
			t.Fatalf("handled %d, the other one %v", handled.Load(), outer.commands())
		}
		time.Sleep(20 * time.Second)
		if !isOver(l.done) || handled.Load() < 20 {
			t.Errorf("handled %d", handled.Load())
		}
	})
}
