package b24pull

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// Class says what an error means for calling again.
type Class int

const (
	// Final: calling again gives the same.
	Final Class = iota
	// Expired: refused for the token's age. The call is repeated once with a new
	// token, see TokenRefresher.
	Expired
	// Throttled: refused for too many calls. Any call is repeated after a pause.
	Throttled
	// Paused: refused until a time that the answer tells. Any call is repeated
	// then.
	Paused
	// NotSent: the portal was not reached. Any call is repeated after a pause.
	NotSent
	// Unavailable: the portal failed, or its answer did not come; the call may have
	// had its effect. Reads are repeated after a pause, others only with
	// Retry.Effects.
	Unavailable
)

var classNames = [...]string{"final", "expired", "throttled", "paused", "not sent", "unavailable"}

// String is the class in words, like "not sent".
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return classNames[c]
}

// ClassOf returns the class of an error of this package: by its code where that is
// known, else by the HTTP status: 429 is Throttled, 500 and above are Unavailable. All
// else is Final, a *TokenError and the end of the caller's context too.
func ClassOf(err error) Class {
	var token *TokenError
	var refused *APIError
	var broken *networkError
	switch {
	case errors.As(err, &token):
		return Final
	case errors.As(err, &refused):
		if sentinel := codes[strings.ToLower(refused.Code)]; sentinel != nil {
			return sentinel.class
		}
		switch {
		case refused.Status >= http.StatusInternalServerError:
			return Unavailable
		case refused.Status == http.StatusTooManyRequests:
			return Throttled
		}
	case errors.As(err, &broken):
		return broken.class()
	}
	return Final
}

// A networkError says that no answer came.
type networkError struct {
	text  string
	cause error
}

func (e *networkError) Error() string { return e.text }
func (e *networkError) Unwrap() error { return e.cause }

func (e *networkError) class() Class {
	var op *net.OpError
	switch {
	case errors.Is(e.cause, context.Canceled):
		return Final
	case errors.As(e.cause, &op) && op.Op == "dial":
		return NotSent
	}
	return Unavailable
}

// Retry says how calls are repeated. Zero fields have the values named.
type Retry struct {
	// Attempts is how often a call is tried at most; 4. 1 is without
	// repeating.
	Attempts int
	// Min is the first pause, 1 s. Each is twice the one before, up to Max, 30 s; up
	// to a fifth is added by chance.
	Min, Max time.Duration
	// Effects has calls repeated that may have had their effect: after a broken
	// connection an event may be sent twice.
	Effects bool
}

func (r Retry) withDefaults() (Retry, error) {
	if r.Attempts < 0 || r.Min < 0 || r.Max < 0 {
		return r, fmt.Errorf("b24pull: WithRetry: a negative value: %+v", r)
	}
	if r.Attempts == 0 {
		r.Attempts = 4
	}
	if r.Min == 0 {
		r.Min = time.Second
	}
	if r.Max == 0 {
		r.Max = max(30*time.Second, r.Min)
	}
	return r, nil
}

// longestPause is more than a portal pauses a method: ten minutes.
const longestPause = 15 * time.Minute

// pause tells whether to repeat a call after err, and how long to wait. attempt
// counts from 1.
func (r Retry) pause(attempt int, read bool, err error) (time.Duration, bool) {
	if attempt >= r.Attempts {
		return 0, false
	}
	switch ClassOf(err) {
	case Paused:
		return untilReset(err)
	case Throttled, NotSent:
	case Unavailable:
		if !read && !r.Effects {
			return 0, false
		}
	default:
		return 0, false
	}
	d := r.Min
	for range attempt - 1 {
		if d >= r.Max/2 {
			d = r.Max
			break
		}
		d *= 2
	}
	d = min(d, r.Max)
	return d + rand.N(d/5+1), true
}

// untilReset is how long a method is paused by the portal's clock.
func untilReset(err error) (time.Duration, bool) {
	var refused *APIError
	if !errors.As(err, &refused) || refused.Time.OperatingResetAt.IsZero() {
		return 0, false
	}
	now := refused.Time.Finish
	if now.IsZero() {
		now = refused.Time.DateFinish
	}
	if now.IsZero() {
		now = time.Now()
	}
	d := max(refused.Time.OperatingResetAt.Sub(now), 0) + time.Second // the portal tells whole seconds
	return d, d <= longestPause
}

// sleep waits, unless the context would end before.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
