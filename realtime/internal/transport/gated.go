package transport

import (
	"context"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/gate"
)

// Gated has what a Transport opens pass a gate, which is not nil.
type Gated struct {
	Transport
	Gate *gate.Gate
	Kind gate.Kind
	Told Waiter
}

// A Waiter is told how it goes with its turn among others.
type Waiter interface {
	Waits()  // for its turn
	Begins() // its turn has come, after Waits
}

// hangsAfter is how long a request keeps its place once the server has it. What
// is kept is answered at once; for what is not, polls and replays hang for as
// long as servers let them.
const hangsAfter = 100 * time.Millisecond

// Open takes a place, which a handshake keeps until it is answered, and a
// request for the history until its answer has ended.
func (t *Gated) Open(ctx context.Context, at Address, sink Sink) (Conn, error) {
	waited := false
	place, err := t.Gate.Enter(ctx, t.Kind, at.place(), func() {
		waited = true
		t.Told.Waits()
	})
	if err != nil {
		return nil, at.fail("waiting for its turn", err)
	}
	if waited {
		t.Told.Begins()
	}
	ends := context.AfterFunc(ctx, func() { place.End(ctx) })
	c, err := t.Transport.Open(place.Context(ctx), at, gatedSink{sink, place})
	if err != nil || t.Kind != gate.Replay {
		ends()
		place.End(ctx)
	} else {
		place.Answers()
	}
	return c, err
}

// place is the host as a gate wants it, which tells it nobody.
func (at Address) place() string {
	_, host, _ := strings.Cut(at.URL, "://")
	host, _, _ = strings.Cut(host, "/")
	return host
}

type gatedSink struct {
	Sink
	place *gate.Place
}

func (s gatedSink) Sent() {
	s.place.LeaveWithin(hangsAfter)
	s.Sink.Sent()
}
