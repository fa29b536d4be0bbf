package realtime

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
)

// Commands of the push server to its clients, of module pull. They are obeyed, not delivered: they hold channel
// ids. Only the portal's own word is one; what another client has published is a message like any other.
const (
	controlModule  = "pull"
	channelExpire  = "channel_expire"
	configExpire   = "config_expire"
	serverRestart  = "server_restart"
	reconnectByNew = "reconnect"
)

// obeyAfter and obeySpread are the delay before a config that has expired is fetched, as documented.
const (
	obeyAfter  = 10 * time.Second
	obeySpread = 110 * time.Second
)

func isControl(m Message) bool {
	if m.Module != controlModule || m.Sender.Type != SenderBackend {
		return false
	}
	switch m.Command {
	case channelExpire, configExpire, serverRestart, "open", "open_exists", "reopen":
		return true
	}
	return false
}

// order is a control command, decoded.
type order struct {
	command string
	channel string           // channel_expire: the private id of what has ended; "" if it was not said
	kind    string           // its type
	next    *b24pull.Channel // what takes its place; nil: ask for the config
}

func decodeOrder(m Message) order {
	o := order{command: m.Command}
	if m.Command != channelExpire {
		return o
	}
	type expired struct {
		Action  string          `json:"action"`
		Channel json.RawMessage `json:"channel"`
		New     json.RawMessage `json:"new_channel"`
	}
	p, err := Decode[expired](m)
	if err != nil {
		return o
	}
	var channel struct{ ID, Type string }
	if json.Unmarshal(p.Channel, &channel) == nil {
		o.channel, o.kind = privateID(channel.ID), channel.Type
	}
	next := new(b24pull.Channel)
	if p.Action == reconnectByNew && len(p.New) > 0 && next.UnmarshalJSON(p.New) == nil {
		o.next = next
	}
	return o
}

// replaced is the config with the new channel in place of the one that has ended, nil if the config is to be asked for:
// where a token names the channels, and where the new channel may not be what it looks like. The portal's agent, which
// deletes old channels, names the portal's own shared channel as the successor of any, also of an application's, whose
// type is the application's id then. So both have to be of one type, private or shared.
func (o order) replaced(cfg *b24pull.Config) *b24pull.Config {
	if o.next == nil || cfg.JWT != "" {
		return nil
	}
	changed := *cfg
	kind, next := strings.ToLower(o.kind), strings.ToLower(o.next.Type)
	switch {
	case kind == "" && next == typePrivate, kind == typePrivate && next == typePrivate:
		if c := cfg.Channels.Private; c == nil || o.channel != "" && !o.names(c) {
			return nil
		}
		changed.Channels.Private = o.next
	case kind == typeShared && next == typeShared:
		if c := cfg.Channels.Shared; c == nil || o.channel != "" && !o.names(c) {
			return nil
		}
		changed.Channels.Shared = o.next
	default:
		return nil
	}
	return &changed
}

// Types of channels.
const (
	typePrivate = "private"
	typeShared  = "shared"
)

func (o order) names(c *b24pull.Channel) bool {
	return c != nil && o.channel != "" && privateID(string(c.ID)) == o.channel
}

// concerns tells whether the channel that has ended is one of a config's.
func (o order) concerns(cfg *b24pull.Config) bool {
	return o.channel == "" || o.names(cfg.Channels.Private) || o.names(cfg.Channels.Shared)
}

// takeOrder notes a control command; it is obeyed when the batch that it came with has been gone through. What comes
// over replaced channels concerns nobody any more, unless it names one that is still in use.
func (l *loop) takeOrder(s *session, m Message) bool {
	o := decodeOrder(m)
	if o.channel == "" && s != l.main.session && s != l.latest().session {
		return false
	}
	l.orders = append(l.orders, o)
	if o.command == channelExpire {
		l.expectMore()
	}
	return true
}

// execute obeys a control command.
func (l *loop) execute(o order) {
	latest := l.latest()
	l.log.Debug("control", "command", quote.Name(o.command))
	switch o.command {
	case channelExpire:
		if !o.concerns(latest.config) {
			if !l.owed() {
				l.memory.order.release()
			}
			return
		}
		if cfg := o.replaced(latest.config); cfg != nil {
			if ep, err := l.opts.endpoint(cfg); err == nil {
				l.renewal.again = l.renewal.fetching
				l.adopt(cfg, ep, RenewChannelExpired, false)
				return
			}
		}
		l.renewal.reason = RenewChannelExpired
		l.fetch(false)
	case configExpire, serverRestart:
		l.renewal.reason, l.renewal.anew = RenewConfigExpired, true
		if o.command == serverRestart {
			l.renewal.reason = RenewServerRestarted
		}
		at := time.Now().Add(obeyAfter + rand.N(obeySpread))
		if due := l.timers[timerRenew]; due.IsZero() || at.Before(due) {
			l.timers.arm(timerRenew, at)
		}
	}
}
