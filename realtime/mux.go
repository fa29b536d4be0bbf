package realtime

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// A Handler handles the messages of [Subscription.Run]. A message whose Handle returns nil counts as handled;
// an error stops the subscription.
type Handler interface {
	Handle(ctx context.Context, m Message) error
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, m Message) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m Message) error { return f(ctx, m) }

// Mux is a [Handler] that gives each message to the handler registered for its module and command. A message
// that has none goes to the default handler, and without one counts as handled. Handlers can be registered at
// any time. The zero Mux is ready to use.
type Mux struct {
	mu       sync.RWMutex
	handlers map[route]Handler
	fallback Handler
}

type route struct{ module, command string }

// NewMux returns a Mux without handlers.
func NewMux() *Mux { return new(Mux) }

// Handle gives m to its handler.
func (x *Mux) Handle(ctx context.Context, m Message) error {
	x.mu.RLock()
	h, ok := x.handlers[route{strings.ToLower(m.Module), m.Command}]
	if !ok {
		h = x.fallback
	}
	x.mu.RUnlock()
	if h == nil {
		return nil
	}
	return h.Handle(ctx, m)
}

// HandleMessage registers h for a module, whose case does not matter, and a command. It panics if h is nil, or
// if there is a handler already, as [net/http.ServeMux] does.
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

// HandleDefault registers h for the messages that have no other handler.
func (x *Mux) HandleDefault(h Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fallback = h
}

// On registers a function that gets the params of a message decoded, as [Decode] does. Params that cannot be
// decoded are an error of the handler: they stop Run.
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
