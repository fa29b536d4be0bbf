package pulltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// restartNotice is the time between the command server_restart and the restart.
const restartNotice = 100 * time.Millisecond

// name is the book's name of a target's channel. It panics at a user that there
// is not.
func (o *options) name(to Target) channelName {
	user := to.user()
	if user == 0 {
		user = o.first()
	}
	o.mustKnow(user)
	switch to.kind() {
	case Shared:
		return channelName{owner: ofApplication}
	case UserPrivate:
		return channelName{ofPortal, user}
	case UserShared:
		return channelName{owner: ofPortal}
	}
	return channelName{ofApplication, user}
}

// keys are the ids of a target's channel that a message goes to.
func (to Target) keys(c portalChannel) []channelKey {
	if to.kind() == Both {
		return c.keys()
	}
	return c.keys()[:1]
}

// replace makes a new channel in place of a target's present one.
func (b *configBook) replace(to Target) (old, fresh portalChannel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.opts.name(to)
	old = *b.living(name)
	return old, *b.renew(name)
}

// ReplaceChannel makes a new channel in place of the present one, at once and
// without telling anyone: the config names the new one, and what is emitted
// from now on goes there. The push server goes on serving the old one.
func (p *Portal) ReplaceChannel(to Target) { p.config.replace(to) }

// OmitChannel makes the next n configs that would name a target's channel lack
// it, all of them if n is negative, until OmitChannel is called with 0: as a
// portal does that has not got its lock in time, which happens when channels
// are replaced, or one whose user is not active. The channel itself goes on. A
// config without any channel has PHP's empty array, [], in their place.
func (p *Portal) OmitChannel(to Target, n int) {
	p.config.mu.Lock()
	defer p.config.mu.Unlock()
	p.config.omitted[p.opts.name(to)] = n
}

// omits reports whether the config being made is to lack a channel.
func (b *configBook) omits(name channelName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.omitted[name]
	if n > 0 {
		b.omitted[name]--
	}
	return n != 0
}

// EmitOld is [Portal.Emit] to the channel that was there before the present
// one, as by a portal process that has not noticed yet. It panics if the
// channel of m.To was never replaced.
func (p *Portal) EmitOld(m Message) (mid string) {
	old := p.config.former(p.opts.name(m.target()))
	if old == nil {
		panic("pulltest: EmitOld to a channel that was never replaced")
	}
	return p.emit(m, m.target().keys(*old))
}

// RetireChannel is [Portal.ExpireChannel] as the portal's agent has it, which
// deletes old channels: the new channel that the command names is always the
// portal's own shared one, the one of UserShared, whatever channel has ended.
func (p *Portal) RetireChannel(to Target) (mid string) {
	old, _ := p.config.replace(to)
	foreign := p.config.shared(ofPortal)
	return p.command("channel_expire", channelExpire{
		Action:     "reconnect",
		Channel:    expiredChannel{old.channelID.private, p.typeOf(to, true)},
		NewChannel: &newChannel{p.config.describe(foreign, "shared"), foreign.start.Unix()},
	}, old.keys()[:1])
}

// typeOf is the type of a target's channel as commands have it. Portals that
// name the successor of an application's private channel call it private.
func (p *Portal) typeOf(to Target, reconnect bool) string {
	name := p.opts.name(to)
	switch private := name.user != 0; {
	case name.owner == ofApplication && !(private && reconnect):
		return p.opts.application.ClientID
	case private:
		return "private"
	default:
		return "shared"
	}
}

