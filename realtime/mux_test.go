package realtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

func TestMux(t *testing.T) {
	type order struct {
		ID int `json:"id"`
	}
	var got []string
	note := func(text string) HandlerFunc {
		return func(context.Context, Message) error { got = append(got, text); return nil }
	}
	mux := new(Mux)
	On(mux, "CRM", "order", func(_ context.Context, o order, m Message) error {
		got = append(got, fmt.Sprintf("order %d", o.ID))
		return nil
	})
	mux.HandleMessage("application", "other", note("other"))
	send := func(module, command, params string) error {
		return mux.Handle(t.Context(), Message{Module: module, Command: command, Params: []byte(params), Sender: Sender{Type: SenderBackend}})
	}
	for _, err := range []error{
		send("crm", "order", `{"id":7}`),
		send("crm", "order", `[]`), // PHP's empty object
		send("crm", "order", ``),
		send("application", "other", `{}`),
		send("application", "order", `{}`), // nobody's
	} {
		if err != nil {
			t.Error(err)
		}
	}
	mux.HandleDefault(note("default"))
	if err := send("application", "order", `{}`); err != nil {
		t.Error(err)
	}
	if want := "[order 7 order 0 order 0 other default]"; fmt.Sprint(got) != want {
		t.Errorf("handled %v, want %v", got, want)
	}
	if err := send("crm", "order", `{"id":"x"}`); err == nil || !strings.Contains(err.Error(), "crm order") {
		t.Errorf("params that do not fit: %v", err)
	}
	if err := send("crm", "order", `[1]`); err == nil {
		t.Error("a list that is not empty was taken for an object")
	}
	for name, register := range map[string]func(){
		"twice":        func() { mux.HandleMessage("crm", "order", note("")) },
		"nil":          func() { mux.HandleMessage("crm", "x", nil) },
		"nil function": func() { On[order](mux, "crm", "x", nil) },
		"nil module":   func() { mux.HandleModule("crm", nil) },
		"nil around":   func() { mux.Use(nil) },
		"nil inside":   func() { mux.Use(func(Handler) Handler { return nil }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			register()
		}()
	}
}

// TestMux_Modules: the nearest handler gets a message.
func TestMux_Modules(t *testing.T) {
	t.Parallel()
	var got []string
	note := func(text string) HandlerFunc {
		return func(_ context.Context, m Message) error {
			got = append(got, text+" of "+m.Module+" "+m.Command)
			return nil
		}
	}
	mux := new(Mux)
	mux.HandleModule("CRM", note("module"))
	mux.HandleMessage("crm", "order", note("command"))
	mux.HandleDefault(note("default"))
	mux.FromClients().HandleModule("im", note("client"))
	for _, m := range []Message{
		{Module: "crm", Command: "order"}, {Module: "crm", Command: "deal"}, {Module: "Crm", Command: ""}, {Module: "im", Command: "order"}, {Module: "", Command: ""},
	} {
		for _, sender := range []SenderType{SenderBackend, SenderClient} {
			m.Sender.Type = sender
			if err := mux.Handle(t.Context(), m); err != nil {
				t.Error(err)
			}
		}
	}
	want := []string{"command of crm order", "module of crm deal", "module of Crm ", "default of im order", "client of im order", "default of  "}
	if !slices.Equal(got, want) {
		t.Errorf("handled %q, want %q", got, want)
	}
	if text := panicOf(func() { mux.HandleModule("crm", note("")) }); !strings.Contains(text, "crm has a handler already") {
		t.Errorf("panic %q", text)
	}
}

// TestMux_NamesOfNone: names that no message has are refused, with what to do.
func TestMux_NamesOfNone(t *testing.T) {
	t.Parallel()
	h := HandlerFunc(func(context.Context, Message) error { return nil })
	on := func(context.Context, numbered, Message) error { return nil }
	for _, tt := range []struct {
		module, command, advice string
	}{
		{"", "order", "HandleDefault"}, {"*", "order", "HandleDefault"}, {" ", "order", "HandleDefault"}, {"cr*", "order", "HandleDefault"},
		{"crm", "", "HandleModule"}, {"crm", "*", "HandleModule"}, {"crm", "order.*", "HandleModule"}, {"crm", "\t", "HandleModule"}, {"*", "*", "HandleDefault"},
	} {
		for name, register := range map[string]func(*Mux){
			"HandleMessage": func(x *Mux) { x.HandleMessage(tt.module, tt.command, h) },
			"On":            func(x *Mux) { On(x, tt.module, tt.command, on) },
			"of clients":    func(x *Mux) { On(x.FromClients(), tt.module, tt.command, on) },
		} {
			if text := panicOf(func() { register(new(Mux)) }); !strings.HasPrefix(text, "realtime: Mux: ") || !strings.Contains(text, tt.advice) {
				t.Errorf("%s(%q, %q): panic %q", name, tt.module, tt.command, text)
			}
		}
	}
	for _, module := range []string{"", "*", "\n"} {
		if text := panicOf(func() { new(Mux).HandleModule(module, h) }); !strings.Contains(text, "HandleDefault") {
			t.Errorf("HandleModule(%q): panic %q", module, text)
		}
	}
}

// TestMux_Use: middleware is around every handler of its Mux, whenever that was
// registered, the first outermost; not around those of clients, nor around
// none.
func TestMux_Use(t *testing.T) {
	t.Parallel()
	var got []string
	note := func(text string) HandlerFunc {
		return func(context.Context, Message) error {
			got = append(got, text)
			return errHandler
		}
	}
	around := func(name string) func(Handler) Handler {
		return func(next Handler) Handler {
			return HandlerFunc(func(ctx context.Context, m Message) error {
				got = append(got, name+"(")
				err := next.Handle(ctx, m)
				got = append(got, ")"+name)
				if err != nil {
					err = fmt.Errorf("%s: %w", name, err)
				}
				return err
			})
		}
	}
	mux := NewMux()
	mux.HandleMessage("crm", "before", note("before"))
	mux.Use(around("a"), around("b"))
	mux.HandleMessage("crm", "after", note("after"))
	mux.HandleModule("im", note("module"))
	mux.FromClients().HandleDefault(note("client"))
	mux.Use(around("c"))
	mux.FromClients().Use(around("d"))
	send := func(module, command string, sender SenderType) string {
		got = nil
		err := mux.Handle(t.Context(), Message{Module: module, Command: command, Sender: Sender{Type: sender}})
		return fmt.Sprint(strings.Join(got, ""), " ", err)
	}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("handled %s, want %s", got, want)
		}
	}
	for command, want := range map[string]string{"before": "before", "after": "after"} {
		check(send("crm", command, SenderBackend), "a(b(c("+want+")c)b)a a: b: c: the handler failed")
	}
	check(send("im", "x", SenderBackend), "a(b(c(module)c)b)a a: b: c: the handler failed")
	check(send("crm", "x", SenderBackend), " <nil>")
	mux.HandleDefault(note("default"))
	check(send("crm", "x", SenderBackend), "a(b(c(default)c)b)a a: b: c: the handler failed")
	check(send("crm", "before", SenderClient), "d(client)d d: the handler failed")
	mux.HandleDefault(nil)
	check(send("crm", "x", SenderBackend), " <nil>")
}

