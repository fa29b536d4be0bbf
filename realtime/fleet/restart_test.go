package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestRestart_Default: what is tried again, and after what time.
func TestRestart_Default(t *testing.T) {
	for _, err := range []error{nil, realtime.ErrClosed, b24pull.ErrUninstalled, b24pull.ErrNoToken, b24pull.ErrInvalidGrant, b24pull.ErrNoAuth, b24pull.ErrInvalidCredentials, realtime.ErrConfigExpired} {
		if got := DefaultRestart(err, 1); got != Wait() {
			t.Errorf("%v: %+v", err, got)
		}
	}
	for _, err := range []error{b24pull.ErrPaymentRequired, b24pull.ErrServerNotConfigured, errors.New("any"), &realtime.HandlerError{Err: b24pull.ErrNoAuth}, &realtime.HandlerError{Err: realtime.ErrClosed}, &PanicError{Value: 1}, &PanicError{Value: realtime.ErrClosed}, &PanicError{Value: b24pull.ErrUninstalled}, fmt.Errorf("the store: %w", realtime.ErrClosed)} {
		for failures, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 7: 320 * time.Second, 8: 10 * time.Minute, 1 << 30: 10 * time.Minute} {
			got := DefaultRestart(err, failures)
			if !got.again || got.delay < want || got.delay > want+want/5 {
				t.Errorf("%v, the %dth time: %+v", err, failures, got)
			}
		}
	}
}

// TestRestart_Closed: a subscription that somebody has closed has ended with
// ErrClosed, and is not begun again of itself.
func TestRestart_Closed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		asked := make(chan error, 1)
		f := w.fleet(WithRestart(func(_ string, err error, failures int) Restart {
			asked <- err
			return DefaultRestart(err, failures)
		}))
		w.add(f, p)
		w.ready(p, 1)
		f.Subscription(p.MemberID()).Close()
		if err := <-asked; err != realtime.ErrClosed {
			t.Errorf("the policy is asked with %v", err)
		}
		time.Sleep(time.Hour)
		if s, _ := f.Status(p.MemberID()); s.State != StateWaiting || s.Err != realtime.ErrClosed || b24pull.EndingOf(s.Err) == b24pull.EndsRun {
			t.Errorf("%+v", s)
		}
		w.must(f.Shutdown(t.Context()))
	})
}
