package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestRetryPolicy_Delays: they double from the first to the most, and then
// comes what is said.
func TestRetryPolicy_Delays(t *testing.T) {
	t.Parallel()
	failed := &HandlerError{Err: errHandler}
	poison := &HandlerError{Err: fmt.Errorf("wrapped: %w", &ParamsError{Err: errHandler})}
	for _, tt := range []struct {
		name    string
		policy  func(*HandlerError, int) ErrorAction
		err     *HandlerError
		actions []string // for attempts 1, 2, …
	}{
		{"doubling", RetryPolicy(5, time.Second, time.Minute, SkipMessage()), failed, []string{"retry after 1s", "retry after 2s", "retry after 4s", "retry after 8s", "skip", "skip"}},
		{"up to the most", RetryPolicy(9, time.Second, 3*time.Second, StopRun()), failed, []string{"retry after 1s", "retry after 2s", "retry after 3s", "retry after 3s"}},
		{"once", RetryPolicy(1, 0, 0, StopRun()), failed, []string{"stop"}},
		{"at once", RetryPolicy(3, 0, time.Minute, SkipMessage()), failed, []string{"retry after 0s", "retry after 0s", "skip"}},
		{"then for ever", RetryPolicy(2, time.Second, time.Second, RetryAfter(time.Hour)), failed, []string{"retry after 1s", "retry after 1h0m0s", "retry after 1h0m0s"}},
		{"poison", RetryPolicy(5, time.Second, time.Minute, SkipMessage()), poison, []string{"skip"}},
	} {
		for i, want := range tt.actions {
			if got := tt.policy(tt.err, i+1).String(); got != want {
				t.Errorf("%s: attempt %d: %s, want %s", tt.name, i+1, got, want)
			}
		}
	}
	const most = 1<<63 - 1
	endless := RetryPolicy(1000, 1, most, StopRun())
	for attempt := 1; attempt < 1000; attempt++ { // no overflow
		if a := endless(failed, attempt); a.delay <= 0 || attempt > 64 && a.delay != most {
			t.Fatalf("attempt %d: %v", attempt, a)
		}
	}
	for name, make := range map[string]func(){
		"no attempts": func() { RetryPolicy(0, 1, 1, StopRun()) },
		"negative":    func() { RetryPolicy(1, -1, 1, StopRun()) },
		"backwards":   func() { RetryPolicy(1, time.Minute, time.Second, StopRun()) },
	} {
		if text := panicOf(make); !strings.HasPrefix(text, "realtime: RetryPolicy: ") {
			t.Errorf("%s: panic %q", name, text)
		}
	}
}

// panicOf is what f panics with.
func panicOf(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

// TestPoison_Default: params that do not decode are no crash loop: the message
// is skipped, and told to the log, the observer, the counters and the dead
// letters. A policy decides otherwise, and any other error stops the run.
func TestPoison_Default(t *testing.T) {
	type order struct{ ID int }
	for _, tt := range []struct {
		name    string
		opts    []Option
		handled []int
		err     bool
		skipped int
	}{
		{"by default", nil, []int{1, 3}, false, 1},
		{"parallel", []Option{WithParallel(4, nil)}, []int{1, 3}, false, 1},
		{"policy", []Option{WithErrorPolicy(func(*HandlerError, int) ErrorAction { return StopRun() })}, []int{1}, true, 0},
		{"RetryPolicy", []Option{WithErrorPolicy(RetryPolicy(5, time.Second, time.Minute, SkipMessage()))}, []int{1, 3}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				var told lines
				var letters []string
				store := new(MemoryStore)
				l.open()
				l.emit("before")
				l.subscribe(nil, append(tt.opts, WithCursorStore(store), WithLogger(slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn}))),
					WithDeadLetters(func(_ context.Context, e *HandlerError) error {
						letters = append(letters, string(e.Message.Params))
						return nil
					}))...)
				var handled []int
				mux := NewMux()
				On(mux, "application", "order", func(_ context.Context, o order, m Message) error {
					handled = append(handled, o.ID)
					return nil
				})
				l.run(mux.Handle)
				<-l.sub.Ready()
				for _, params := range []any{order{1}, map[string]any{"ID": "two"}, order{3}} {
					l.portal.Emit(pulltest.Message{Command: "order", Params: params})
				}
				time.Sleep(time.Minute)
				err := l.stop()
				var params *ParamsError
				if errors.As(err, &params) != tt.err {
					t.Errorf("Run returned %v", err)
				}
				if !slices.Equal(handled, tt.handled) {
					t.Errorf("handled %v, want %v", handled, tt.handled)
				}
				if s := l.sub.Stats(); s.Skipped != uint64(tt.skipped) || s.Failed != 1 || s.Retried != 0 || len(letters) != tt.skipped {
					t.Errorf("counted %+v, letters %q", s, letters)
				}
				failures := lifeEvents[HandlerFailed](l)
				if len(failures) != 1 || !errors.As(failures[0].Err, &params) || params.Type != "realtime.order" || params.Command != "order" || params.Module != "application" {
					t.Fatalf("told %+v", failures)
				}
				if text := strings.Join(told.told, "\n"); !strings.Contains(text, "cannot unmarshal string") || !strings.Contains(text, "command=order") {
					t.Errorf("logged %s", text)
				}
				if tt.err {
					return
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				next.want()
			})
		})
	}
}

