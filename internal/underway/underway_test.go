package underway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		Waits(t.Context(), "nobody sees it")
		Fails(t.Context(), errors.New("nobody sees it"), time.Second)

		broken := errors.New("broken")
		told := 0
		c := &Call{Failed: func(err error, again time.Duration) {
			if told++; err != broken || again != time.Minute {
				t.Errorf("told of %v, again in %v", err, again)
			}
		}}
		ctx, cancel := context.WithCancel(With(t.Context(), c))
		defer cancel()
		see := func(from string, waited time.Duration, err error) {
			t.Helper()
			if f, w := c.Waiting(); f != from || w != waited || c.Err() != err {
				t.Errorf("waits for %q for %v, error %v; want %q, %v, %v", f, w, c.Err(), from, waited, err)
			}
		}
		see("", 0, nil)
		Waits(ctx, "a host")
		time.Sleep(3 * time.Second)
		see("a host", 3*time.Second, nil)
		Fails(ctx, broken, time.Minute)
		see("", 0, broken)
		Waits(ctx, "a host")
		see("a host", 0, broken)
		c.End()
		see("", 0, nil)
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}
