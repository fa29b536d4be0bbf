// Package underway lets one who waits for a call see how it goes meanwhile: what
// it waits for, and what has failed and is tried again. The watcher stands in
// the call's context.
package underway

import (
	"context"
	"sync"
	"time"
)

// A Call is what is seen of a call, or of several in turn. The zero value is
// ready to use; Failed is set before.
type Call struct {
	Failed func(err error, again time.Duration) // if not nil, is told what Fails is, by the caller's goroutine

	mu    sync.Mutex
	from  func() string // nil: nothing is waited for
	since time.Time
	err   error
}

type key struct{}

// With returns a context in which calls can be seen by c.
func With(ctx context.Context, c *Call) context.Context { return context.WithValue(ctx, key{}, c) }

// Waits says what a call of ctx waits for from now on, in words without secrets.
func Waits(ctx context.Context, from string) {
	if c, ok := ctx.Value(key{}).(*Call); ok {
		c.Wait(from)
	}
}

// WaitsFor is Waits where the words take time to make: they are asked for when
// somebody looks.
func WaitsFor(ctx context.Context, from func() string) {
	if c, ok := ctx.Value(key{}).(*Call); ok {
		c.wait(from)
	}
}

// Fails says that a call of ctx has failed, and in how long it is tried again.
// The error has no secrets.
func Fails(ctx context.Context, err error, again time.Duration) {
	c, ok := ctx.Value(key{}).(*Call)
	if !ok {
		return
	}
	c.mu.Lock()
	c.from, c.err = nil, err
	c.mu.Unlock()
	if c.Failed != nil {
		c.Failed(err, again)
	}
}

// Wait is Waits of the call itself; of "" it waits for nothing.
func (c *Call) Wait(from string) {
	if from == "" {
		c.wait(nil)
		return
	}
	c.wait(func() string { return from })
}

func (c *Call) wait(from func() string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.since = from, time.Now()
}

// End forgets all, as a call that has ended tells itself what came of it.
func (c *Call) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.err = nil, nil
}

// Waiting tells whose answer is waited for, "" for none, and how long it has
// been.
func (c *Call) Waiting() (from string, waited time.Duration) {
	c.mu.Lock()
	text, since := c.from, c.since
	c.mu.Unlock()
	if text == nil {
		return "", 0
	}
	return text(), time.Since(since)
}

// Err is what failed last and is tried again, nil if nothing has.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
