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
