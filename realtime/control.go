package realtime

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Commands of the push server to its clients, of module pull. They are carried
// out, not delivered: they hold channel ids. Only the portal's own word is one;
// what another client has published is a message like any other.
const (
	controlModule  = "pull"
	channelExpire  = "channel_expire"
	configExpire   = "config_expire"
	serverRestart  = "server_restart"
	reconnectByNew = "reconnect"
)

// controlAfter and controlSpread are the delay before a config that has expired
// is fetched, as documented.
const (
	controlAfter  = 10 * time.Second
	controlSpread = 110 * time.Second
)

func isControl(m delivery.Message) bool {
	if m.Module != controlModule || m.Sender.Type != wire.SenderBackend {
		return false
	}
	switch m.Command {
	case channelExpire, configExpire, serverRestart, "open", "open_exists", "reopen":
		return true
	}
	return false
}

// controlCommand is a control command, decoded.
type controlCommand struct {
	command string
	channel string           // channel_expire: the private id of what has ended; "" if it was not said
	kind    string           // its type
	next    *b24pull.Channel // what takes its place; nil: ask for the config
}

func decodeControl(m delivery.Message) controlCommand {
	o := controlCommand{command: m.Command}
	if m.Command != channelExpire {
		return o
	}
	type expired struct {
		Action  string          `json:"action"`
		Channel json.RawMessage `json:"channel"`
		New     json.RawMessage `json:"new_channel"`
	}
	p, err := Decode[expired](messageOf(&m, nil))
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

// replaced is the config with the new channel in place of the one that has
// ended, nil if the config is to be asked for: where a token names the
// channels, and where the new channel may not be what it looks like. The
// portal's agent, which deletes old channels, names the portal's own shared
// channel as the successor of any, also of an application's, whose type is the
// application's id then. So both have to be of one type, private or shared.
func (o controlCommand) replaced(cfg *b24pull.Config) *b24pull.Config {
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

func (o controlCommand) names(c *b24pull.Channel) bool {
	return c != nil && o.channel != "" && privateID(string(c.ID)) == o.channel
}

// concerns reports whether the channel that has ended is one of a config's.
func (o controlCommand) concerns(cfg *b24pull.Config) bool {
	return o.channel == "" || o.names(cfg.Channels.Private) || o.names(cfg.Channels.Shared)
}

// maxEnded is how many channels that have ended are kept in mind. More of them
// have the config fetched, whatever they are.
const maxEnded = 8

// controlCommands is what the server has ordered, until it is done. Whatever
// their number, the config is fetched for them, and channels are replaced, at a
// waning pace.
type controlCommands struct {
	ended   []controlCommand // channel_expire, each channel once
	more    bool             // there were others
	named   []string         // private ids of successors that were not gone over to
	unnamed bool             // there were others
	fetches waning
	private waning // replacements without a fetch
	shared  waning
}

// take keeps a command in mind. The last one about a channel counts.
func (o *controlCommands) take(next controlCommand) {
	for i, old := range o.ended {
		if old.channel != next.channel || old.kind != next.kind {
			continue
		}
		if old.next != nil && (next.next == nil || next.next.ID != old.next.ID) {
			o.skip(old.next)
		}
		o.ended[i] = next
		return
	}
	if len(o.ended) >= maxEnded {
		o.more, o.unnamed = true, true // it may have named a successor
		return
	}
	o.ended = append(o.ended, next)
}

// ready reports whether a command may be carried out at once.
func (o *controlCommands) ready(now time.Time) bool {
	return !now.Before(o.fetches.next()) || !now.Before(o.private.next()) || !now.Before(o.shared.next())
}

// skip keeps in mind that a successor is not gone over to, since they follow
// each other too fast.
func (o *controlCommands) skip(next *b24pull.Channel) {
	id := privateID(string(next.ID))
	switch {
	case slices.Contains(o.named, id):
	case len(o.named) >= maxEnded:
		o.unnamed = true
	default:
		o.named = append(o.named, id)
	}
}

// takeControl notes a control command; it is carried out when the batch that it
// came with has been gone through. What comes over replaced channels concerns
// nobody any more, unless it names one that is still in use.
func (l *loop) takeControl(s *delivery.History, m delivery.Message) (ours, settled bool) {
	if !isControl(m) {
		return false, false
	}
	return true, l.noteControl(s, m)
}

func (l *loop) noteControl(s *delivery.History, m delivery.Message) bool {
	foreign := s != l.main.history && s != l.latest().history
	switch m.Command {
	case configExpire, serverRestart:
		if foreign {
			return false
		}
		l.anew(m.Command == serverRestart, time.Now())
	case channelExpire:
		if l.commands.more { // there is nothing to learn from another one
			return !foreign
		}
		o := decodeControl(m)
		if o.channel == "" && foreign {
			return false
		}
		l.commands.take(o)
		if l.commands.ready(time.Now()) {
			l.expectMore()
		}
	default:
		return !foreign
	}
	return true
}

// anew has the config fetched in a while, and connected to anew, unless it is
// to be already.
func (l *loop) anew(restart bool, now time.Time) {
	r := &l.renewal
	if r.anew && (r.fetching || l.timers.armed(timerRenew)) {
		return
	}
	l.log.Debug("control", "command", configExpire, "restart", restart)
	r.reason, r.anew, r.checks = RenewConfigExpired, true, false
	if restart {
		r.reason = RenewServerRestarted
	}
	at := now.Add(controlAfter + rand.N(controlSpread))
	if next := l.commands.fetches.next(); at.Before(next) {
		at = next
	}
	if due := l.timers.at(timerRenew); due.IsZero() || at.Before(due) {
		l.timers.arm(timerRenew, at)
	}
}

// handleControl goes over to the successors of channels that have ended, or has
// the config fetched. The end of a channel that is not in use may be that of one
// which a config under way brings: a token stands for channels that the config
// beside it lacks.
func (l *loop) handleControl(now time.Time) {
	o := &l.commands
	if len(o.ended) == 0 && !o.more {
		return
	}
	ended := o.ended
	o.ended = nil
	for _, e := range ended {
		waits := l.renewal.fetching // what comes may have been made before, and name the channel
		if e.concerns(l.latest().config) {
			waits = !l.succeed(e, now)
		}
		if waits {
			o.ended = append(o.ended, e)
		}
	}
	at := o.fetches.next()
	switch {
	case len(o.ended) == 0 && !o.more:
		l.timers.disarm(timerControl)
	case l.renewal.fetching: // then it is seen what is left
		l.timers.disarm(timerControl)
		return
	case now.Before(at):
		l.timers.arm(timerControl, at)
	default:
		l.timers.disarm(timerControl)
		o.ended, o.more = nil, false
		o.fetches.note(now)
		l.log.Debug("control", "command", channelExpire)
		l.renewal.reason = RenewChannelExpired
		l.fetch(false)
		return
	}
	if !l.replayPending() {
		l.dedup.Reorder.Release()
	}
}

// succeed goes over to the successor of a channel, if the command says all
// there is to know and it is not too soon.
func (l *loop) succeed(e controlCommand, now time.Time) bool {
	cfg := e.replaced(l.latest().config)
	if cfg == nil {
		return false
	}
	pace := &l.commands.private
	if strings.EqualFold(e.next.Type, typeShared) {
		pace = &l.commands.shared
	}
	ep, err := l.opts.endpoint(cfg)
	switch {
	case err != nil:
		return false
	case holds(l.latest().config.Channels, e.next): // told twice
		return true
	case now.Before(pace.next()):
		l.commands.skip(e.next)
		return false
	}
	pace.note(now)
	l.log.Debug("control", "command", channelExpire, "replaced", true)
	l.renewal.again = l.renewal.fetching
	l.adopt(cfg, ep, RenewChannelExpired, false)
	if _, fixed := l.source.(fixedConfig); !fixed && !l.timers.armed(timerCheck) {
		l.timers.arm(timerCheck, now.Add(controlAfter+rand.N(controlSpread)))
	}
	return true
}

// check asks the portal for the config some time after channels have been gone
// over to that a command has named: the server's word alone is not taken for
// long, since on false channels nothing would come.
func (l *loop) check(now time.Time) {
	if at := l.commands.fetches.next(); now.Before(at) {
		l.timers.arm(timerCheck, at)
		return
	}
	if l.renewal.fetching || l.renewal.reason != 0 { // then it is seen
		return
	}
	l.commands.fetches.note(now)
	l.renewal.reason, l.renewal.checks = RenewChannelExpired, true
	l.fetch(false)
}

// skipped tells of successors that were not gone over to, where a config has
// come that does not name them: what was sent to them is lost.
func (l *loop) skipped() {
	o := &l.commands
	missed := o.unnamed
	for _, id := range o.named {
		listened := false
		for _, s := range l.connections() {
			listened = listened || slices.ContainsFunc(config.Channels(s.config.Channels), func(c *b24pull.Channel) bool { return privateID(string(c.ID)) == id })
		}
		missed = missed || !listened
	}
	o.named, o.unnamed = nil, false
	if missed {
		l.gap(GapChannelReplaced, nil)
	}
}
