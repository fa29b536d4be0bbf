package realtime

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// leaveAfter is how long replaced channels are listened to at the least,
	// and leaveMax at the most.
	leaveAfter = 15 * time.Second
	leaveMax   = 15 * time.Minute
	// maxReplaced is how many streams of replaced channels there are at a time.
	maxReplaced = 24
	// clockSlack is how much earlier than it says a channel is taken to have
	// begun.
	clockSlack = 30 * time.Second
	// returnAfter and returnSpread are the delay before websockets are tried
	// again.
	returnAfter  = 10 * time.Minute
	returnSpread = 20 * time.Minute
)

// latest is the stream of the latest config.
func (l *loop) latest() *stream {
	if l.next != nil {
		return l.next
	}
	return l.main
}

// giveUpNext: what was to take the main stream's place is overtaken by another.
// What its channels hold is read all the same.
func (l *loop) giveUpNext() {
	next := l.next
	switch {
	case next == nil:
	case next.session == l.main.session:
		l.remove(next, nil)
	default:
		l.next = nil
		l.old = append(l.old, next)
		l.handle(next, event{kind: evReplaced}, nil)
		next.timers.arm(timerLeave, time.Now().Add(leaveAfter))
		l.leaveOldest()
	}
}

// leaveOldest gives up replaced channels at once, where there are too many.
func (l *loop) leaveOldest() {
	for len(l.old) > maxReplaced {
		l.gap(GapChannelReplaced, nil)
		l.handle(l.old[0], event{kind: evStop}, nil)
	}
}

// assume gives a stream its config.
func (s *stream) assume(cfg *b24pull.Config, ep endpoint, wanted Transport) {
	s.config, s.endpoint = cfg, ep
	s.polls, s.overtaken = pollPace, overtakenPace
	s.session.tags, s.session.stamped = ep.dialect == wire.DialectTags, ep.dialect == wire.DialectProtobuf
	s.session.undated = ep.dialect == wire.DialectRPC
	s.session.shift, s.session.dating.shift = cfg.ClockShift(), cfg.ClockShift()
	s.status.auto = wanted == TransportAuto && ep.socket.url != "" && ep.poll.url != ""
	s.status.polling = wanted == TransportLongPolling || ep.socket.url == ""
	s.session.hangs = s.status.polling
}

