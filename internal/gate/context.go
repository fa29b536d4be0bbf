package gate

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync/atomic"
)

type key struct{}

// passing is what a context has requests do.
type passing struct {
	gate  *Gate
	outer *Place // of which they are a part; may be nil
}

// With has the requests that are made with a context, by who knows of gates,
// take a place each; outer, which may be nil, is one that stands for them as
// long as it is taken.
func With(ctx context.Context, g *Gate, outer *Place) context.Context {
	if g == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, passing{g, outer})
}

// Enter takes a place in the context's gate, if it has one. See [Gate.Enter].
// One that is reserved for the host is it.
func Enter(ctx context.Context, kind Kind, host string, wait func()) (*Place, error) {
	p, _ := ctx.Value(key{}).(passing)
	switch {
	case p.outer.claim(kind, host):
		return p.outer, nil
	case p.outer.isTaken():
		return nil, nil
	}
	return p.gate.Enter(ctx, kind, host, wait)
}

// Reserve takes a place in the context's gate, if it has one, for a request to
// a host that may be made later, with what [Place.For] returns: for who has to
// do something before, like locking, that is not to be done for as long as a
// request waits for its turn. A place that is reserved for longer than
// [Patience] is given up, and the request waits then.
func Reserve(ctx context.Context, kind Kind, host string) (*Place, error) {
	p, _ := ctx.Value(key{}).(passing)
	if p.gate == nil || p.outer.isTaken() {
		return nil, nil
	}
	place, err := p.gate.Enter(ctx, kind, host, nil)
	if err != nil {
		return nil, err
	}
	place.gate.mu.Lock()
	place.reserved = true
	place.gate.mu.Unlock()
	return place, nil
}

// For has the first request to the host with a context take a place that is
// reserved.
func (p *Place) For(ctx context.Context) context.Context {
	if p == nil {
		return ctx
	}
	return With(ctx, p.gate, p)
}

// claim begins the request that a place was reserved for, and reports false if
// it was not, or not any more.
func (p *Place) claim(kind Kind, host string) bool {
	if p == nil || p.kind != kind || p.host != host {
		return false
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.reserved || p.state != stateTaken || !p.late.Stop() {
		return false
	}
	p.reserved = false
	p.expect()
	return true
}

// Pause gives up the place that stands for the context's requests: there is
// none for a while.
func Pause(ctx context.Context) {
	p, _ := ctx.Value(key{}).(passing)
	p.outer.Leave()
}

func (p *Place) isTaken() bool {
	if p == nil {
		return false
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	return p.state == stateTaken
}

// Context is that of the request that has taken the place: requests that are
// made for it take none of their own. net/http goes on dialing when another
// connection becomes free for a request, which may be answered before that has
// ended; so a TLS handshake keeps the place, too.
func (p *Place) Context(ctx context.Context) context.Context {
	if p == nil {
		return ctx
	}
	var holds atomic.Int32
	return httptrace.WithClientTrace(With(ctx, p.gate, p), &httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			if p.hold() {
				holds.Add(1)
			}
		},
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			if holds.Add(-1) >= 0 {
				p.release()
			} else {
				holds.Add(1)
			}
		},
	})
}

// Hold does that for a dial function that makes TLS handshakes itself: the
// place is kept until release is called. If the request has ended already, the
// handshake takes a place of its own, and waits for it.
func Hold(ctx context.Context) (release func(), err error) {
	c, _ := ctx.Value(key{}).(passing)
	p := c.outer
	switch {
	case p == nil:
		return func() {}, nil
	case p.hold():
		return p.release, nil
	}
	own, err := p.gate.Enter(ctx, p.kind, p.host, nil)
	return own.Leave, err
}

// hold reports false if the place has been given up.
func (p *Place) hold() bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.state != stateTaken && p.state != stateHeld {
		return false
	}
	p.held++
	return true
}

func (p *Place) release() {
	p.gate.mu.Lock()
	p.held--
	over := p.held == 0 && p.state == stateHeld
	p.gate.mu.Unlock()
	if over {
		p.leave(answers)
	}
}
