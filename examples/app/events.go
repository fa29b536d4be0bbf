package main

import (
	"context"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// hello is an event of the application's own. Others carry what the application
// needs.
type hello struct {
	Text string `json:"text"`
}

const helloCommand = "app.hello"

// greet has the portal send the event to all who use the application.
func (p *portal) greet(ctx context.Context, text string) error {
	return p.client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: helloCommand, Params: hello{text}})
}

// events is what the application does with the events of a portal. One that
// fails is logged and skipped.
func (p *portal) events() realtime.Handler {
	mux := realtime.NewMux()
	realtime.On(mux, "application", helloCommand, func(_ context.Context, h hello, _ realtime.Message) error {
		p.say("event %s: %q", helloCommand, h.Text)
		if p.app.heard != nil {
			p.app.heard(helloCommand)
		}
		return nil
	})
	mux.HandleDefault(realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		p.say("event %q of module %q", m.Command, m.Module)
		return nil
	}))
	return mux
}
