package control

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// mid is the id of a message that was published.
type mid struct {
	Mid string `json:"mid" doc:"The message's id."`
}

// message is [pulltest.Message] as JSON.
type message struct {
	to
	Module     string          `json:"module,omitempty" doc:"module_id; application if absent."`
	Command    string          `json:"command,omitempty" doc:"Names the event."`
	Params     json.RawMessage `json:"params,omitempty" doc:"Any JSON; [] if absent, as PHP's empty array."`
	Expiry     *float64        `json:"expiry_seconds,omitempty" min:"0" max:"86400" doc:"How long it is kept; 0: not at all; 86400 if absent."`
	Body       string          `json:"body,omitempty" doc:"The whole body as it is, in place of module, command and params."`
	UserParams json.RawMessage `json:"user_params,omitempty" doc:"Extra of version 5, beside the body."`
	Dictionary json.RawMessage `json:"dictionary,omitempty" doc:"Extra of version 5, beside the body."`
}

// emit is what to publish.
type emit struct {
	message
	Wait     float64 `json:"wait_seconds,omitempty" min:"0" max:"60" doc:"How long to wait at most until everybody who listens has been sent it; not at all if absent."`
	AsClient bool    `json:"as_client,omitempty" doc:"Publish as another client does, the second user's (from version 4 on)."`
	From     int     `json:"from,omitempty" min:"1" doc:"With as_client, the user whose client publishes; the second user if absent."`
	Old      bool    `json:"old,omitempty" doc:"Publish to the channel that was there before the present one."`
}

// pulltest is the same for that package.
func (e *message) pulltest() pulltest.Message {
	m := pulltest.Message{Module: e.Module, Command: e.Command, Body: e.Body, To: e.target()}
	// A nil json.RawMessage within an any would not be nil.
	for _, part := range []struct {
		from json.RawMessage
		to   *any
	}{{e.Params, &m.Params}, {e.UserParams, &m.UserParams}, {e.Dictionary, &m.Dictionary}} {
		if part.from != nil {
			*part.to = part.from
		}
	}
	switch {
	case e.Expiry == nil:
	case *e.Expiry == 0:
		m.Expiry = -time.Second
	default:
		m.Expiry = seconds(*e.Expiry)
	}
	return m
}

// check is what the tags cannot say. Path is where the message stands.
func (e *message) check(path string) error {
	switch {
	case e.Command == "" && e.Body == "":
		return badField(join(path, "command"), "is missing: give a command, or the whole body in its place")
	case e.Body != "" && (e.Command != "" || e.Module != "" || e.Params != nil):
		return badField(join(path, "body"), "takes the place of module, command and params: give it, or those")
	}
	return e.to.checkShared(path)
}

func (e emit) check(p *running) error {
	if err := e.message.check(""); err != nil {
		return err
	}
	switch {
	case e.Wait > 0 && (e.AsClient || e.Old):
		return badField("wait_seconds", "does not go together with as_client and old")
	case e.From != 0 && !e.AsClient:
		return badField("from", "is the user whose client publishes: it needs as_client")
	case e.AsClient && e.Old:
		return badField("old", "does not go together with as_client")
	case e.AsClient && p.spec.version() < 4:
		return badField("as_client", "clients publish from version 4 of the push server on")
	}
	if e.From != 0 {
		if err := p.checkUser("from", e.From); err != nil {
			return err
		}
	}
	return e.to.check(p)
}

// command is a control command.
type command struct {
	to
	Command string          `json:"command" required:"true" min:"1" doc:"Such as channel_expire."`
	Params  json.RawMessage `json:"params,omitempty" doc:"Any JSON; [] if absent."`
}

// emitAndWait publishes a message, and waits until it has been sent.
func emitAndWait(ctx context.Context, p *running, in emit) (mid, error) {
	ctx, cancel := context.WithTimeout(ctx, seconds(in.Wait))
	defer cancel()
	id, err := p.EmitAndWait(ctx, in.message.pulltest())
	if err != nil {
		err = refuse(http.StatusGatewayTimeout, "not_sent", "message %s is published, but %s", id, strings.TrimPrefix(err.Error(), "pulltest: EmitAndWait: "))
	}
	return mid{id}, err
}

func messageEndpoints() []endpoint {
	return []endpoint{
		action("emit", "Publishes a message, as the portal itself does or as another client.",
			[]string{"Emit", "EmitAndWait", "EmitAsClient", "EmitOld"},
			func(ctx context.Context, p *running, in emit) (mid, error) {
				publish := p.Emit
				switch {
				case in.Wait > 0:
					return emitAndWait(ctx, p, in)
				case in.AsClient:
					publish = p.EmitAsClient
				case in.Old:
					publish = p.EmitOld
				}
				m := in.message.pulltest()
				m.From = in.From
				return mid{publish(m)}, nil
			}),
		action("control", "Sends a command of the module pull, as the portal itself does.", []string{"Control"},
			func(_ context.Context, p *running, in command) (mid, error) {
				var params any = []any{}
				if in.Params != nil {
					params = in.Params
				}
				return mid{p.Control(in.Command, params, in.target())}, nil
			}),
	}
}
