package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func TestSubscription_RunsOnce(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		if err := l.sub.Run(t.Context(), HandlerFunc(nil)); !errors.Is(err, ErrAlreadyRun) {
			t.Errorf("a second Run returned %v", err)
		}
		for _, err := range l.sub.Messages(t.Context()) {
			if !errors.Is(err, ErrAlreadyRun) {
				t.Errorf("Messages after Run yielded %v", err)
			}
		}
	})
}

func TestSubscription_RunNeedsHandler(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		if err := l.sub.Run(t.Context(), nil); err == nil {
			t.Error("no error for a nil handler")
		}
	})
}

// TestSubscription_Close: from a handler, twice, before Run; it never waits,
// and Run returns nil.
func TestSubscription_Close(t *testing.T) {
	t.Parallel()
	t.Run("from a handler", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.run(func(ctx context.Context, m Message) error {
				l.sub.Close()
				l.sub.Close()
				if l.sub.State() == StateIdle {
					t.Error("idle within a handler")
				}
				return ctx.Err() // a handler that passes on that it was told to stop
			})
			<-l.sub.Ready()
			l.emit("one")
			l.emit("two")
			<-l.done
			l.want("one")
			if l.err != nil || l.sub.State() != StateClosed {
				t.Errorf("Run returned %v, state %v", l.err, l.sub.State())
			}
		})
	})
	t.Run("before Run", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.sub.Close()
			if err := l.sub.Run(t.Context(), HandlerFunc(nil)); err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
	})
	t.Run("ends Messages silently", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			go func() {
				<-l.sub.Ready()
				l.sub.Close()
			}()
			for m, err := range l.sub.Messages(t.Context()) {
				t.Errorf("yielded %v, %v", m, err)
			}
		})
	})
}

// TestSubscription_CancelStopsWithinASecond: also while the connection is
// stuck, and while a read or a delay is under way.
func TestSubscription_CancelStopsWithinASecond(t *testing.T) {
	t.Parallel()
	situations := map[string]func(l *life){
		"live":       func(*life) {},
		"stuck":      func(l *life) { l.network.SetLatency(time.Hour); l.portal.Ping() },
		"waiting":    func(l *life) { l.portal.Close() },
		"connecting": func(l *life) { l.network.SetLatency(time.Hour); l.portal.Cut(); time.Sleep(time.Second) },
	}
	for name, happens := range situations {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil })) }()
				<-l.sub.Ready()
				happens(l)
				time.Sleep(time.Millisecond)
				begin := time.Now()
				cancel()
				if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Run returned %v", err)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("stopped after %v", took)
				}
			})
		})
	}
}

// TestSubscription_CancelDuringUpgrade: a server that takes the connection and
// does not answer the upgrade holds nobody, with a dialer of the user's that
// has no time limit either.
func TestSubscription_CancelDuringUpgrade(t *testing.T) {
	t.Parallel()
	for _, dialer := range []bool{false, true} {
		for _, ends := range []string{"cancelled", "in time"} {
			t.Run(fmt.Sprintf("%s, dialer %t", ends, dialer), func(t *testing.T) { cancelDuringUpgrade(t, ends, dialer) })
		}
	}
}

func cancelDuringUpgrade(t *testing.T, ends string, dialer bool) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					<-r.Context().Done()
					return
				}
				next.ServeHTTP(w, r)
			})
		}))
		var opts []Option
		if dialer {
			transport := l.portal.HTTPClient().Transport.(*http.Transport)
			opts = append(opts, WithDialer(&websocket.Dialer{NetDialContext: transport.DialContext, TLSClientConfig: transport.TLSClientConfig}))
		}
		l.subscribe(nil, opts...)
		l.run(nil)
		time.Sleep(time.Second)
		if ends == "cancelled" {
			begin := time.Now()
			l.sub.Close()
			<-l.done
			if took := time.Since(begin); took > time.Second {
				t.Errorf("stopped after %v", took)
			}
			return
		}
		time.Sleep(20 * time.Second)
		if waits := l.changes(StateWaiting); len(waits) == 0 || (!errors.Is(waits[0].Cause, os.ErrDeadlineExceeded) && !errors.Is(waits[0].Cause, context.DeadlineExceeded)) {
			t.Errorf("waits: %v", waits)
		}
	})
}

// TestSubscription_CancelIsYieldedOnce: a cancelled context is the one error of
// Messages.
func TestSubscription_CancelIsYieldedOnce(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-l.sub.Ready()
			cancel()
		}()
		var got []error
		for _, err := range l.sub.Messages(ctx) {
			got = append(got, err)
		}
		if len(got) != 1 || !errors.Is(got[0], context.Canceled) {
			t.Errorf("yielded %v", got)
		}
	})
}

// TestSubscription_EndTellsTheTrouble: a context that ends while nothing can be
// reached is told with the reason; a state change has a cause only if something
// went wrong.
func TestSubscription_EndTellsTheTrouble(t *testing.T) {
	t.Parallel()
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		l.portal.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Run returned %v", err)
		}
	})
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.sub.Close()
		<-l.done
		if end := l.changes(StateClosed); len(end) != 1 || end[0].Cause != nil {
			t.Errorf("ended with %+v", end)
		}
	})
}

// TestSubscription_HandlerError stops Run, and leaves the message to whoever
// goes on from the cursor before it.
func TestSubscription_HandlerError(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		failure := errors.New("database is down")
		l.run(func(_ context.Context, m Message) error {
			if m.Command == "bad" {
				return failure
			}
			return nil
		})
		<-l.sub.Ready()
		l.emit("good")
		l.emit("bad")
		l.emit("unseen")
		<-l.done
		var handler *HandlerError
		if !errors.As(l.err, &handler) || handler.Message.Command != "bad" || !errors.Is(l.err, failure) {
			t.Fatalf("Run returned %v", l.err)
		}
		l.want("good", "bad")

		again, err := Subscribe(client(t, l.portal), WithCursor(l.messages[0].Cursor()))
		if err != nil {
			t.Fatal(err)
		}
		var commands []string
		for m, err := range again.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if commands = append(commands, m.Command); len(commands) == 2 {
				break
			}
		}
		if fmt.Sprint(commands) != "[bad unseen]" {
			t.Errorf("went on with %v", commands)
		}
	})
}

// TestSubscription_PanicStopsEverything: a panic of the loop's body passes
// through, and no goroutine stays.
func TestSubscription_PanicStopsEverything(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		go func() {
			<-l.sub.Ready()
			l.emit("one")
		}()
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
			synctest.Wait()
			if n := l.portal.Stats().Connections; n != 0 {
				t.Errorf("%d connections left", n)
			}
		}()
		for range l.sub.Messages(t.Context()) {
			panic("boom")
		}
	})
}
