package realtime

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// leaveAfter is how long replaced channels are listened to at the least,
	// and leaveMax at the most.
	leaveAfter = 15 * time.Second
	leaveMax   = 15 * time.Minute
	// maxReplaced is how many connections of replaced channels there are at a
	// time.
	maxReplaced = 24
	// clockSlack is how much earlier than it says a channel is taken to have
	// begun.
	clockSlack = 30 * time.Second
	// returnAfter and returnSpread are the delay before websockets are tried
	// again.
	returnAfter  = 10 * time.Minute
	returnSpread = 20 * time.Minute
)

// latest is the connection of the latest config.
func (l *loop) latest() *connection {
	if l.next != nil {
		return l.next
	}
	return l.main
}

// giveUpNext: what was to take the main connection's place is overtaken by
// another. What its channels hold is read all the same.
func (l *loop) giveUpNext() {
	next := l.next
	switch {
	case next == nil:
	case next.history == l.main.history:
		l.remove(next, nil)
	default:
		l.next = nil
		l.replaced = append(l.replaced, next)
		l.handle(next, event{kind: evReplaced}, nil)
		next.timers.arm(timerLeave, time.Now().Add(leaveAfter))
		l.leaveOldest()
	}
}

// leaveOldest gives up replaced channels at once, where there are too many.
func (l *loop) leaveOldest() {
	for len(l.replaced) > maxReplaced {
		l.gap(GapChannelReplaced, nil)
		l.handle(l.replaced[0], event{kind: evStop}, nil)
	}
}

// assume gives a connection its config.
func (s *connection) assume(cfg *b24pull.Config, ep endpoint, wanted Transport) {
	s.config, s.endpoint = cfg, ep
	s.polls, s.overtaken = pollPace, overtakenPace
	s.history.Tags, s.history.Stamped = ep.dialect == wire.DialectTags, ep.dialect == wire.DialectProtobuf
	s.history.Undated = ep.dialect == wire.DialectRPC
	s.history.SetClockShift(cfg.ClockShift())
	s.status.auto = wanted == TransportAuto && ep.socket.URL != "" && ep.poll.URL != ""
	s.status.polling = wanted == TransportLongPolling || ep.socket.URL == ""
	s.history.Hangs = s.status.polling
}

// replace makes the connection of a new config. It takes the place of the main
// one once it is connected, or at once if that is not.
func (l *loop) replace(cfg *b24pull.Config, ep endpoint, reason RenewReason) {
	now := time.Now()
	next := &connection{}
	switch main := l.main; {
	case main.endpoint.same(&ep):
		next.history = main.history
	case main.endpoint.continues(&ep):
		since := newest(cfg.Channels, main.config.Channels)
		if !since.IsZero() {
			since = since.Add(-cfg.ClockShift() - clockSlack)
		}
		var covered bool
		next.history, covered = main.history.Successor(since, now)
		if !covered || overlooked(main.config.Channels.Private, cfg.Channels.Private) || overlooked(main.config.Channels.Shared, cfg.Channels.Shared) {
			l.gap(GapChannelReplaced, nil)
		}
		if goOn(main.config.Channels, cfg.Channels) {
			next.history.Keeps(main.history)
		}
		l.expectMore()
	default:
		next.history = l.dedup.AddHistory(wire.Mid{}, main.history.Anchored)
		next.history.Settle = l.opts.settle
		l.dedup.AnotherServer()
		l.gap(GapServerChanged, nil)
	}
	next.assume(cfg, ep, l.opts.transport)
	next.status.anchored = next.history.Anchored
	next.status.sure = l.main.status.sure
	next.way, next.unread, next.believed, next.unanswered = l.main.way, l.main.unread, l.main.believed, l.main.unanswered
	if next.status.auto {
		next.status.polling, next.status.preferPolling = l.main.status.polling, l.main.status.preferPolling
	}
	next.reason, next.lacks = reason, l.missing.asked > 0
	next.status.state = StateConfiguring
	l.next = next
	switch l.main.status.state {
	case StateLive:
		l.handle(next, event{kind: evConfig}, nil)
	case StatePaused:
		next.status.state, next.status.configured = StatePaused, true
		room := l.main.status.replay != replayIdle // that was told, and is not told again
		l.promote()
		if room {
			l.handle(next, event{kind: evRoom}, nil)
		}
	default:
		next.status.attempt = l.main.status.attempt
		l.promote()
		l.handle(next, event{kind: evConfig}, nil)
	}
}

// expectMore has messages wait: what comes from now on may be preceded by what
// new channels hold.
func (l *loop) expectMore() {
	l.dedup.Reorder.Hold()
	l.dedup.Reorder.Partial = true
}

// goOn reports whether channels are among those that replace them.
func goOn(before, channels b24pull.Channels) bool {
	return !slices.ContainsFunc(config.Channels(before), func(c *b24pull.Channel) bool { return !holds(channels, c) })
}

