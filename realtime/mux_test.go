package realtime

import (
	"context"
	"fmt"
	"strings"
	"testing"
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
		return mux.Handle(t.Context(), Message{Module: module, Command: command, Params: []byte(params)})
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
