package realtime

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/b24pull/b24pull/internal/quote"
)

// A Handler handles the messages of [Subscription.Run]. A message whose Handle
// returns nil counts as handled; what an error does is said at
// [WithErrorPolicy].
type Handler interface {
	Handle(ctx context.Context, m Message) error
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, m Message) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m Message) error { return f(ctx, m) }

// Mux is a [Handler] that gives each message to the handler registered for its
// module and command, or else to that of its module, or else to the default
// handler. A message that has none counts as handled. Handlers can be registered
// at any time. The zero Mux is ready to use.
//
// Its handlers, the default one too, get the portal's own messages alone. From
// version 4 of the push server on, every client of it, such as the browser of
// any user of the portal, can publish a message of any module and command,
// which differs from the portal's in its Sender only. Such messages go to the
// handlers that are registered with [Mux.FromClients], and otherwise count as
// handled.
type Mux struct {
	mu       sync.RWMutex
	handlers map[route]*handler
	fallback *handler
	around   []func(Handler) Handler

	ofClients bool // for the messages of clients, and no others
	clients   *Mux // the one that is; nil before FromClients
}

// route is what a handler is registered for. Without a command it is a whole
// module.
type route struct{ module, command string }

// handler is one that was registered, and what is called in its place: it with
// the middleware around it.
type handler struct{ own, wrapped Handler }

// NewMux returns a Mux without handlers.
func NewMux() *Mux { return new(Mux) }

