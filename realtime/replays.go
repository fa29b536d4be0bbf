package realtime

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// beginReplay begins a replay, or has it wait: behind the one under way, for
// its server, or for its pace.
func (l *loop) beginReplay(r replayRequest, now time.Time) {
	if l.replaying.isUp() {
		l.queueReplay(r)
		l.joins(l.replaying.connection)
		if k := l.replaying; k.conn == nil && !k.sent.IsZero() && now.Sub(k.sent) >= delivery.HoldMax {
			l.timers.arm(timerReplay, now) // it may yield
		}
		return
	}
	s := r.connection
	if until := l.deferrals.replays(s, now); now.Before(until) {
		l.postponeReplay(r, until)
		return
	}
	pace := &l.replayPace
	if r.short {
		pace = &l.shortReplayPace
	}
	if until := pace.Next(); now.Before(until) {
		l.postponeReplay(r, until)
		return
	}
	pace.Note(now)
	var after wire.Mid
	if r.short {
		after = s.history.BeginShortReplay(now, s.endpoint.server)
	} else {
		s.replayBegan, s.garbled = now, false
		after = s.history.BeginReplay(now, s.endpoint.server)
	}
	l.joins(s)
	l.dedup.Reorder.Replaced = s.status.replaced
	l.timers.arm(timerReplay, now.Add(replaySentWithin))
	t, at := l.historyAddress(s, after, now)
	s.history.Replay.Poll = t == l.poll
	l.replaying = l.connect(&attempt{connection: s, replay: true}, t, at)
}

// historyAddress is how to read what follows a position: by a poll where the
// server has them, or else by a websocket of its own. That is the way as well
// while polls fail, and for the last try before it is believed that what was
// kept is gone.
func (l *loop) historyAddress(s *connection, after wire.Mid, now time.Time) (transport.Transport, transport.Address) {
	e := &s.endpoint
	if !s.replaysByPoll(now) || l.otherWay(s) && s.history.AsksOtherwise() {
		return l.history, e.after(e.socket, after)
	}
	return l.poll, e.after(e.poll, after)
}

// replaysByPoll reports whether the history is to be read by a poll now.
func (s *connection) replaysByPoll(now time.Time) bool {
	return s.endpoint.poll.URL != "" && !(s.mayReplayBySocket() && s.way.bySocket(now))
}

// mayReplayBySocket reports whether the history can be read by a websocket,
// too.
func (s *connection) mayReplayBySocket() bool {
	return (s.status.auto || !s.status.polling) && s.endpoint.socket.URL != "" && s.endpoint.dialect != wire.DialectTags
}

// failureOf is what an error asks for that has come by polling, or by a
// websocket. Where there is no other config to be had, an HTTP 400 is not
// believed at once: a proxy can answer that, too. A push server that has never
// answered, and has no name or no good certificate by any way that there is, is
// not waited for; one that answers in another way than it should is, since the
// portal has named it.
func (l *loop) failureOf(err error, polling bool) failure {
	why := classify(err)
	none := netfail.Hopeless(err)
	if polling {
		l.noPolls = none
	} else {
		l.noSocket = none
	}
	if none && !l.reached && l.noWay() {
		return failFatal
	}
	var status *StatusError
	if _, fixed := l.source.(fixedConfig); fixed && why == failConfig && errors.As(err, &status) && l.refusals < believed {
		l.refusals++
		return failPassing
	}
	return why
}

// noWay reports whether there was no push server by any way that there is.
func (l *loop) noWay() bool {
	s := l.main
	websocket := s.endpoint.socket.URL != "" && (s.status.auto || !s.status.polling)
	polls := s.endpoint.poll.URL != "" && (s.status.auto || s.status.polling)
	return (!websocket || l.noSocket) && (!polls || l.noPolls)
}

// believed is how many refusals of a config that cannot be replaced are taken
// for a proxy's, before one is believed.
const believed = 2

// replayPending reports whether a replay is to come that live messages wait
// for.
func (l *loop) replayPending() bool {
	if l.replaysLater(l.main, time.Now()) {
		return false
	}
	return l.main.status.replay != replayIdle || l.pendingOf(l.main) || l.pendingElsewhere(l.main)
}

// replaysLater reports whether a server has put off the next replay of a
// connection: nothing waits for one that is far away.
func (l *loop) replaysLater(s *connection, now time.Time) bool {
	waits := s.status.replay == replayWaiting && retryAfter(s.unread.cause) > 0 && now.Add(delivery.HoldMax).Before(s.timers.at(timerReplayRetry))
	return waits || now.Before(l.deferrals.replays(s, now))
}

// pendingElsewhere reports whether another connection than this one has a
// replay to come.
func (l *loop) pendingElsewhere(s *connection) bool {
	for _, other := range l.connections() {
		if other != s && (other.status.replay == replayRunning || l.pendingOf(other)) {
			return true
		}
	}
	return l.renewal.fetching && l.renewal.reason == RenewChannelExpired
}

// joins notes whether the answer to a replay of a connection is whole only with
// that to another connection's.
func (l *loop) joins(s *connection) {
	if l.pendingElsewhere(s) {
		l.dedup.Reorder.Partial = true
	}
}

// pendingOf reports whether a connection is to read again after the present
// replay. One that is being connected will, but is not waited for when that
// fails again.
func (l *loop) pendingOf(s *connection) bool {
	coming := false
	switch s.status.state {
	case StateConfiguring, StateConnecting, StateWaiting:
		coming = !s.status.replaced && s.status.attempt <= 1
	}
	return coming || s.status.pending != replayNone || s.status.fence > 0 || s.answering || s.timers.armed(timerPinged)
}