// TestPoison_DeadLetters: what is skipped is handed over first; where that
// fails, the run ends and the message comes again.
func TestPoison_DeadLetters(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var full atomic.Bool
		var letters []string
		store := new(MemoryStore)
		l.open()
		full.Store(true)
		keep := WithDeadLetters(func(_ context.Context, e *HandlerError) error {
			if !errors.Is(e, errHandler) {
				t.Errorf("a letter of %v", e)
			}
			if full.Load() {
				return errBroken
			}
			letters = append(letters, e.Message.Command)
			return nil
		})
		skip := WithErrorPolicy(RetryPolicy(2, time.Second, time.Second, SkipMessage()))
		fail := func(context.Context, Message) error { return errHandler }
		l.subscribe(nil, keep, skip, WithCursorStore(store))
		l.run(fail)
		<-l.sub.Ready()
		l.emit("one")
		l.emit("two")
		time.Sleep(time.Minute)
		err := l.stop()
		var failed *HandlerError
		if !errors.As(err, &failed) || failed.Message.Command != "one" || !errors.Is(err, errBroken) || !errors.Is(err, errHandler) || !strings.Contains(err.Error(), "dead letters") {
			t.Errorf("Run returned %v", err)
		}
		if s := l.sub.Stats(); s.Skipped != 0 || s.Handled != 0 || s.Failed != 2 || s.Retried != 1 {
			t.Errorf("counted %+v", s)
		}
		full.Store(false)
		next := l.goOn(store, fail, keep, skip)
		time.Sleep(time.Minute)
		if !slices.Equal(letters, []string{"one", "two"}) {
			t.Errorf("letters %q", letters)
		}
		if s := next.sub.Stats(); s.Skipped != 2 || s.Handled != 2 {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestPoison_DeadLettersToldToStop: to stop when told to is no failure.
func TestPoison_DeadLettersToldToStop(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil, WithErrorPolicy(func(*HandlerError, int) ErrorAction { return SkipMessage() }),
			WithDeadLetters(func(ctx context.Context, _ *HandlerError) error { <-ctx.Done(); return ctx.Err() }))
		l.run(func(context.Context, Message) error { return errHandler })
		<-l.sub.Ready()
		l.emit("one")
		time.Sleep(time.Minute)
		if err := l.stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if s := l.sub.Stats(); s.Handled != 0 || s.Skipped != 0 || s.Failed != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestHandling_Counted: each message and each failure is counted once, however
// messages are handled, and what the events say adds up to it.
func TestHandling_Counted(t *testing.T) {
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil, WithParallel(workers, nil), WithErrorPolicy(RetryPolicy(3, time.Millisecond, time.Second, SkipMessage())))
				calls := make(map[string]int)
				l.run(func(_ context.Context, m Message) error {
					l.mu.Lock()
					defer l.mu.Unlock()
					calls[m.Command]++
					switch {
					case strings.HasPrefix(m.Command, "bad"), strings.HasPrefix(m.Command, "late") && calls[m.Command] == 1:
						return errHandler
					case strings.HasPrefix(m.Command, "committed"):
						l.mu.Unlock()
						err := l.sub.Commit(t.Context(), m)
						l.mu.Lock()
						return err
					}
					return nil
				})
				<-l.sub.Ready()
				for i := range 20 {
					for _, kind := range []string{"good", "bad", "late", "committed"} {
						l.emit(fmt.Sprint(kind, i))
					}
					l.portal.Emit(pulltest.Message{Command: fmt.Sprint("good", i, "transient"), Expiry: -1})
					time.Sleep(time.Second)
				}
				time.Sleep(time.Minute)
				s := l.sub.Stats()
				if s.Messages != 100 || s.Handled != 100 || s.Failed != 20*3+20 || s.Retried != 20*2+20 || s.Skipped != 20 || s.CursorLag != 0 || s.QueuedMessages != 0 || s.QueuedBytes != 0 {
					t.Errorf("counted %+v", s)
				}
				l.sub.Close()
				<-l.done
				told := make(map[FailureAction]int)
				events := lifeEvents[HandlerFailed](l)
				for _, e := range events {
					told[e.Action] += e.Count
				}
				if want := map[FailureAction]int{ActionRetry: 60, ActionSkip: 20}; !reflect.DeepEqual(told, want) || len(events) > 8 {
					t.Errorf("%d events tell of %v, want %v", len(events), told, want)
				}
			})
		})
	}
}