// replace makes the stream of a new config. It takes the place of the main one
// once it is connected, or at once if that is not.
func (l *loop) replace(cfg *b24pull.Config, ep endpoint, reason RenewReason) {
	now := time.Now()
	next := &stream{}
	switch main := l.main; {
	case main.endpoint.same(&ep):
		next.session = main.session
	case main.endpoint.continues(&ep):
		since := newest(cfg.Channels, main.config.Channels)
		if !since.IsZero() {
			since = since.Add(-cfg.ClockShift() - clockSlack)
		}
		var covered bool
		next.session, covered = main.session.successor(since, now)
		if !covered || overlooked(main.config.Channels.Private, cfg.Channels.Private) || overlooked(main.config.Channels.Shared, cfg.Channels.Shared) {
			l.gap(GapChannelReplaced, nil)
		}
		if goOn(main.config.Channels, cfg.Channels) {
			next.session.witness = main.session.witness
			l.memory.tellFloor()
		}
		l.expectMore()
	default:
		next.session = l.memory.session(wire.Mid{}, main.session.anchored)
		next.session.settle = l.opts.settle
		l.memory.anotherServer()
		l.gap(GapServerChanged, nil)
	}
	next.assume(cfg, ep, l.opts.transport)
	next.status.anchored = next.session.anchored
	next.status.sure = l.main.status.sure
	next.reader, next.unread, next.proved, next.unheard = l.main.reader, l.main.unread, l.main.proved, l.main.unheard
	if next.status.auto {
		next.status.polling, next.status.barred = l.main.status.polling, l.main.status.barred
	}
	next.reason, next.lacks = reason, l.missing.asked > 0
	next.status.state = StateConfiguring
	l.next = next
	switch l.main.status.state {
	case StateLive:
		l.handle(next, event{kind: evConfig}, nil)
	case StatePaused:
		next.status.state, next.status.configured = StatePaused, true
		room := l.main.status.read != readIdle // that was told, and is not told again
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
	l.memory.order.hold()
	l.memory.order.partial = true
}

// goOn reports whether channels are among those that replace them.
func goOn(before, channels b24pull.Channels) bool {
	return !slices.ContainsFunc(channelsOf(before), func(c *b24pull.Channel) bool { return !holds(channels, c) })
}

// newest is when the first of the channels began that were not there before;
// zero: unknown.
func newest(channels, before b24pull.Channels) time.Time {
	var first time.Time
	for _, c := range channelsOf(channels) {
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

// overlooked reports whether a channel began so late after the one before it that
// there was time for another between them.
func overlooked(before, now *b24pull.Channel) bool {
	if before == nil || now == nil || before.ID == now.ID || before.Start.IsZero() || before.End.IsZero() || now.Start.IsZero() {
		return false
	}
	life := before.End.Sub(before.Start)
	return !now.Start.Before(before.End.Add(life - clockSlack))
}

func holds(channels b24pull.Channels, c *b24pull.Channel) bool {
	return slices.ContainsFunc(channelsOf(channels), func(o *b24pull.Channel) bool { return o.ID == c.ID })
}

// established: a stream can be relied upon.
func (l *loop) established(s *stream) {
	if s == l.next {
		l.promote()
	}
	if !l.announced {
		l.announced = true
		close(l.ready)
	}
}

// promote puts the next stream in the place of the main one, whose channels are
// listened to for a while: what is sent to them still arrives, and their end is
// read.
func (l *loop) promote() {
	now := time.Now()
	old := l.main
	l.main, l.next = l.next, nil
	l.old = append(l.old, old)
	l.show(nil)
	if old.session == l.main.session { // the same channels
		l.abortRead(old)
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
func (l *loop) leaves(old *stream, now time.Time) time.Time {
	leave, last := now.Add(leaveAfter), now.Add(leaveMax)
	due := l.main.reason == RenewDue || l.main.reason == RenewIncomplete
	if old.status.needed {
		due, last = true, now.Add(neededFor)
	}
	if ends := l.ends(old.config).Add(2 * old.session.settle); due && ends.After(leave) {
		leave = ends
	}
	if leave.After(last) {
		leave = last
	}
	return leave
}

// remove forgets a stream that is over.
func (l *loop) remove(s *stream, cause error) {
	s.live.hangUp(closeReplaced)
	s.takeRest(time.Now())
	l.abortRead(s)
	if s.status.leaving && s.status.readAttempt > 0 && !s.continuedBy(l.main) {
		l.gap(GapChannelReplaced, cause)
	}
	if l.next == s {
		l.next = nil
		if s.status.trial {
			l.scheduleReturn()
		}
	}
	l.old = slices.DeleteFunc(l.old, func(o *stream) bool { return o == s })
	before := s.status.state
	s.status.state = StateClosed
	l.connected(s, before)
	l.bind()
	if !l.owed() {
		l.memory.order.release()
	}
	for _, other := range l.streams() {
		if other.session == s.session {
			return
		}
	}
	l.memory.drop(s.session, time.Now())
}

// continuedBy reports whether another stream has the same channels, under another
// token: then it reads their end.
func (s *stream) continuedBy(o *stream) bool {
	before := channelsOf(s.config.Channels)
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
	next := &stream{session: main.session}
	next.assume(main.config, main.endpoint, l.opts.transport)
	next.status.polling = false
	next.status.state = StateConfiguring
	next.status.anchored, next.status.sure, next.status.trial = true, true, true
	next.reader, next.unread = main.reader, main.unread
	next.lacks = main.lacks
	l.next = next
	l.handle(next, event{kind: evConfig}, nil)
}