// queueReplay puts a replay among those that wait, one of each connection.
func (l *loop) queueReplay(r replayRequest) {
	for i := range l.waiting {
		if w := &l.waiting[i]; w.connection == r.connection {
			w.short = w.short && r.short
			return
		}
	}
	l.waiting = append(l.waiting, r)
}

// postponeReplay puts a replay off until it may begin.
func (l *loop) postponeReplay(r replayRequest, until time.Time) {
	l.queueReplay(r)
	if at := l.timers.at(timerHeld); at.IsZero() || until.Before(at) {
		l.timers.arm(timerHeld, until)
	}
}

// nextReplay begins the next replay that may begin. Those of the main
// connection go first.
func (l *loop) nextReplay() {
	if l.replaying.isUp() {
		return
	}
	waiting := l.waiting
	l.waiting = nil
	for _, main := range []bool{true, false} {
		for _, r := range waiting {
			if (r.connection == l.main) == main {
				l.beginReplay(r, time.Now())
			}
		}
	}
}

// abortReplay breaks off the replay of a connection that is under way or waits,
// if any.
func (l *loop) abortReplay(s *connection) {
	l.waiting = slices.DeleteFunc(l.waiting, func(r replayRequest) bool { return r.connection == s })
	if l.replaying.isUp() && l.replaying.connection == s {
		l.timers.disarm(timerReplay)
		l.quitReplay()
		s.history.EndReplay(delivery.ReplayBroken, true, time.Now())
	}
	if !l.replaying.isUp() || l.replaying.connection.history != s.history { // else it is another connection's on the same channels
		s.history.ForgetShortReplay()
	}
	l.nextReplay()
}

// quitReplay gives up the replay under way, and all that it holds.
func (l *loop) quitReplay() {
	l.replaying.hangUp(transport.CloseNormal)
	l.replaying = nil
}

func (l *loop) receiveReplay(in inbound) {
	s, now := in.attempt.connection, time.Now()
	switch in.kind {
	case inSent:
		in.attempt.sent = now
		l.timers.arm(timerReplay, now.Add(min(l.dedup.Reorder.Patience, s.history.ReplayPatience(l.otherWay(s), false))))
	case inOpened:
		s.history.Replay.Hung = now.Sub(in.attempt.sent) >= shortReplayAfter
		l.timers.arm(timerReplay, in.attempt.answers(now, l.answerWithin(in.attempt)))
	case inProgress:
		l.timers.arm(timerReplay, in.attempt.answers(now, l.answerWithin(in.attempt)))
	case inMessages:
		s.history.Answers()
		l.messages(s, true, in.batch, now, s.history.Replayed)
	case inGarbled:
		l.undecodable(in.err)
		l.replayOver(s, delivery.ReplayBroken, in.err)
	case inDown:
		if in.err == io.EOF {
			in.err = l.disbelieve(s, in.attempt)
		}
		switch {
		case in.err == io.EOF && !s.history.EndAnswer(now):
			l.full()
		case in.err == io.EOF:
			l.replayOver(s, delivery.ReplayEnded, nil)
		case in.err == transport.ErrSilent:
			l.noAnswer(s, true)
		case l.idleReplay(s, in.err, now):
			l.noAnswer(s, false)
		case in.err == delivery.ErrLacking:
			l.replayOver(s, delivery.ReplayUnconfirmed, in.err)
		default:
			l.replayOver(s, delivery.ReplayBroken, in.err)
		}
	}
}

// replayOver closes the replay and decides what comes after.
func (l *loop) replayOver(s *connection, how delivery.Outcome, cause error) {
	l.timers.disarm(timerReplay)
	l.quitReplay()
	l.judgeReplay(s, how, cause)
	polled := s.history.Replay.Poll
	l.joins(s)
	pending := l.pendingOf(s) || l.pendingElsewhere(s)
	messages, again := l.endReplay(s, how, pending, cause)
	l.reached = l.reached || how == delivery.ReplayEnded
	if how == delivery.ReplayEnded && messages > 0 {
		s.answeredAt = time.Now()
		defer l.hangingAfterAll(s)
	}
	if how == delivery.ReplayBroken || how == delivery.ReplayUnconfirmed {
		silent := cause == delivery.ErrNoAnswer && !polled
		l.handle(s, event{kind: evReplayBroken, failure: l.failureOf(cause, polled), silent: silent}, cause)
	} else {
		l.handle(s, event{kind: evReplayEnded, again: again, silent: how != delivery.ReplayEnded}, nil)
	}
	l.nextReplay()
}

// endReplay closes an attempt at a replay, and tells of it. It returns how many
// messages there were, and whether another replay is to begin at once.
func (l *loop) endReplay(s *connection, how delivery.Outcome, pending bool, cause error) (messages int, again bool) {
	result, again := s.history.EndReplay(how, pending, time.Now())
	l.emit(ReplayEnded{Complete: result.Complete, Messages: result.Messages, Found: result.Found, Attempt: s.status.replayAttempt + 1, Err: cause})
	return result.Messages, again
}

// answerWithin is how long the answer to a replay may take to come to its end.
func (l *loop) answerWithin(k *attempt) time.Duration {
	mainWaits := func(r replayRequest) bool { return r.connection == l.main }
	if k.connection != l.main && slices.ContainsFunc(l.waiting, mainWaits) {
		return answerYields
	}
	return answerWithin
}