// ExpireChannel is [Portal.ReplaceChannel], and tells the old channel by the
// command channel_expire, whose mid it returns. With the action "reconnect" the
// command names the new channel; with any other, such as "get_config", only that
// of the application's shared channel does.
//
// As from real portals, the type of the application's channels is the
// application's client id there, but for a private one with a successor, and the
// start of a shared new channel is a Unix integer.
func (p *Portal) ExpireChannel(to Target, action string) (mid string) {
	old, fresh := p.config.replace(to)
	kind, start := "shared", any(fresh.start.Unix())
	if old.name.user != 0 {
		kind, start = "private", fresh.start.In(portalZone).Format(atomTime)
	}
	params := channelExpire{Action: action, Channel: expiredChannel{old.channelID.private, p.typeOf(to, action == "reconnect")}}
	if action == "reconnect" || to.kind() == Shared {
		params.NewChannel = &newChannel{p.config.describe(fresh, kind), start}
	}
	return p.command("channel_expire", params, old.keys()[:1])
}

type channelExpire struct {
	Action     string         `json:"action"`
	Channel    expiredChannel `json:"channel"`
	NewChannel *newChannel    `json:"new_channel,omitempty"`
}

type expiredChannel struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

type newChannel struct {
	configChannel
	Start any `json:"start"`
}

// ExpireConfig sends the command config_expire to the application's private
// and shared channel, as one message with one mid, which it returns; in version
// 1 each channel gets a message of its own.
func (p *Portal) ExpireConfig() (mid string) {
	return p.command("config_expire", nil, append(p.receivers(Private), p.receivers(Shared)...))
}

// RestartServer sends the command server_restart to every channel a config
// names. 100 ms later the push server cuts all connections and resets every
// new one for the time down, also those that only publish; history and message
// ids survive. REST goes on, and what is emitted meanwhile is kept. It returns
// an error if there are open connections that it will not be able to cut; see
// [Portal.Cut].
func (p *Portal) RestartServer(down time.Duration) error {
	all := append(p.receivers(Shared), p.receivers(UserShared)...)
	for _, user := range p.opts.users {
		all = append(all, p.receivers(Private.Of(user.ID))...)
		all = append(all, p.receivers(UserPrivate.Of(user.ID))...)
	}
	p.command("server_restart", nil, all)
	h := p.push.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.later(restartNotice, func() {
		h.down++
		h.cutSockets("restart")
		h.cutPolls("restart")
		h.later(down, func() { h.down-- })
	})
	return errHidden("RestartServer", h.hiddenPolls())
}

// Control sends a command of the module pull, as the portal itself does, and
// returns its mid. It panics if params cannot be marshalled.
func (p *Portal) Control(command string, params any, to Target) (mid string) {
	return p.command(command, params, p.receivers(to))
}

func (p *Portal) command(command string, params any, receivers []channelKey) string {
	return p.emit(Message{Module: "pull", Command: command, Params: params}, receivers)
}

// EmitAsClient publishes a message as another client does, that of user m.From,
// or else the second user, or the first where there is no other: the frame names
// that user's public id as its sender, the body has no extra, and it goes to the
// public id of the private channel of m.To. It panics if that channel has no
// public id, as shared ones have none, nor any below version 4, or if there is no
// such user.
func (p *Portal) EmitAsClient(m Message) (mid string) {
	name := p.opts.name(m.target())
	to := p.config.channel(name)
	sender := cmp.Or(m.From, p.opts.other())
	p.opts.mustKnow(sender)
	from := p.config.private(name.owner, sender)
	if to.public == "" || from.public == "" {
		panic("pulltest: EmitAsClient to a channel without a public id")
	}
	key := channelKey{to.public, false}
	return p.push.hub.publishWith(m.extras(), []channelKey{key}, clientBody(m), m.keep(), publisher{publicID: from.public}.sender(), true)
}

func clientBody(m Message) string {
	if m.Body != "" {
		return m.Body
	}
	body := map[string]any{"module_id": "application", "command": m.Command, "params": []any{}}
	if m.Module != "" {
		body["module_id"] = m.Module
	}
	if m.Params != nil {
		body["params"] = m.Params
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("pulltest: the params of %q are no JSON: %v", m.Command, err))
	}
	return string(data)
}
