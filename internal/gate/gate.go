// Package gate bounds how many requests are under way at once, whoever makes
// them, and shares the places fairly: between kinds of requests, between hosts,
// and in the order in which they come. Hosts that do not answer get half of the
// places at the most, and fewer while others wait.
package gate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/fifo"
	"github.com/b24pull/b24pull/internal/lately"
)

// Kind is what a request is for. Each kind that waits has its turn.
type Kind uint8

// The kinds of requests.
const (
	REST    Kind = iota // of a portal, and of an authorization server
	Connect             // the handshake of a websocket, or a poll
	Replay              // of the history, and confirmations of it
	kinds
)

const (
	// Patience is how long a request keeps its place without an answer. It goes
	// on then, and another one may begin: a server that hangs for longer is not
	// at work.
	Patience = 5 * time.Second
	// maxHanging is of how many hosts it is kept that they hang.
	maxHanging = 10_000
)

// A Gate has places for requests. A nil Gate lets everything pass.
type Gate struct {
	mu      sync.Mutex
	places  int
	taken   int
	slow    int // places that are taken by requests to hosts that hang
	waiting int
	patient int             // of those that wait, the requests to hosts that hang
	lanes   [2 * kinds]lane // those of hosts that hang follow the others
	next    int             // the lane whose turn it is
	hanging lately.Map[struct{}]
}

// New makes a gate of so many places, one or more.
func New(places int) *Gate { return &Gate{places: max(places, 1)} }

// A lane is what waits for its turn: hosts, each with its requests.
type lane struct {
	turns fifo.Queue[*host]
	hosts map[string]*host
}

type host struct {
	name     string
	requests fifo.Queue[*Place]
}

// A Place is a request's. A nil Place is that of a nil Gate.
type Place struct {
	gate  *Gate
	kind  Kind
	host  string
	slow  bool          // the host was known to hang
	begin chan struct{} // closed when the place is taken

	// Guarded by the gate's mu:
	state    state
	late     *time.Timer
	held     int  // by handshakes
	reserved bool // its request has not begun
	untold   bool // it is left by itself, which says nothing of the host
}

type state uint8

const (
	stateWaiting state = iota
	stateTaken
	stateHeld // the request has ended, and a handshake begun for it goes on
	stateLeft
)

// A verdict is what the end of a request says of its host.
type verdict uint8

const (
	answers verdict = iota
	hangs
	unknown
)

// Enter takes a place for a request to a host, and waits for one until ctx is
// done; wait, which may be nil, is called before, if it has to. A timeout of
// [WithTimeout] does not run meanwhile.
func (g *Gate) Enter(ctx context.Context, kind Kind, name string, wait func()) (*Place, error) {
	if g == nil {
		return nil, nil
	}
	p := &Place{gate: g, kind: kind, host: name, begin: make(chan struct{})}
	g.mu.Lock()
	_, p.slow = g.hanging.Get(name)
	g.lane(p).push(p)
	g.waits(p, 1)
	g.serve()
	waits := p.state == stateWaiting
	g.mu.Unlock()
	if !waits {
		return p, nil
	}
	if wait != nil {
		wait()
	}
	if c := clockOf(ctx); c != nil {
		c.stop()
		defer c.start()
	}
	select {
	case <-p.begin:
		return p, nil
	case <-ctx.Done():
		p.leave(unknown)
		return nil, ctx.Err()
	}
}

// waits counts one more that waits, or one less.
func (g *Gate) waits(p *Place, n int) {
	g.waiting += n
	if p.slow {
		g.patient += n
	}
}

// mostSlow is how many places hosts may have that hang.
func (g *Gate) mostSlow() int {
	if g.waiting > g.patient {
		return max(1, g.places/8)
	}
	return max(1, g.places/2)
}

func (g *Gate) lane(p *Place) *lane {
	n := int(p.kind)
	if p.slow {
		n += int(kinds)
	}
	return &g.lanes[n]
}