// TestHandling_CountedInLoops: the same in a loop over Messages, where a message
// that is committed counts also if the loop is left.
func TestHandling_CountedInLoops(t *testing.T) {
	for _, tt := range []struct {
		name   string
		commit bool
		want   uint64
	}{{"left", false, 4}, {"committed and left", true, 5}} {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.emit("before")
				l.subscribe(nil)
				go func() {
					defer close(l.done)
					n := 0
					for m, err := range l.sub.Messages(t.Context()) {
						if err != nil {
							t.Error(err)
						}
						if tt.commit {
							if err := l.sub.Commit(t.Context(), m); err != nil {
								t.Error(err)
							}
						}
						if n++; n == 5 {
							break
						}
					}
				}()
				<-l.sub.Ready()
				for i := range 5 {
					l.emit(fmt.Sprint(i))
				}
				<-l.done
				if s := l.sub.Stats(); s.Handled != tt.want {
					t.Errorf("counted %+v", s)
				}
			})
		})
	}
}

// TestHandling_CursorLag is for how long the oldest message that is not handled
// has waited, whatever has been handled after it.
func TestHandling_CursorLag(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.emit("before")
				l.subscribe(nil, WithParallel(workers, nil))
				free := make(chan struct{})
				l.run(func(_ context.Context, m Message) error {
					if m.Command == "stuck" {
						<-free
					}
					return nil
				})
				<-l.sub.Ready()
				l.emit("good")
				time.Sleep(time.Minute)
				lag := func(what string, least, most time.Duration, queued int) {
					t.Helper()
					synctest.Wait()
					s := l.sub.Stats()
					if s.CursorLag < least || s.CursorLag > most || s.QueuedMessages != queued || (s.QueuedBytes > 0) != (queued > 0) {
						t.Errorf("%s: lag %v, want %v to %v; %d messages of %d bytes are queued, want %d", what, s.CursorLag, least, most, s.QueuedMessages, s.QueuedBytes, queued)
					}
				}
				lag("all is handled", 0, 0, 0)
				l.emit("stuck")
				time.Sleep(5 * time.Second)
				for i := range 10 {
					l.emit(fmt.Sprint("good", i))
					time.Sleep(time.Second)
				}
				queued := 10
				if workers > 1 {
					queued = 0
				}
				lag("one is stuck", 14*time.Second, 15*time.Second, queued)
				if handled := l.sub.Stats().Handled; handled != uint64(11-queued) {
					t.Errorf("%d are handled", handled)
				}
				close(free)
				time.Sleep(time.Second)
				lag("all is handled again", 0, 0, 0)
			})
		})
	}
}

// TestHandling_LagMoves: as messages are handled one after the other the lag is
// that of the next one, to a tenth of a second.
func TestHandling_LagMoves(t *testing.T) {
	c := new(counters)
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		for range 3000 {
			c.Delivered(deliveryMessage(10))
			at = append(at, time.Now())
			time.Sleep(7 * time.Millisecond)
		}
		for n := range 3000 {
			exact := time.Since(at[n])
			if lag := c.snapshot().CursorLag; lag < exact || lag > exact+markEvery {
				t.Fatalf("message %d: lag %v, it waits for %v", n, lag, exact)
			}
			c.handled(true, uint64(n+1))
			c.handled(true, 0) // a commit
		}
		if lag := c.snapshot().CursorLag; lag != 0 || c.marks.Len() != 0 {
			t.Errorf("lag %v, %d marks are left", lag, c.marks.Len())
		}
	})
}