// TestMux_UsedAtWork: to register handlers and middleware while messages are
// handled is safe.
func TestMux_UsedAtWork(t *testing.T) {
	t.Parallel()
	mux := NewMux()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			mux.HandleMessage("crm", fmt.Sprint("c", i), HandlerFunc(func(context.Context, Message) error { return nil }))
			if i%50 == 0 {
				mux.Use(func(next Handler) Handler { return next })
			}
		}
	}()
	for i := range 2000 {
		if err := mux.Handle(t.Context(), Message{Module: "crm", Command: fmt.Sprint("c", i%200), Sender: Sender{Type: SenderBackend}}); err != nil {
			t.Error(err)
		}
	}
	<-done
}

// TestMux_OfClients: what a client has published reaches no handler that is
// registered for the portal's messages, also not the default one, and the
// portal's none of those for clients' messages.
func TestMux_OfClients(t *testing.T) {
	var got []string
	note := func(text string) HandlerFunc {
		return func(_ context.Context, m Message) error {
			got = append(got, fmt.Sprint(text, " ", m.Sender.Type))
			return nil
		}
	}
	mux := NewMux()
	mux.HandleMessage("crm", "order", note("order"))
	mux.HandleDefault(note("default"))
	send := func(h Handler) (handled []string) {
		got = nil
		for _, sender := range []SenderType{SenderBackend, SenderClient, SenderUnknown} {
			for _, command := range []string{"order", "other"} {
				if err := h.Handle(t.Context(), Message{Module: "crm", Command: command, Sender: Sender{Type: sender}}); err != nil {
					t.Error(err)
				}
			}
		}
		return got
	}
	want := func(h Handler, handled ...string) {
		t.Helper()
		if got := send(h); !slices.Equal(got, handled) {
			t.Errorf("handled %q, want %q", got, handled)
		}
	}
	want(mux, "order backend", "default backend")
	clients := mux.FromClients()
	if clients != mux.FromClients() || clients != clients.FromClients() {
		t.Error("there is more than one Mux of clients")
	}
	want(mux, "order backend", "default backend")
	want(clients)
	clients.HandleMessage("CRM", "order", note("published"))
	want(mux, "order backend", "default backend", "published client", "published unknown")
	want(clients, "published client", "published unknown")
	clients.HandleDefault(note("rest"))
	want(mux, "order backend", "default backend", "published client", "rest client", "published unknown", "rest unknown")
}

// TestMux_ForgedEvents: any client of a server that clients can publish on can
// send what looks like the portal's event.
func TestMux_ForgedEvents(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 5; version++ {
		for _, transport := range []Transport{TransportWebSocket, TransportLongPolling} {
			t.Run(fmt.Sprintf("version %d %v", version, transport), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open(pulltest.WithVersion(version))
					l.subscribe(nil, WithTransport(transport))
					mux := NewMux()
					var portals, clients []int
					On(mux, "application", "order.changed", func(_ context.Context, n numbered, m Message) error {
						portals = append(portals, n.N)
						return nil
					})
					On(mux.FromClients(), "application", "order.changed", func(_ context.Context, n numbered, m Message) error {
						if m.Sender.Type != SenderClient || m.Sender.ID == "" {
							t.Errorf("sender %+v", m.Sender)
						}
						clients = append(clients, n.N)
						return nil
					})
					l.run(mux.Handle)
					<-l.sub.Ready()
					m := pulltest.Message{Command: "order.changed", Params: numbered{1}}
					l.portal.Emit(m)
					var forged []int
					if version >= 4 {
						m.Params = numbered{2}
						l.portal.EmitAsClient(m)
						m.Params = "no number" // would end the run
						m.Command = "order.deleted"
						l.portal.EmitAsClient(m)
						forged = []int{2}
					}
					time.Sleep(time.Minute)
					synctest.Wait()
					if !slices.Equal(portals, []int{1}) || !slices.Equal(clients, forged) {
						t.Errorf("the portal's %v, clients' %v", portals, clients)
					}
				})
			})
		}
	}
}
