package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// TestRestart_Default: what is tried again, and after what time.
func TestRestart_Default(t *testing.T) {
	for _, err := range []error{realtime.ErrClosed, b24pull.ErrUninstalled, b24pull.ErrNoToken, b24pull.ErrInvalidGrant, b24pull.ErrNoAuth, b24pull.ErrInvalidCredentials, realtime.ErrConfigExpired} {
		if got := DefaultRestart(err, 1); got != Wait() {
			t.Errorf("%v: %+v", err, got)
		}
	}
	for _, err := range []error{b24pull.ErrPaymentRequired, b24pull.ErrServerNotConfigured, errors.New("any"), &realtime.HandlerError{Err: b24pull.ErrNoAuth}, &realtime.HandlerError{Err: realtime.ErrClosed}, &PanicError{Value: 1}} {
		for failures, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 7: 320 * time.Second, 8: 10 * time.Minute, 1 << 30: 10 * time.Minute} {
			got := DefaultRestart(err, failures)
			if !got.again || got.delay < want || got.delay > want+want/5 {
				t.Errorf("%v, the %dth time: %+v", err, failures, got)
			}
		}
	}
}
