package realtime

import (
	"context"
	"errors"
	"fmt"
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

// TestEnding_DrainWaits: as http.Server.Shutdown, with the usual idiom: what was
// received is handled when Drain returns, the cursor is saved, and nothing runs.
func TestEnding_DrainWaits(t *testing.T) {
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

// TestEnding_Situations: Drain is defined in all of them.
func TestEnding_Situations(t *testing.T) {
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

// hangingStore never loads.
type hangingStore struct{ MemoryStore }

func (*hangingStore) Load(ctx context.Context) (Cursor, error) {
	<-ctx.Done()
	return Cursor{}, ctx.Err()
}

// TestEnding_WaitReady: it waits for whatever comes first, also before Run, and
// says what was wrong.
func TestEnding_WaitReady(t *testing.T) {
	t.Run("before Run", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			time.AfterFunc(time.Hour, func() { l.run(nil) })
			if err := l.sub.WaitReady(t.Context()); err != nil || !isOver(l.sub.Ready()) {
				t.Errorf("WaitReady returned %v", err)
			}
			l.sub.Close()
			<-l.sub.Done()
			if err := l.sub.WaitReady(t.Context()); err != nil {
				t.Errorf("it has been ready, and %v", err)
			}
		})
	})
	t.Run("never run", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			err := l.sub.WaitReady(within(t, time.Minute))
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "realtime: not ready: context deadline exceeded; the subscription is not run yet" {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	t.Run("no handler", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			ran := make(chan error, 1)
			time.AfterFunc(time.Second, func() { ran <- l.sub.Run(t.Context(), nil) })
			err := l.sub.WaitReady(t.Context())
			if err == nil || err != <-ran || err != l.sub.Err() || !isOver(l.sub.Done()) {
				t.Errorf("WaitReady returned %v", err)
			}
			if err := l.sub.Run(t.Context(), nil); err != ErrAlreadyRun {
				t.Errorf("once more: %v", err)
			}
		})
	})
	t.Run("closed before", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			time.AfterFunc(time.Second, l.sub.Close)
			if err := l.sub.WaitReady(t.Context()); err != ErrClosed || l.sub.Err() != nil {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	t.Run("the run fails", func(t *testing.T) {
		inBubble(t, func(t *testing.T, l *life) {
			l.open()
			l.portal.Misbehave(pulltest.REST, pulltest.RESTError(403, "WRONG_AUTH_TYPE"))
			l.subscribe(nil)
			l.run(nil)
			err := l.sub.WaitReady(t.Context())
			if !errors.Is(err, b24pull.ErrWrongAuthType) || err != l.sub.Err() {
				t.Errorf("WaitReady returned %v", err)
			}
		})
	})
	troubles := map[string]func(l *life){
		"REST fails":            func(l *life) { l.portal.Misbehave(pulltest.REST, pulltest.BadGateway) },
		"no websocket, no poll": func(l *life) { l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(404)) },
		"the history cannot be read": func(l *life) {
			l.portal.Misbehave(pulltest.Polls, pulltest.WebPage)
		},
	}
	troubles["the first replay fails"] = func(l *life) { l.portal.Misbehave(pulltest.Polls, pulltest.Refuse(502)) }
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *life) {
				limit := time.Minute
				if name == "the first replay fails" {
					limit = 50 * time.Millisecond // it is live, and not degraded yet
				}
				l.open(pulltest.WithVersion(2))
				l.emit("kept")
				trouble(l)
				l.subscribe(nil)
				l.run(nil)
				err := l.sub.WaitReady(within(t, limit))
				var status *StatusError
				var refused *b24pull.APIError
				var answer *AnswerError
				if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &status) && !errors.As(err, &refused) && !errors.As(err, &answer) {
					t.Errorf("WaitReady returned %v", err)
				}
			})
		})
	}
}

// TestEnding_Uninstalled: a run whose context has ended with a cause that is an
// end of its own returns that; any other cause stands beside the context's
// error.
func TestEnding_Uninstalled(t *testing.T) {
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

// TestEnding_Goroutine: goroutines are told apart.
func TestEnding_Goroutine(t *testing.T) {
	own, other := goroutine(), make(chan uint64)
	go func() { other <- goroutine() }()
	if o := <-other; own == 0 || o == 0 || o == own || own != goroutine() {
		t.Errorf("%d, %d", own, o)
	}
}
