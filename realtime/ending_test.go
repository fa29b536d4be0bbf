package realtime

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/pulltest"
)

// slowly is a handler that takes a second, or as long as its context lets it.
func slowly(handled *atomic.Int32) HandlerFunc {
	return func(ctx context.Context, _ Message) error {
		if !sleep.For(ctx, time.Second) {
			return ctx.Err()
		}
		handled.Add(1)
		return nil
	}
}

// received has a slow handler and twenty messages received.
func (l *life) received(handler HandlerFunc, opts ...Option) {
	l.open()
	l.subscribe(nil, opts...)
	l.run(handler)
	<-l.sub.Ready()
	for range 20 {
		l.emit("message")
	}
	time.Sleep(time.Second)
	synctest.Wait()
}

// inBubble is onVirtualTime for what is quick: no scenario is left out.
func inBubble(t *testing.T, scenario func(t *testing.T, l *life)) {
	t.Helper()
	t.Parallel()
	onVirtualTimeInTurn(t, scenario)
}

// within is a context for Drain.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantUnhandled checks that a drain was cut short.
func wantUnhandled(t *testing.T, err, cause error, n int) {
	t.Helper()
	var cut *DrainError
	if !errors.As(err, &cut) || !errors.Is(err, cause) || cut.Unhandled != n {
		t.Errorf("Drain returned %v, want %d unhandled for %v", err, n, cause)
	}
}

// isOver reports whether a channel is closed.
func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestEnding_Situations: Drain is defined in all of them.
func TestEnding_Situations(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, l *life){
		"before Run": func(t *testing.T, l *life) {
			l.open()
			store := new(countingStore)
			l.subscribe(nil, WithCursorStore(store))
			if err := l.sub.Drain(t.Context()); err != nil || !isOver(l.sub.Done()) {
				t.Errorf("Drain returned %v", err)
			}
			l.run(nil)
			<-l.done
			if n := l.portal.Stats().Configs; l.err != nil || n > 0 || store.saves.Load() > 0 {
				t.Errorf("Run returned %v, after %d configs and %d saves", l.err, n, store.saves.Load())
			}
			if err := l.sub.WaitReady(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("WaitReady returned %v", err)
			}
		},
		"after Close": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			l.sub.Close()
			wantUnhandled(t, l.sub.Drain(t.Context()), ErrClosed, 20-int(handled.Load()))
			if <-l.done; l.err != nil {
				t.Errorf("Run returned %v", l.err)
			}
		},
		"Close meanwhile": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			time.AfterFunc(4500*time.Millisecond, l.sub.Close) // between two of them
			wantUnhandled(t, l.sub.Drain(t.Context()), ErrClosed, 20-int(handled.Load()))
		},
		"several together": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if err := l.sub.Drain(t.Context()); err != nil || handled.Load() != 20 {
						t.Errorf("Drain returned %v, handled %d", err, handled.Load())
					}
				})
			}
			all.Wait()
		},
		"one of several is cut": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			patient := make(chan error)
			go func() { patient <- l.sub.Drain(t.Context()) }()
			wantUnhandled(t, l.sub.Drain(within(t, 2500*time.Millisecond)), context.DeadlineExceeded, 20-int(handled.Load()))
			wantUnhandled(t, <-patient, ErrClosed, 20-int(handled.Load()))
		},
		"paused": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.open()
			l.subscribe(nil)
			l.sub.queue.MaxMessages = 4
			l.run(slowly(&handled))
			<-l.sub.Ready()
			for range 20 {
				l.emit("message")
			}
			time.Sleep(time.Second)
			if s := l.sub.State(); s != StatePaused {
				t.Fatalf("it is %v", s)
			}
			before := int(handled.Load())
			if err := l.sub.Drain(t.Context()); err != nil {
				t.Errorf("Drain returned %v", err)
			}
			if n := int(handled.Load()) - before; n < 3 || n > 5 {
				t.Errorf("%d were handled of what was received", n)
			}
		},
		"reconnecting": func(t *testing.T, l *life) {
			var handled atomic.Int32
			l.received(slowly(&handled))
			l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(502))
			l.portal.Cut()
			time.Sleep(time.Second)
			if err := l.sub.Drain(t.Context()); err != nil || handled.Load() != 20 {
				t.Errorf("Drain returned %v, handled %d", err, handled.Load())
			}
		},
		"not connected yet": func(t *testing.T, l *life) {
			l.open()
			l.portal.Misbehave(pulltest.REST, pulltest.Stall)
			l.subscribe(nil)
			l.run(nil)
			time.Sleep(time.Second)
			if err := l.sub.Drain(within(t, time.Second)); err != nil {
				t.Errorf("Drain returned %v", err)
			}
			if err := l.sub.WaitReady(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("WaitReady returned %v", err)
			}
		},
		"Load hangs": func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil, WithCursorStore(new(hangingStore)))
			l.run(nil)
			time.Sleep(time.Second)
			if err := l.sub.Drain(within(t, time.Second)); err != nil {
				t.Errorf("Drain returned %v", err)
			}
		},
		"Save hangs": func(t *testing.T, l *life) {
			store := new(slowStore)
			l.open()
			l.subscribe(nil, WithCursorStore(store))
			l.run(nil)
			<-l.sub.Ready()
			store.delay.Store(int64(time.Hour))
			l.emit("one")
			time.Sleep(time.Second)
			wantUnhandled(t, l.sub.Drain(within(t, 2*time.Second)), context.DeadlineExceeded, 0)
			time.Sleep(lastSave)
			if !isOver(l.sub.Done()) || !errors.Is(l.sub.Err(), context.DeadlineExceeded) {
				t.Errorf("it has ended with %v", l.sub.Err())
			}
		},
		"the run fails": func(t *testing.T, l *life) {
			l.received(func(context.Context, Message) error { time.Sleep(time.Second); return errHandler })
			if err := l.sub.Drain(t.Context()); !errors.Is(err, errHandler) {
				t.Errorf("Drain returned %v", err)
			}
		},
		"the run is cancelled": func(t *testing.T, l *life) {
			l.open()
			l.emit("one")
			l.subscribe(nil, WithHistory())
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_ = l.sub.Run(ctx, HandlerFunc(func(ctx context.Context, _ Message) error { <-ctx.Done(); return ctx.Err() }))
			}()
			time.Sleep(time.Second)
			time.AfterFunc(time.Second, cancel)
			if err := l.sub.Drain(t.Context()); err != context.Canceled {
				t.Errorf("Drain returned %v", err)
			}
			<-l.sub.Done()
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

