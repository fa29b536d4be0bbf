package b24pull

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

const (
	// vetoPause is how long a veto holds before the application is asked again.
	vetoPause = time.Minute
	// maxVerdicts bounds what is remembered: a portal may redirect to ever new hosts.
	maxVerdicts = 32
)

// A move is from one address of a portal to another, scheme and host each.
type move struct{ from, to string }

// approvals remembers what the function of WithMoved has said of moves.
type approvals struct {
	asked func(ctx context.Context, from, to string) error // nil: every move is followed

	mu       sync.Mutex
	verdicts map[move]*verdict
}

// A verdict is what was said of a move, or is being said.
type verdict struct {
	done chan struct{} // closed when the function has returned

	// The rest is valid once done is closed.
	said  bool // false: the caller left, or the function panicked; nothing was decided
	err   error
	until time.Time // of a veto
}

// over reports whether a verdict that was given holds no longer.
func (v *verdict) over(now time.Time) bool {
	select {
	case <-v.done:
		return !v.said || v.err != nil && !now.Before(v.until)
	default:
		return false
	}
}

// asking marks the context that the function of WithMoved is given.
type asking struct{ of *approvals }

// ask returns what the function says of a move. Of several callers one asks and the
// others wait for the answer, each until its own context ends. If the context of the
// one who asks ends, nothing is decided, and the next one asks.
func (a *approvals) ask(ctx context.Context, m move) error {
	if a.asked == nil {
		return nil
	}
	if ctx.Value(asking{a}) != nil {
		return errors.New("the function of WithMoved has called the portal itself")
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, mine := a.verdict(m)
		if mine {
			return a.decide(ctx, m, v)
		}
		select {
		case <-v.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if v.said {
			return v.err
		}
	}
}

// verdict returns the verdict on a move, and whether it is the caller's to give.
func (a *approvals) verdict(m move) (v *verdict, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if v = a.verdicts[m]; v != nil && !v.over(now) {
		return v, false
	}
	if len(a.verdicts) >= maxVerdicts {
		clear(a.verdicts)
	}
	if a.verdicts == nil {
		a.verdicts = make(map[move]*verdict)
	}
	v = &verdict{done: make(chan struct{})}
	a.verdicts[m] = v
	return v, true
}

func (a *approvals) decide(ctx context.Context, m move, v *verdict) error {
	defer close(v.done)
	err := a.asked(context.WithValue(ctx, asking{a}, true), m.from, m.to)
	if err == nil || ctx.Err() == nil {
		v.said, v.err, v.until = true, err, time.Now().Add(vetoPause)
	}
	return err
}

// arrived is told that the portal is at an address: a later move away from it is a new
// one, and is asked for again.
func (a *approvals) arrived(at string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.verdicts, func(m move, _ *verdict) bool { return m.from == at })
}
