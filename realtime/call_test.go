package realtime

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
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
		if !errors.As(err, &unanswered) || unanswered.Sent || unanswered.Class() != b24pull.ClassNotSent || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
