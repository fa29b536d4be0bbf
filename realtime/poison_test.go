package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		{"at once", RetryPolicy(3, 0, time.Minute, SkipMessage()), failed, []string{"retry after 10ms", "retry after 10ms", "skip"}},
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
	t.Parallel()
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
		synctest.Wait()
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
