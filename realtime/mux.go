package realtime

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// A Handler handles the messages of [Subscription.Run]. A message whose Handle
// returns nil counts as handled; an error stops the subscription.
type Handler interface {
	Handle(ctx context.Context, m Message) error
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, m Message) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m Message) error { return f(ctx, m) }

// Mux is a [Handler] that gives each message to the handler registered for its
// module and command. A message that has none goes to the default handler, and
// without one counts as handled. Handlers can be registered at any time. The
// zero Mux is ready to use.
//
// Its handlers, the default one too, get the portal's own messages alone. From
// version 4 of the push server on, every client of it, such as the browser of
// any user of the portal, can publish a message of any module and command,
// which differs from the portal's in its Sender only. Such messages go to the
// handlers that are registered with [Mux.FromClients], and otherwise count as
// handled.
type Mux struct {
	mu       sync.RWMutex
	handlers map[route]Handler
	fallback Handler

	ofClients bool // for the messages of clients, and no others
	clients   *Mux // the one that is; nil before FromClients
}

type route struct{ module, command string }

// NewMux returns a Mux without handlers.
func NewMux() *Mux { return new(Mux) }

// FromClients returns the part of x that is for the messages of clients: those
// whose Sender is not [SenderBackend]. It has handlers and a default handler of
// its own:
//
//	realtime.On(mux.FromClients(), "im", "typing", func(ctx context.Context, t Typing, m realtime.Message) error { … })
//
// What it hands over proves nothing but who sent it. Params that do not decode
// stop Run with [On]; with what clients can send, use [WithErrorPolicy].
func (x *Mux) FromClients() *Mux {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ofClients {
		return x
	}
	if x.clients == nil {
		x.clients = &Mux{ofClients: true}
	}
	return x.clients
}

// Handle gives m to its handler.
func (x *Mux) Handle(ctx context.Context, m Message) error {
	h := x.handler(m)
	if h == nil {
		return nil
	}
	return h.Handle(ctx, m)
}

// handler is the one that m is for, nil if there is none.
func (x *Mux) handler(m Message) Handler {
	x.mu.RLock()
	defer x.mu.RUnlock()
	switch fromClient := m.Sender.Type != SenderBackend; {
	case fromClient == x.ofClients:
	case fromClient && x.clients != nil:
		return x.clients
	default:
		return nil
	}
	if h, ok := x.handlers[route{strings.ToLower(m.Module), m.Command}]; ok {
		return h
	}
	return x.fallback
}

// HandleMessage registers h for a module, whose case does not matter, and a
// command. It panics if h is nil, or if there is a handler already, as
// [net/http.ServeMux] does.
func (x *Mux) HandleMessage(module, command string, h Handler) {
	if h == nil {
		panic("realtime: Mux: the handler is nil")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.handlers == nil {
		x.handlers = make(map[route]Handler)
	}
	r := route{strings.ToLower(module), command}
	if _, taken := x.handlers[r]; taken {
		panic(fmt.Sprintf("realtime: Mux: %s %s has a handler already", r.module, command))
	}
	x.handlers[r] = h
}

// HandleDefault registers h for the messages that have no other handler; on a
// Mux that is not one of [Mux.FromClients], for the portal's.
func (x *Mux) HandleDefault(h Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fallback = h
}

// On registers a function that gets the params of a message decoded, as
// [Decode] does. Params that cannot be decoded are an error of the handler:
// they stop Run.
func On[T any](x *Mux, module, command string, handle func(ctx context.Context, params T, m Message) error) {
	if handle == nil {
		panic("realtime: On: the function is nil")
	}
	x.HandleMessage(module, command, HandlerFunc(func(ctx context.Context, m Message) error {
		params, err := Decode[T](m)
		if err != nil {
			return err
		}
		return handle(ctx, params, m)
	}))
}
