package gate

import (
	"context"
	"sync"
	"time"
)

// A clock can stand still while something waits for its turn.
type clock interface {
	stop()
	start()
}

type clockKey struct{}

// clockOf is the clock of a context, nil if it has none.
func clockOf(ctx context.Context) clock {
	c, _ := ctx.Value(clockKey{}).(clock)
	return c
}

// WithTimeout is [context.WithTimeout] of what may have to wait for its turn:
// the clock stands still while [Gate.Enter] waits with the context, or with one
// derived from it. The end of the parent ends it even then. told, which may be
// nil, is told when the clock comes to stand still and when it goes on, and not
// after the end.
func WithTimeout(parent context.Context, d time.Duration, told func(waits bool)) (context.Context, context.CancelFunc) {
	t := &timed{parent: parent, outer: clockOf(parent), told: told, done: make(chan struct{}), left: d, since: time.Now()}
	t.mu.Lock()
	t.timer = time.AfterFunc(d, t.late)
	t.mu.Unlock()
	forget := context.AfterFunc(parent, func() { t.end(parent.Err()) })
	return t, func() {
		forget()
		t.end(context.Canceled)
	}
}

// timed is a context with a clock.
type timed struct {
	parent context.Context
	outer  clock // the parent's; may be nil
	told   func(waits bool)
	done   chan struct{}

	mu    sync.Mutex
	err   error
	timer *time.Timer
	left  time.Duration // since it was
	since time.Time
	waits int // for their turn; the clock stands still then
}

func (t *timed) Done() <-chan struct{} { return t.done }

func (t *timed) Value(key any) any {
	if key == (clockKey{}) {
		return clock(t)
	}
	return t.parent.Value(key)
}

func (t *timed) Err() error {
	if err := t.parent.Err(); err != nil {
		t.end(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Deadline is the one by what waits now.
func (t *timed) Deadline() (time.Time, bool) {
	at, ok := t.parent.Deadline()
	t.mu.Lock()
	defer t.mu.Unlock()
	if own := t.since.Add(t.left); t.waits == 0 && (!ok || own.Before(at)) {
		return own, true
	}
	return at, ok
}

func (t *timed) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
		t.timer.Stop()
		close(t.done)
	}
}

// late is called by the timer, which stop may have come too late for.
func (t *timed) late() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.waits > 0 {
		return
	}
	if left := t.left - time.Since(t.since); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.err = context.DeadlineExceeded
	close(t.done)
}

func (t *timed) stop() {
	t.mu.Lock()
	if t.waits++; t.waits == 1 && t.err == nil {
		t.timer.Stop()
		t.left -= time.Since(t.since)
		t.tell()
	}
	t.mu.Unlock()
	if t.outer != nil {
		t.outer.stop()
	}
}

func (t *timed) start() {
	t.mu.Lock()
	if t.waits--; t.waits == 0 && t.err == nil {
		t.since = time.Now()
		t.timer.Reset(t.left)
		t.tell()
	}
	t.mu.Unlock()
	if t.outer != nil {
		t.outer.start()
	}
}

func (t *timed) tell() {
	if t.told != nil {
		t.told(t.waits > 0)
	}
}

// Clocks are those of all who wait for one piece of work: they stand still
// while that waits for its turn. The zero value is ready to use.
type Clocks struct {
	mu    sync.Mutex
	all   map[*clock]struct{}
	waits int
}

// Context has the work of a context stop these clocks, and no other one.
func (c *Clocks) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, clockKey{}, clock(c))
}

// Join adds the clock of a context, if it has one, until leave is called.
func (c *Clocks) Join(ctx context.Context) (leave func()) {
	own := clockOf(ctx)
	if own == nil {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[*clock]struct{})
	}
	c.all[&own] = struct{}{}
	if c.waits > 0 {
		own.stop()
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, &own)
		if c.waits > 0 {
			own.start()
		}
	}
}

func (c *Clocks) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits++; c.waits == 1 {
		for own := range c.all {
			(*own).stop()
		}
	}
}

func (c *Clocks) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waits--; c.waits == 0 {
		for own := range c.all {
			(*own).start()
		}
	}
}
