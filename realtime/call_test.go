package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// TestCall_Answers: what the server answers to a call, and what it refuses.
func TestCall_Answers(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5)})
		if got, err := l.sub.Call(t.Context(), "ping", nil); err != nil || string(got) != `"pong"` {
			t.Errorf("%s, %v", got, err)
		}
		var refused *RPCError
		if got, err := l.sub.Call(t.Context(), "no.such.method", []int{1}); got != nil || !errors.As(err, &refused) || refused.Code != -32601 || refused.Message != "Method not found" {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// TestCall_Older: older servers take no calls, and neither do polls.
func TestCall_Older(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		portal []pulltest.Option
		opts   []Option
	}{
		"version 3":           {[]pulltest.Option{pulltest.WithVersion(3)}, nil},
		"version 4":           {[]pulltest.Option{pulltest.WithVersion(4)}, nil},
		"version 5, by polls": {[]pulltest.Option{pulltest.WithVersion(5)}, []Option{WithTransport(TransportLongPolling)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(tt.portal...)
				l.subscribe(nil, tt.opts...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				before := make(chan error)
				go func() {
					_, err := l.sub.Call(ctx, "ping", nil)
					before <- err
				}()
				l.run(nil)
				<-l.sub.Ready()
				_, err := l.sub.Call(ctx, "ping", nil)
				var unanswered *UnansweredError
				for _, err := range []error{<-before, err} {
					if !errors.Is(err, ErrUnsupportedServer) || errors.As(err, &unanswered) {
						t.Errorf("%v", err)
					}
				}
				if ctx.Err() != nil {
					t.Error("it was waited for a connection that takes calls")
				}
			})
		})
	}
}

// TestCall_Closed: after Close and after the end of a run, also to calls that
// wait; and before a run that never is.
func TestCall_Closed(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithVersion(5))
		l.subscribe(nil)
		waiting := make(chan error)
		go func() {
			_, err := l.sub.Call(t.Context(), "ping", nil)
			waiting <- err
		}()
		time.Sleep(time.Hour)
		l.sub.Close()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		if _, err := l.sub.Call(t.Context(), "ping", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5)})
		l.sub.Drain(t.Context())
		<-l.done
		if _, err := l.sub.Call(t.Context(), "ping", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// TestCall_NeverBegun: a run that ends before it connects.
func TestCall_NeverBegun(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithVersion(5))
		store := new(countingStore)
		store.broken.Store(true)
		l.subscribe(nil, WithCursorStore(store))
		l.run(nil)
		<-l.done
		if _, err := l.sub.Call(t.Context(), "ping", nil); !errors.Is(err, ErrClosed) || !errors.Is(l.err, errBroken) {
			t.Errorf("%v; Run returned %v", err, l.err)
		}
	})
}

// TestCall_ContextEnds: a call that waits for a connection ends with its
// context, unsent.
func TestCall_ContextEnds(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithVersion(5))
		l.subscribe(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := l.sub.Call(ctx, "ping", nil)
		var unanswered *UnansweredError
		if !errors.As(err, &unanswered) || unanswered.Sent || unanswered.Class() != b24pull.ClassNotSent || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "the subscription is not run yet") {
			t.Errorf("%v", err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		_, err = l.sub.Call(ended, "ping", nil)
		if !errors.As(err, &unanswered) || unanswered.Sent || unanswered.Class() != b24pull.ClassFinal {
			t.Errorf("%v", err)
		}
	})
}

// TestCall_Secrets: a server that repeats in its error what it was asked, and
// by whom, tells no secret.
func TestCall_Secrets(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var secret atomic.Value
		var server callServer
		server.answer = func(ws *callSocket, id uint64, _ json.RawMessage) {
			ws.send(fmt.Sprintf(`{"id":%d,"error":{"code":-32602,"message":"wrong %s\u001b[2J"}}`, id, secret.Load()))
		}
		l.openCalls(&server)
		cfg, err := client(t, l.portal).GetApplicationConfig(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		l.subscribe(FromConfig(cfg), WithHTTPClient(l.portal.HTTPClient()))
		l.run(nil)
		<-l.sub.Ready()
		for _, s := range []b24pull.Secret{cfg.JWT, cfg.Channels.Private.ID, cfg.Channels.Private.PublicID} {
			secret.Store(string(s))
			_, err := l.sub.Call(t.Context(), "m", nil)
			var refused *RPCError
			if !errors.As(err, &refused) || refused.Code != -32602 || strings.Contains(fmt.Sprintf("%v %+v %q", err, err, refused.Message), string(s)) || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "wrong") {
				t.Error("an error tells a secret, or nothing")
			}
		}
	})
}

// TestCall_UnderCuts: over real sockets, from many goroutines, while
// connections are cut: each call is answered, or says that it is not; messages
// come once and in order.
func TestCall_UnderCuts(t *testing.T) {
	t.Parallel()
	portal := pulltest.NewPortal(pulltest.WithVersion(5), pulltest.WithHistory())
	t.Cleanup(portal.Close)
	t.Cleanup(portal.HTTPClient().CloseIdleConnections)
	c := begin(t, portal, TransportWebSocket)
	c.mayBeLate = true
	var answered, lost atomic.Int64
	var calls sync.WaitGroup
	stop := make(chan struct{})
	for range resttest.Rounds(20) {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := c.sub.Call(t.Context(), "ping", nil)
				var unanswered *UnansweredError
				switch {
				case err == nil && string(got) == `"pong"`:
					answered.Add(1)
				case errors.As(err, &unanswered) && unanswered.Sent:
					lost.Add(1)
				default:
					t.Errorf("%s, %v", got, err)
					return
				}
			}
		})
	}
	for range 10 {
		c.emit(20)
		time.Sleep(100 * time.Millisecond)
		portal.CutWebSockets()
	}
	c.arrived("in the end")
	close(stop)
	calls.Wait()
	if answered.Load() == 0 {
		t.Errorf("%d calls were answered, %d not", answered.Load(), lost.Load())
	}
	c.sub.Close()
}
