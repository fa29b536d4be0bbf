package fleet

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

const (
	firstDelay = 5 * time.Second
	lastDelay  = 10 * time.Minute
	// lasted is how long a run takes that begins the count of failures anew.
	lasted = 10 * time.Minute
)

// DefaultRestart waits where trying again cannot help, which is where
// [b24pull.EndingOf] says that an error ends a run: the token was revoked or
// deleted, the portal is gone. [realtime.ErrConfigExpired], of a config that
// was given by itself, is such an error, and so is [realtime.ErrClosed], of a
// subscription that you have closed or drained ([Fleet.Subscription]). Anything
// else is tried again after 5 seconds, and twice as long each time up to 10
// minutes, plus up to 20 % so that portals do not come back together: an error
// or a panic of a handler, which gets its message again, a store that fails, a
// portal that has not paid, or whose administrator has to tick a scope.
func DefaultRestart(err error, failures int) Restart {
	var failed *realtime.HandlerError
	switch {
	case err == nil || err == realtime.ErrClosed:
		return Wait()
	case errors.As(err, &failed) || isPanic(err): // in which another portal's error may be
	case errors.Is(err, realtime.ErrConfigExpired) || b24pull.EndingOf(err) == b24pull.EndsRun:
		return Wait()
	}
	delay := firstDelay
	for n := 1; n < failures && delay < lastDelay; n++ {
		delay *= 2
	}
	delay = min(delay, lastDelay)
	return After(delay + rand.N(delay/5))
}
