// Package sleep waits within a context.
package sleep

import (
	"context"
	"time"
)

// Within is For, but reports false at once where the context has a deadline
// that would come before.
func Within(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	return For(ctx, d)
}

// For waits, and reports true; false if the context ends before.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
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