// FromClients returns the part of x that is for the messages of clients: those
// whose Sender is not [SenderBackend]. It has handlers and a default handler of
// its own:
//
//	realtime.On(mux.FromClients(), "im", "typing", func(ctx context.Context, t Typing, m realtime.Message) error { … })
//
// What it hands over proves nothing but who sent it. Clients can send params
// that do not decode, a [*ParamsError] with [On]: a policy of [WithErrorPolicy]
// should skip those, as is the default.
func (x *Mux) FromClients() *Mux {
	x.check()
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

// check panics about a Mux that is nil.
func (x *Mux) check() {
	if x == nil {
		panic("realtime: Mux: it is nil; NewMux makes one")
	}
}

// Handle gives m to its handler.
func (x *Mux) Handle(ctx context.Context, m Message) error {
	x.check()
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
	module := strings.ToLower(m.Module)
	h := x.handlers[route{module, m.Command}]
	if h == nil {
		h = x.handlers[route{module, ""}]
	}
	if h == nil {
		h = x.fallback
	}
	if h == nil {
		return nil
	}
	return h.wrapped
}

// HandleMessage registers h for a module, whose case does not matter, and a
// command, whose case does. As [net/http.ServeMux] does, it panics if h is nil,
// or if there is a handler already; and if the module or the command is empty or
// has a star in it: there are no patterns, but [Mux.HandleModule] and
// [Mux.HandleDefault].
func (x *Mux) HandleMessage(module, command string, h Handler) {
	checkName("module", module, "HandleDefault registers a handler for what has no other")
	checkName("command", command, "HandleModule registers a handler for all commands of a module that have no other")
	x.register(route{strings.ToLower(module), command}, h)
}

// HandleModule registers h for all messages of a module whose command has no
// handler of its own. It panics as HandleMessage does.
func (x *Mux) HandleModule(module string, h Handler) {
	checkName("module", module, "HandleDefault registers a handler for what has no other")
	x.register(route{strings.ToLower(module), ""}, h)
}

// checkName panics about a name that no message has.
func checkName(kind, name, instead string) {
	switch {
	case strings.TrimSpace(name) == "":
		panic(fmt.Sprintf("realtime: Mux: the %s is empty, as none is; %s", kind, instead))
	case strings.Contains(name, "*"):
		panic(fmt.Sprintf("realtime: Mux: the %s %s: there are no patterns; %s", kind, quote.Name(name), instead))
	}
}

func (x *Mux) register(r route, h Handler) {
	x.check()
	if h == nil {
		panic("realtime: Mux: the handler is nil")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.handlers == nil {
		x.handlers = make(map[route]*handler)
	}
	if _, taken := x.handlers[r]; taken {
		panic(fmt.Sprintf("realtime: Mux: %s has a handler already", strings.TrimSpace(r.module+" "+r.command)))
	}
	x.handlers[r] = &handler{h, x.wrap(h)}
}

// HandleDefault registers h for the messages that have no other handler; on a
// Mux that is not one of [Mux.FromClients], for the portal's. It takes the place
// of the one before; nil: there is none any more.
func (x *Mux) HandleDefault(h Handler) {
	x.check()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fallback = nil; h != nil {
		x.fallback = &handler{h, x.wrap(h)}
	}
}

// Use puts middleware around each handler of x, those that are registered
// already too: a function that gets a handler and returns the one to be called
// in its place, as those of net/http are.
//
//	mux.Use(func(next realtime.Handler) realtime.Handler {
//		return realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
//			begun := time.Now()
//			err := next.Handle(ctx, m)
//			slog.Info("handled", "message", m, "took", time.Since(begun), "err", err)
//			return err
//		})
//	})
//
// The first one is the outermost, also over several calls. It is not called for
// messages that have no handler, nor for those of clients: the Mux of
// [Mux.FromClients] has middleware of its own. A function is called once for
// each handler, and again when Use is called again. Use panics if a function is
// nil or returns nil. To have something around the whole of x, whatever the
// sender, wrap x itself before it is given to [Subscription.Run].
func (x *Mux) Use(middleware ...func(Handler) Handler) {
	x.check()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, around := range middleware {
		if around == nil {
			panic("realtime: Mux: Use: the function is nil")
		}
	}
	x.around = append(x.around, middleware...)
	for _, h := range x.handlers {
		h.wrapped = x.wrap(h.own)
	}
	if x.fallback != nil {
		x.fallback.wrapped = x.wrap(x.fallback.own)
	}
}

// wrap puts the middleware around a handler.
func (x *Mux) wrap(h Handler) Handler {
	for _, around := range slices.Backward(x.around) {
		if h = around(h); h == nil {
			panic("realtime: Mux: Use: a function returned nil in place of a handler")
		}
	}
	return h
}

// On registers a function that gets the params of a message decoded, as
// [Decode] does. Params that cannot be decoded are an error of the handler, a
// [*ParamsError]: by default the message is skipped and told of, and
// [WithErrorPolicy] can say otherwise.
//
// It panics as [Mux.HandleMessage] does, and if T is a type that encoding/json
// decodes nothing into, such as a channel, a function or an interface with
// methods, or a list or map of them; the fields of a struct are not looked at.
func On[T any](x *Mux, module, command string, handle func(ctx context.Context, params T, m Message) error) {
	if handle == nil {
		panic("realtime: On: the function is nil")
	}
	if t := reflect.TypeFor[T](); !decodable(t, nil) {
		panic(fmt.Sprintf("realtime: On: encoding/json decodes nothing into a %v; give the function a struct, or json.RawMessage", t))
	}
	x.HandleMessage(module, command, HandlerFunc(func(ctx context.Context, m Message) error {
		params, err := Decode[T](m)
		if err != nil {
			return err
		}
		return handle(ctx, params, m)
	}))
}

// decodable reports whether encoding/json can decode anything into a type. Those
// around it are known to be looked at.
func decodable(t reflect.Type, around []reflect.Type) bool {
	to := reflect.PointerTo(t)
	switch {
	case to.Implements(reflect.TypeFor[json.Unmarshaler]()), to.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), slices.Contains(around, t):
		return true
	}
	around = append(around, t)
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return false
	case reflect.Interface:
		return t.NumMethod() == 0
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return decodable(t.Elem(), around)
	case reflect.Map:
		return decodableKey(t.Key()) && decodable(t.Elem(), around)
	}
	return true
}

// decodableKey reports whether encoding/json can decode a key of an object into
// a type.
func decodableKey(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