func (l *lane) push(p *Place) {
	h := l.hosts[p.host]
	if h == nil {
		h = &host{name: p.host}
		if l.hosts == nil {
			l.hosts = make(map[string]*host)
		}
		l.hosts[p.host] = h
		l.turns.Push(h)
	}
	h.requests.Push(p)
}

// pop takes the first request that still waits, of the host whose turn it is.
func (l *lane) pop() *Place {
	for {
		h, ok := l.turns.Pop()
		if !ok {
			return nil
		}
		var found *Place
		for found == nil && h.requests.Len() > 0 {
			if p, _ := h.requests.Pop(); p.state == stateWaiting {
				found = p
			}
		}
		if h.requests.Len() > 0 {
			l.turns.Push(h)
		} else {
			delete(l.hosts, h.name)
		}
		if found != nil {
			return found
		}
	}
}

// serve gives away the places that are free. mu is held.
func (g *Gate) serve() {
	for g.taken < g.places && g.waiting > 0 {
		p := g.pop()
		if p == nil {
			return // only hosts that hang wait, and they have their share
		}
		p.state = stateTaken
		g.waits(p, -1)
		g.taken++
		if p.slow {
			g.slow++
		}
		p.expect()
		close(p.begin)
	}
}

// pop takes the next request of the next lane that has one.
func (g *Gate) pop() *Place {
	for range g.lanes {
		n := g.next
		g.next = (n + 1) % len(g.lanes)
		if n >= int(kinds) && g.slow >= g.mostSlow() {
			continue
		}
		if p := g.lanes[n].pop(); p != nil {
			return p
		}
	}
	return nil
}

// Leave gives the place up: the request has ended, or does not count any more.
func (p *Place) Leave() {
	if p != nil {
		p.leave(answers)
	}
}

// End is Leave by what has become of the request's context: a host that has not
// answered in time hangs, and nothing is known of one that was not waited for.
func (p *Place) End(ctx context.Context) {
	switch err := ctx.Err(); {
	case p == nil:
	case err == nil:
		p.leave(answers)
	case errors.Is(err, context.DeadlineExceeded):
		p.leave(hangs)
	default:
		p.leave(unknown)
	}
}

// LeaveWithin gives the place up after a while, if it has not been before: what
// is asked hangs by its nature, and nothing is known of the host until it
// answers.
func (p *Place) LeaveWithin(d time.Duration) {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.lateAs(unknown, d)
}

// Answers notes that the host has begun to answer. The place is kept for the
// rest of the answer, [Patience] at the most.
func (p *Place) Answers() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.state != stateLeft || p.untold {
		p.gate.hanging.Delete(p.host)
	}
	p.lateAs(answers, Patience)
}

// lateAs has the place left by itself, with what that says of the host. mu is
// held.
func (p *Place) lateAs(host verdict, d time.Duration) {
	if p.state == stateTaken && p.late.Stop() {
		p.untold = host == unknown
		p.late = time.AfterFunc(d, func() { p.leave(host) })
	}
}

// expect has the host taken for one that hangs if the place is not left in time.
// mu is held.
func (p *Place) expect() { p.late = time.AfterFunc(Patience, func() { p.leave(hangs) }) }

// leave gives a place up, or the waiting for it.
func (p *Place) leave(host verdict) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.reserved { // the host was not asked
		host = unknown
	}
	switch p.state {
	case stateLeft:
		if p.untold && host == answers { // after all
			g.hanging.Delete(p.host)
		}
		return
	case stateWaiting:
		g.waits(p, -1)
	case stateTaken, stateHeld:
		p.late.Stop()
		if p.held > 0 && host != hangs {
			p.state = stateHeld
			p.expect()
			return
		}
		g.taken--
		if p.slow {
			g.slow--
		}
		switch host {
		case hangs:
			g.hanging.Put(p.host, struct{}{}, maxHanging)
		case answers:
			g.hanging.Delete(p.host)
		}
	}
	p.state = stateLeft
	g.serve()
}

// Counts are how many places are taken, and how many requests wait for one.
func (g *Gate) Counts() (taken, waiting int) {
	if g == nil {
		return 0, 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken, g.waiting
}
