// Package sleep waits within a context.
package sleep

import (
	"context"
	"time"
)

// For waits, and reports true. Where the context ends before, or would, it
// reports false: at once if the context has a deadline that is too soon.
func For(ctx context.Context, d time.Duration) bool {
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
