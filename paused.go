package b24pull

import (
	"errors"
	"maps"
	"sync"
	"time"
)

// pauses are the methods that the portal has told to pause, so that not every caller
// has to be told.
type pauses struct {
	mu      sync.Mutex
	methods map[string]pausedMethod
	resets  map[string]time.Time // when a method's time is given back, by our clock, as answers have told
}

// maxResets bounds how many methods' resets are remembered; those that are over make room.
const maxResets = 1024

type pausedMethod struct {
	until time.Time // by our clock
	err   error     // the portal's
}

// note remembers what an answer tells of when a method's time is given back, and the pause in an error, if there is
// one. A refusal need not tell the time: then what was told before holds, and the error is completed by it.
func (p *pauses) note(method string, a answer, err error) {
	var refused *APIError
	switch {
	case err == nil:
		if d, ok := resetIn(a.time()); ok {
			p.remember(method, time.Now().Add(d))
		}
		return
	case ClassOf(err) != Paused || !errors.As(err, &refused):
		return
	}
	if d, ok := resetIn(refused.Time); ok {
		p.remember(method, time.Now().Add(d))
	} else {
		refused.RetryAfter = max(refused.RetryAfter, p.reset(method))
	}
	d, ok := untilReset(err)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.methods == nil {
		p.methods = make(map[string]pausedMethod)
	}
	p.methods[method] = pausedMethod{time.Now().Add(d), err}
}

// knows tells whether a method was told to pause, for however long.
func (p *pauses) knows(method string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.methods[method]
	return ok
}

// left tells for how long a method is paused yet, and by which error: none if it is not.
func (p *pauses) left(method string) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	paused := p.methods[method]
	if d := time.Until(paused.until); d > 0 {
		return d, paused.err
	}
	return 0, nil
}

func (p *pauses) remember(method string, reset time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resets == nil {
		p.resets = make(map[string]time.Time)
	}
	if _, known := p.resets[method]; !known && len(p.resets) >= maxResets {
		maps.DeleteFunc(p.resets, func(_ string, at time.Time) bool { return time.Until(at) <= 0 })
		if len(p.resets) >= maxResets {
			return
		}
	}
	p.resets[method] = reset
}

// reset is in how long a method's time is given back, 0 if nothing was told of it, or it is over.
func (p *pauses) reset(method string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.resets[method]
	if !known {
		return 0
	}
	return max(time.Until(at), 0)
}