// TestEnding_Uninstalled: a run whose context has ended with a cause that is an
// end of its own returns that; any other cause stands beside the context's
// error.
func TestEnding_Uninstalled(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"while connected": time.Minute, "while handling": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil)
				ctx, end := context.WithCancelCause(t.Context())
				ended := make(chan error)
				go func() {
					ended <- l.sub.Run(ctx, HandlerFunc(func(ctx context.Context, _ Message) error { <-ctx.Done(); return ctx.Err() }))
				}()
				if err := l.sub.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				if delay == 0 {
					l.emit("in hand")
				}
				time.Sleep(time.Minute)
				end(b24pull.ErrUninstalled)
				if err := <-ended; err != b24pull.ErrUninstalled || l.sub.Err() != err {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
	for name, bound := range map[string]bool{"the token's context": true, "at the next config": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				w := newWorld(l)
				w.open()
				tokens, c := w.tokens()
				l.subscribe(c)
				ctx, end := tokens.Source("portal").Context(t.Context())
				defer end()
				if !bound {
					ctx = t.Context()
				}
				ended := make(chan error)
				go func() { ended <- l.sub.Run(ctx, NewMux()) }()
				if err := l.sub.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := tokens.Delete(t.Context(), "portal"); err != nil {
					t.Fatal(err)
				}
				if !bound {
					l.portal.ExpireConfig()
				}
				if err := <-ended; !errors.Is(err, b24pull.ErrUninstalled) || errors.Is(err, context.Canceled) {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
	// What ends another part of a program, as an errgroup tells it, is none of
	// the subscription's, though it would end the start of one.
	for name, cause := range map[string]error{
		"another cause":    errHandler,
		"of another start": &net.DNSError{Err: "no such host", Name: "db.example", IsNotFound: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil)
				ctx, end := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { end(cause) })
				for _, err := range l.sub.Messages(ctx) {
					if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
						t.Errorf("the loop ends with %v", err)
					}
				}
				if err := l.sub.Err(); !errors.Is(err, context.Canceled) {
					t.Errorf("Err is %v", err)
				}
			})
		})
	}
}

// TestEnding_Panic: who waits for a subscription is let go when it panics.
func TestEnding_Panic(t *testing.T) {
	inBubble(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		go func() {
			defer func() { _ = recover() }()
			_ = l.sub.Run(t.Context(), HandlerFunc(func(context.Context, Message) error { panic("boom") }))
		}()
		if err := l.sub.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.emit("one")
		<-l.sub.Done()
		if err := l.sub.Err(); err != errBrokenOff {
			t.Errorf("Err is %v", err)
		}
		if err := l.sub.Drain(t.Context()); err != errBrokenOff {
			t.Errorf("Drain returned %v", err)
		}
	})
}

// TestEnding_LeftLoop: a loop that was left is an end without an error.
func TestEnding_LeftLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, l *life) {
		l.open()
		l.emit("one")
		l.emit("two")
		l.subscribe(nil, WithHistory())
		for range l.sub.Messages(t.Context()) {
			time.Sleep(time.Second)
			break
		}
		if !isOver(l.sub.Done()) || l.sub.Err() != nil {
			t.Errorf("Err is %v", l.sub.Err())
		}
		wantUnhandled(t, l.sub.Drain(t.Context()), ErrClosed, 2)
	})
}