// newest is when the first of the channels began that were not there before;
// zero: unknown.
func newest(channels, before b24pull.Channels) time.Time {
	var first time.Time
	for _, c := range config.Channels(channels) {
		if holds(before, c) {
			continue
		}
		if c.Start.IsZero() {
			return time.Time{}
		}
		if first.IsZero() || c.Start.Before(first) {
			first = c.Start
		}
	}
	return first
}

// overlooked reports whether a channel began so late after the one before it
// that there was time for another between them.
func overlooked(before, now *b24pull.Channel) bool {
	if before == nil || now == nil || before.ID == now.ID || before.Start.IsZero() || before.End.IsZero() || now.Start.IsZero() {
		return false
	}
	life := before.End.Sub(before.Start)
	return !now.Start.Before(before.End.Add(life - clockSlack))
}

func holds(channels b24pull.Channels, c *b24pull.Channel) bool {
	return slices.ContainsFunc(config.Channels(channels), func(o *b24pull.Channel) bool { return o.ID == c.ID })
}

// established: a connection can be relied upon.
func (l *loop) established(s *connection) {
	if s == l.next {
		l.promote()
	}
	if !l.announced {
		l.announced = true
		close(l.ready)
	}
}

// promote puts the next connection in the place of the main one, whose channels
// are listened to for a while: what is sent to them still arrives, and their
// end is read.
func (l *loop) promote() {
	now := time.Now()
	old := l.main
	l.main, l.next = l.next, nil
	l.replaced = append(l.replaced, old)
	l.show(nil)
	if old.history == l.main.history { // the same channels
		l.abortReplay(old)
		l.remove(old, nil)
		l.handle(l.main, event{kind: evMany}, nil)
		return
	}
	l.need(old)
	l.handle(old, event{kind: evReplaced}, nil)
	old.timers.arm(timerLeave, l.leaves(old, now))
	l.leaveOldest()
}

// leaves is when replaced channels need not be listened to any more.
func (l *loop) leaves(old *connection, now time.Time) time.Time {
	leave, last := now.Add(leaveAfter), now.Add(leaveMax)
	due := l.main.reason == RenewDue || l.main.reason == RenewIncomplete
	if old.status.needed {
		due, last = true, now.Add(neededFor)
	}
	if ends := l.ends(old.config).Add(2 * old.history.Settle); due && ends.After(leave) {
		leave = ends
	}
	if leave.After(last) {
		leave = last
	}
	return leave
}

// remove forgets a connection that is over.
func (l *loop) remove(s *connection, cause error) {
	s.live.leave(transport.CloseReplaced)
	s.takeAllParked(time.Now())
	l.abortReplay(s)
	if s.status.leaving && s.status.replayAttempt > 0 && !s.continuedBy(l.main) {
		l.gap(GapChannelReplaced, cause)
	}
	if l.next == s {
		l.next = nil
		if s.status.upgradeProbe {
			l.scheduleReturn()
		}
	}
	l.replaced = slices.DeleteFunc(l.replaced, func(o *connection) bool { return o == s })
	before := s.status.state
	s.status.state = StateClosed
	l.connected(s, before)
	l.bind()
	if !l.replayPending() {
		l.dedup.Reorder.Release()
	}
	for _, other := range l.connections() {
		if other.history == s.history {
			return
		}
	}
	l.dedup.Drop(s.history, time.Now())
}

// continuedBy reports whether another connection has the same channels, under
// another token: then it reads their end.
func (s *connection) continuedBy(o *connection) bool {
	before := config.Channels(s.config.Channels)
	ended := func(c *b24pull.Channel) bool { return !holds(o.config.Channels, c) }
	return s.endpoint.continues(&o.endpoint) && len(before) > 0 && !slices.ContainsFunc(before, ended)
}

// scheduleReturn sets the time to try websockets again, if polls stand in for
// them.
func (l *loop) scheduleReturn() {
	if l.main.status.polling && l.main.status.auto && !l.timers.armed(timerReturn) {
		l.timers.arm(timerReturn, time.Now().Add(returnAfter+rand.N(returnSpread)))
	}
}

// tryWebSocket opens a websocket beside the polls, to see whether it lasts.
func (l *loop) tryWebSocket() {
	main := l.main
	if main.status.state != StateLive || l.next != nil {
		l.scheduleReturn()
		return
	}
	next := &connection{history: main.history}
	next.assume(main.config, main.endpoint, l.opts.transport)
	next.status.polling = false
	next.status.state = StateConfiguring
	next.status.anchored, next.status.sure, next.status.upgradeProbe = true, true, true
	next.way, next.unread = main.way, main.unread
	next.lacks = main.lacks
	l.next = next
	l.handle(next, event{kind: evConfig}, nil)
}
