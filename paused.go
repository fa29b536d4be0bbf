package b24pull

import (
	"sync"
	"time"
)

// pauses are the methods that the portal has told to pause, so that not every caller
// has to be told.
type pauses struct {
	mu      sync.Mutex
	methods map[string]pausedMethod
}

type pausedMethod struct {
	until time.Time // by our clock
	err   error     // the portal's
}

// note remembers the pause in an error, if there is one.
func (p *pauses) note(method string, err error) {
	if ClassOf(err) != Paused {
		return
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
