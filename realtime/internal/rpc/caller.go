package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// A Caller makes calls over one line after another, whichever there is. The
// zero Caller has none yet. Its methods can be called from any goroutine.
type Caller struct {
	mu      sync.Mutex
	now     standing
	changed chan struct{} // closed when now is another one; nil where nobody waits
}

// standing is by what calls are made, or why by nothing.
type standing struct {
	line     *Line
	lack     error         // why there is none, where that is not to be waited out; nil: one may come
	patience time.Duration // how long a call may wait with a lack
}

// Use has calls made over a line from now on; nil: they wait for one.
func (c *Caller) Use(line *Line) { c.set(standing{line: line}) }

// Lack has calls end that wait longer for a line, than patience: there is none,
// for the reason given.
func (c *Caller) Lack(why error, patience time.Duration) {
	c.set(standing{lack: why, patience: patience})
}

func (c *Caller) set(next standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == next {
		return
	}
	c.now = next
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// get returns what there is, and what is closed when it changes.
func (c *Caller) get() (standing, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.now, c.changed
}

// Call makes a call as Line.Call does. While there is no line it waits for one,
// as long as ctx lets it; what was not sent over one line is sent over the
// next.
func (c *Caller) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	encoded, err := encode(method, params)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	for {
		now, changed := c.get()
		if now.line != nil {
			result, err := now.line.call(ctx, method, encoded)
			var failed *UnansweredError
			if ctx.Err() != nil || !errors.As(err, &failed) || failed.Sent {
				return result, err
			}
		}
		if err := now.wait(ctx, changed, begun); err != nil {
			return nil, &UnansweredError{Method: method, Err: err}
		}
	}
}

// wait waits for something else.
func (s standing) wait(ctx context.Context, changed <-chan struct{}, begun time.Time) error {
	var late <-chan time.Time
	if s.lack != nil {
		timer := time.NewTimer(time.Until(begun.Add(s.patience)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late:
		return s.lack
	}
}
