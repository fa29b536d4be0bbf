package b24pull

import (
	"context"
	"fmt"
	"time"

	"github.com/b24pull/b24pull/internal/sleep"
	"golang.org/x/time/rate"
)

// The cloud's limit, a portal and source address each: a bucket of 50 calls
// that drains 2 a second. On the Enterprise plan it is 250 and 5.
const (
	DefaultLimitBurst = 50
	DefaultLimitRate  = 2.0
)

// Limiter is the portal's leaky bucket on our side: calls wait their turn
// before they are sent. Give one value to all clients that share a limit, which
// are those that call one portal from one address. It is safe for concurrent
// use.
type Limiter struct{ bucket *rate.Limiter }

// NewLimiter returns a Limiter that lets burst calls pass at once and perSecond
// more every second. It panics unless both are positive.
func NewLimiter(burst int, perSecond float64) *Limiter {
	if burst <= 0 || !(perSecond > 0) {
		panic(fmt.Sprintf("b24pull: NewLimiter(%d, %v): want positive values", burst, perSecond))
	}
	return &Limiter{rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// wait waits for the turn of a call. If the context would end before, it does
// not wait at all.
func (l *Limiter) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || l == nil {
		return err
	}
	turn := l.bucket.Reserve()
	delay := turn.Delay()
	if delay == 0 {
		return nil
	}
	if !sleep.Within(ctx, delay) {
		turn.Cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("the limiter's turn is %v away: %w", delay.Round(time.Millisecond), context.DeadlineExceeded)
	}
	return nil
}

// full is told that the portal's bucket is full: others call it as well.
func (l *Limiter) full() {
	if l == nil {
		return
	}
	if left := int(l.bucket.Tokens()); left > 0 {
		l.bucket.ReserveN(time.Now(), left)
	}
}
