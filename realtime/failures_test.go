package realtime

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestFailures_ErrorPolicy: stop, skip, or try again in place.
func TestFailures_ErrorPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		policy  func(*HandlerError, int) ErrorAction
		handled []string // each call of the handler
		err     error
		next    []string // after a restart
	}{
		{"none", nil, []string{"one", "bad"}, errHandler, []string{"bad", "three"}},
		{"stop", func(*HandlerError, int) ErrorAction { return StopRun() }, []string{"one", "bad"}, errHandler, []string{"bad", "three"}},
		{"skip", func(*HandlerError, int) ErrorAction { return SkipMessage() }, []string{"one", "bad", "three"}, nil, nil},
		{"retry", func(e *HandlerError, attempt int) ErrorAction {
			if e.Message.Command != "bad" || !errors.Is(e, errHandler) {
				t.Errorf("asked about %v", e)
			}
			if attempt == 3 {
				return SkipMessage()
			}
			return RetryAfter(time.Duration(attempt) * time.Second)
		}, []string{"one", "bad", "bad", "bad", "three"}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				store := new(MemoryStore)
				opts := []Option{WithCursorStore(store)}
				if tt.policy != nil {
					opts = append(opts, WithErrorPolicy(tt.policy))
				}
				l.subscribe(nil, opts...)
				l.run(func(_ context.Context, m Message) error {
					if m.Command == "bad" {
						return errHandler
					}
					return nil
				})
				<-l.sub.Ready()
				l.emit("one")
				l.emit("bad")
				l.emit("three")
				time.Sleep(time.Minute)
				l.want(tt.handled...)
				err := l.stop()
				var failed *HandlerError
				if !errors.Is(err, tt.err) || tt.err != nil && !errors.As(err, &failed) {
					t.Errorf("Run returned %v", err)
				}
				next := l.goOn(store, nil)
				time.Sleep(time.Minute)
				next.want(tt.next...)
			})
		})
	}
}

// TestFailures_HandlerPanics: the panic reaches whoever runs the subscription,
// all has stopped, and the message comes again.
func TestFailures_HandlerPanics(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]Option{nil, {WithParallel(4, nil)}} {
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open()
			store := new(MemoryStore)
			l.subscribe(nil, append(opts, WithCursorStore(store))...)
			go func() {
				<-l.sub.Ready()
				l.emit("one")
				l.emit("bad")
			}()
			p := l.recovered(func(_ context.Context, m Message) error {
				if m.Command == "bad" {
					time.Sleep(time.Second)
					panic("bad")
				}
				return nil
			})
			if wrapped, ok := p.(*HandlerPanic); ok != (opts != nil) {
				t.Errorf("recovered %T", p)
			} else if ok {
				p = wrapped.Value
			}
			if p != "bad" {
				t.Errorf("recovered %v", p)
			}
			if s := l.sub.State(); s != StateClosed {
				t.Errorf("state is %v", s)
			}
			next := l.goOn(store, nil)
			time.Sleep(time.Minute)
			next.want("bad")
		})
	}
}

// TestFailures_Undecodable: a message that cannot be decoded is reported once,
// and those around it arrive.
func TestFailures_Undecodable(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.emit("one")
		l.portal.Emit(pulltest.Message{Body: `{"module_id":`})
		l.emit("two")
		time.Sleep(10 * time.Minute)
		l.want("one", "two")
		if n := countEvents[Undecodable](l); n != 1 {
			t.Errorf("reported %d times", n)
		}
	})
}

// TestFailures_PassingFailures: a portal and a push server that answer a
// proxy's page are tried again.
func TestFailures_PassingFailures(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var down atomic.Bool
		down.Store(true)
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if down.Load() {
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(http.StatusBadGateway)
					_, _ = w.Write([]byte("<html>" + r.URL.String() + "</html>"))
					return
				}
				next.ServeHTTP(w, r)
			})
		}))
		l.subscribe(nil)
		l.run(nil)
		time.Sleep(3 * time.Minute)
		if s := l.sub.State(); s != StateWaiting {
			t.Errorf("state is %v", s)
		}
		down.Store(false)
		<-l.sub.Ready()
		down.Store(true)
		l.portal.Cut()
		l.emit("missed")
		time.Sleep(3 * time.Minute)
		down.Store(false)
		time.Sleep(2 * time.Minute)
		l.want("missed")
	})
}
