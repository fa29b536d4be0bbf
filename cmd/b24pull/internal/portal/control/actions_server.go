package control

import (
	"context"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// cut says which connections.
type cut struct {
	Transport string `json:"transport,omitempty" enum:"all,websockets,polls" doc:"all if absent."`
}

type counted struct {
	Connections int `json:"connections" doc:"How many there were."`
}

type closing struct {
	Code   int    `json:"code,omitempty" min:"1000" max:"4999" doc:"The close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999; 1000 if absent."`
	Reason string `json:"reason,omitempty" max:"123"`
}

// check refuses the codes that stand in no frame: of a close without a code, of
// a connection that is lost, and those that have no meaning.
func (c closing) check(*running) error {
	switch n := c.Code; {
	case n == 0, 1000 <= n && n <= 1003, 1007 <= n && n <= 1014, 3000 <= n:
		return nil
	}
	return badField("code", "%d may not be sent: give 1000 to 1003, 1007 to 1014 or 3000 to 4999", c.Code)
}

type restart struct {
	Down float64 `json:"down_seconds,omitempty" min:"0" max:"86400" doc:"How long new connections are reset."`
}

type shift struct {
	Shift float64 `json:"shift_seconds" required:"true" min:"-4e9" max:"4e9" doc:"How far they are ahead of the true time from now on; 0: they are right."`
}

type setBack struct {
	By uint64 `json:"by" required:"true" min:"1"`
}

type silence struct {
	Process int     `json:"process,omitempty" min:"0" doc:"A subscriber process, counted from 0."`
	Seconds float64 `json:"seconds" required:"true" min:"0" max:"86400"`
}

func (s silence) check(p *running) error {
	if n := p.spec.processes().Subscribers; s.Process >= n {
		return badField("process", "want less than %d: that many subscriber processes there are", n)
	}
	return nil
}

func serverEndpoints() []endpoint {
	return []endpoint{
		action("cut", "Resets the open connections of subscribers, without a close frame.",
			[]string{"Cut", "CutWebSockets", "CutPolls"},
			func(_ context.Context, p *running, in cut) (counted, error) {
				f := p.Cut
				switch in.Transport {
				case "websockets":
					f = p.CutWebSockets
				case "polls":
					f = p.CutPolls
				}
				n, err := f()
				return counted{n}, err
			}),
		action("close-websockets", "Sends every websocket a close frame.", []string{"CloseWebSockets"},
			func(_ context.Context, p *running, in closing) (counted, error) {
				if in.Code == 0 {
					in.Code = 1000
				}
				n, err := p.CloseWebSockets(in.Code, in.Reason)
				return counted{n}, err
			}),
		simple("ping", "Pings every websocket, as the push server's timers do.", []string{"Ping"},
			func(p *running, _ nothing) { p.Ping() }),
		action("restart", "Tells of a restart; 100 ms later all connections are cut and new ones reset for a while.", []string{"RestartServer"},
			func(_ context.Context, p *running, in restart) (nothing, error) {
				return nothing{}, p.RestartServer(seconds(in.Down))
			}),
		simple("clock", "Moves the clocks of the portal and its push server.", []string{"SetClock"},
			func(p *running, in shift) { p.SetClock(seconds(in.Shift)) }),
		simple("forget", "Loses the history; message ids begin anew with a later epoch.", []string{"Forget"},
			func(p *running, _ nothing) { p.Forget() }),
		simple("set-back", "Sets the counter of message ids back, as a restored backup does.", []string{"SetBack"},
			func(p *running, in setBack) { p.SetBack(in.By) }),
		action("reset", "Makes the portal as it was when it began, and cuts all connections. The log is emptied, but for the ends of these.", []string{"Reset"},
			func(_ context.Context, p *running, _ nothing) (nothing, error) {
				moment := time.Now()
				err := p.Reset()
				p.canned()
				p.journal.clear(moment)
				return nothing{}, err
			}),
		simple("silence", "Lets a subscriber process hear nothing for a time: it sends nothing live.", []string{"Silence"},
			func(p *running, in silence) { p.Silence(in.Process, seconds(in.Seconds)) }),
	}
}

type expire struct {
	to
	Action string `json:"action,omitempty" doc:"reconnect (if absent): the command names the new channel; get_config: it does not."`
}

type omit struct {
	to
	Count *int `json:"count,omitempty" min:"0" doc:"How many configs; all of them until told otherwise if absent; 0 ends it."`
}

func channelEndpoints() []endpoint {
	return []endpoint{
		simple("replace-channel", "Makes a new channel in place of the present one, without telling anyone.", []string{"ReplaceChannel"},
			func(p *running, in to) { p.ReplaceChannel(in.target()) }),
		action("expire-channel", "Replaces a channel and tells the old one by the command channel_expire.", []string{"ExpireChannel"},
			func(_ context.Context, p *running, in expire) (mid, error) {
				if in.Action == "" {
					in.Action = "reconnect"
				}
				return mid{p.ExpireChannel(in.target(), in.Action)}, nil
			}),
		action("retire-channel", "The same as the portal's agent does it, which names the wrong successor.", []string{"RetireChannel"},
			func(_ context.Context, p *running, in to) (mid, error) { return mid{p.RetireChannel(in.target())}, nil }),
		simple("omit-channel", "Leaves a channel out of the next configs.", []string{"OmitChannel"},
			func(p *running, in omit) {
				n := -1
				if in.Count != nil {
					n = *in.Count
				}
				p.OmitChannel(in.target(), n)
			}),
		action("expire-config", "Sends the command config_expire to the application's channels.", []string{"ExpireConfig"},
			func(_ context.Context, p *running, _ nothing) (mid, error) { return mid{p.ExpireConfig()}, nil }),
	}
}

// serviceNames are those of services, in the order of pulltest.
var serviceNames = []string{"rest", "websockets", "polls", "oauth", "publishing"}

var services = map[string]pulltest.Service{
	"rest":       pulltest.REST,
	"websockets": pulltest.WebSockets,
	"polls":      pulltest.Polls,
	"oauth":      pulltest.OAuth,
	"publishing": pulltest.Publishing,
}

// affected says which services.
type affected struct {
	Services []string `json:"services,omitempty" enum:"rest,websockets,polls,oauth,publishing" min:"1" max:"5" doc:"If absent all to which the fault means something, or that have one. rest: the portal's methods; oauth: the authorization server; publishing: what clients send to the push server."`
}

func (a affected) set() (set pulltest.Service) {
	names := a.Services
	if len(names) == 0 {
		names = serviceNames
	}
	for _, name := range names {
		set |= services[name]
	}
	return set
}
