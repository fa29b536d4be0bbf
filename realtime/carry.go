package realtime

import (
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/config"
)

const (
	// missingFirst and missingLast bound the delay before a config that lacks a
	// channel is asked for again: a portal leaves one out that has not got its
	// lock within two seconds, and one whose user is not active.
	missingFirst = 2 * time.Second
	missingLast  = 10 * time.Minute
	// neededFor is how long replaced channels are listened to at the most whose
	// successor is missing: longer than they live.
	neededFor = 24 * time.Hour
	// missingAtStart is how often the first config is asked for again that
	// lacks a kind of channel, before it is taken.
	missingAtStart = 2
)

// missing is what configs have had and the latest one lacks.
type missing struct {
	private, shared bool // kinds of channel that there have been
	asked           int  // configs in a row that lacked one of them; 0: nothing is missing

	first   *b24pull.Config // was given at the start, and lacks a kind of channel
	another int             // times that it has been asked for again
}

// lacking reports whether channels lack a kind that there has been.
func (m *missing) lacking(channels b24pull.Channels) bool {
	return m.private && !has(channels.Private) || m.shared && !has(channels.Shared)
}

// note takes a config into account. Only one that lacks nothing ends the
// asking.
func (m *missing) note(channels b24pull.Channels, lacks bool) {
	m.private = m.private || has(channels.Private)
	m.shared = m.shared || has(channels.Shared)
	if m.asked++; !lacks {
		m.asked = 0
	}
}

func has(c *b24pull.Channel) bool { return c != nil && c.ID != "" }

// delay is how long from now a config is asked for again.
func (m *missing) delay() time.Duration {
	return spread(min(missingFirst<<min(max(m.asked, 1)-1, 16), missingLast))
}

// carryOver gives a config the channels that it lacks and the one before has,
// for as long as they live: nothing says that they have ended. There is nothing
// to carry over where the server is another one, or has just refused those
// channels.
func carryOver(cfg, before *b24pull.Config) *b24pull.Config {
	carried := *cfg
	carry := func(to **b24pull.Channel, from *b24pull.Channel) {
		if !has(*to) && has(from) && time.Now().Add(cfg.ClockShift()).Before(from.End) {
			*to = from
		}
	}
	carry(&carried.Channels.Private, before.Channels.Private)
	carry(&carried.Channels.Shared, before.Channels.Shared)
	return &carried
}

// complete makes the endpoint of a config, and reports whether the config lacks
// channels. It is given what it lacks from the latest config.
func (l *loop) complete(cfg *b24pull.Config) (_ *b24pull.Config, ep endpoint, lacks bool, err error) {
	latest := l.latest()
	if cfg != nil && latest.config != nil && l.missing.lacking(cfg.Channels) && l.renewal.reason != RenewRefused {
		carried := carryOver(cfg, latest.config)
		ep, err = l.opts.endpoint(carried)
		own := endpoint{dialect: ep.dialect, server: ep.server, channels: channelTypes(cfg.Channels)}
		if err == nil && own.continues(&latest.endpoint) {
			return carried, ep, true, nil
		}
	}
	ep, err = l.opts.endpoint(cfg)
	return cfg, ep, err == nil && l.missing.lacking(cfg.Channels), err
}

// begins reports whether a config is one to begin with. The first one may have
// been made while a portal renews its channels, and nobody would look for the
// channel that it lacks: it is asked for again.
func (l *loop) begins(cfg *b24pull.Config) bool {
	m := &l.missing
	_, fixed := l.source.(fixedConfig)
	if fixed || m.another >= missingAtStart || has(cfg.Channels.Private) && has(cfg.Channels.Shared) {
		m.first = nil
		return true
	}
	m.another++
	m.first = cfg
	delay := spread(missingFirst * time.Duration(m.another))
	l.timers.arm(timerRenew, time.Now().Add(delay))
	l.log.Info("first config lacks a channel", "delay", delay)
	return false
}

// askAgain asks for a config soon, where the latest one lacks something.
func (l *loop) askAgain() {
	l.log.Info("config lacks a channel", "asked", l.missing.asked)
	at := time.Now().Add(l.missing.delay())
	if due := l.timers.at(timerRenew); due.IsZero() || at.Before(due) {
		l.timers.arm(timerRenew, at)
	}
}

// covered reports whether a config in which a token names the channels brings
// nothing that the latest one has not: then that goes on, whose token may name
// more.
func (l *loop) covered(cfg *b24pull.Config) bool {
	latest := l.latest()
	if cfg.JWT == "" || l.ends(latest.config).Before(time.Now().Add(renewTail)) {
		return false
	}
	for _, c := range config.Channels(cfg.Channels) {
		if !holds(latest.config.Channels, c) {
			return false
		}
	}
	return true
}

// need has replaced channels listened to on, since a token names them and the
// one of the connection that has replaced them does not; nothing is needed any
// more where that connection lacks nothing.
func (l *loop) need(old *connection) {
	if !l.main.lacks {
		for _, s := range l.replaced {
			if s.status.needed {
				s.status.needed = false
				s.timers.arm(timerLeave, time.Now().Add(leaveAfter))
			}
		}
		return
	}
	if !old.lacks && old.config.JWT != "" {
		old.status.needed = true
	}
}
