package realtime

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// promptly is within what time a poll is answered that is answered at once.
const promptly = time.Second

// stalePolls is how many polls in a row may be answered at once by one message
// that is known: one to two of our channels comes twice.
const stalePolls = 3

// receivePoll takes what comes of a poll that stands for the live connection.
func (l *loop) receivePoll(in inbound) {
	s, now := in.attempt.connection, time.Now()
	switch in.kind {
	case inSent:
		s.timers.arm(timerShortReplay, now.Add(shortReplayAfter))
		if s.believed {
			l.polling(s, now)
		}
	case inOpened:
		l.dedup.Reorder.Hold()
		s.timers.disarm(timerShortReplay)
		s.answering = true
		s.timers.arm(timerPong, in.attempt.answers(now, answerWithin))
	case inProgress:
		s.timers.arm(timerPong, in.attempt.answers(now, answerWithin))
	case inMessages:
		s.unanswered = false
		l.polling(s, now)
		s.answers += len(*in.batch)
		l.messages(s, false, in.batch, now, l.polledTaker(s))
	case inGarbled:
		l.undecodable(in.err)
		s.garbled = true
		l.polled(s, now)
	case inDown:
		if in.err == io.EOF {
			why, taken := l.endPoll(s, now)
			if !taken {
				l.full()
				return
			}
			in.err = cmp.Or(why, in.err)
		}
		if in.err == transport.ErrSilent {
			l.polledNothing(s, now)
		}
		if in.err == io.EOF || errors.Is(in.err, transport.ErrSilent) || l.idlePoll(s, in.err, now) {
			l.polled(s, now)
			return
		}
		if isFalse(in.err) {
			s.history.Deceive(now)
		}
		if isAnswered(in.err) && now.Sub(s.hungAt) < promptly {
			s.believed = false
		}
		s.live.hangUp(transport.CloseNormal)
		l.handle(s, event{kind: evLost, failure: l.failureOf(in.err, true)}, in.err)
	}
}

// polling: a poll is with the server, or has been answered by it.
func (l *loop) polling(s *connection, now time.Time) {
	s.believed = true
	if s.status.state == StateConnecting {
		s.timers.arm(timerStable, now.Add(pollStableAfter))
		s.watch(now)
		l.opened(s)
	}
}

// hanging: a poll has been with the server for a moment. What was published
// while it was taken up is kept and not sent.
func (l *loop) hanging(s *connection, now time.Time) {
	s.hung = true
	if s.unanswered || !s.history.UnsureSince().IsZero() && s.history.Mistrusts(now) {
		return // it is not clear that it is with a server
	}
	l.polling(s, now)
	s.history.Polled(s.hungFrom)
	l.handle(s, event{kind: evHanging}, nil)
}

// polledNothing: the server says that nothing came since the poll began.
func (l *loop) polledNothing(s *connection, now time.Time) {
	s.unanswered = false
	if s.hungFrom.IsZero() {
		s.history.WasEmpty()
	}
	l.polling(s, now)
}

// polled is the end of a poll: the next one begins. An answer of one message
// came live, and may be one of several; a longer one is the history, and whole.
// A poll that brought nothing keeps its distance to the next, and others their
// pace.
func (l *loop) polled(s *connection, now time.Time) {
	s.live.hangUp(transport.CloseNormal)
	s.timers.disarm(timerShortReplay)
	s.answering = false
	single := s.answers == 1
	if single {
		s.history.Polled(s.hungFrom)
	}
	next := s.hungAt.Add(pollDistance)
	news := s.history.Highest != s.hungFrom || s.history.News != s.hungNews
	switch {
	case news:
		next = s.polls.Take(now)
	case !s.history.Overtook.Before(s.hungAt):
		next = s.overtaken.Take(now)
	}
	switch {
	case !now.Before(next):
		l.handle(s, event{kind: evPolled, again: single}, nil)
	default:
		s.timers.disarm(timerPong)
		s.timers.arm(timerHang, next)
		if news && single {
			l.handle(s, event{kind: evHanging}, nil)
		}
	}
	switch {
	case l.replayPending():
	case s.status.replaced:
		l.dedup.Reorder.Pass()
	default:
		l.dedup.Reorder.Release()
	}
}

// polledTaker takes the messages of a poll, but for strays.
func (l *loop) polledTaker(s *connection) func(delivery.Message, time.Time) bool {
	take := l.taker(s)
	fromNothing := s.hungFrom.IsZero() && s.history.FoundNothing()
	return func(m delivery.Message, now time.Time) bool {
		return s.strays.Takes(m, s.hungFrom) || fromNothing && s.past.Takes(m) || take(m, now)
	}
}

// endPoll ends the answer of a poll. It returns why that is none, or false if
// the queue is full.
func (l *loop) endPoll(s *connection, now time.Time) (why error, taken bool) {
	q, past := s.strays, s.past
	s.strays, s.past = delivery.Strays{}, delivery.PastPoll{}
	if q.Stray == nil || !s.history.Knows(q.Stray.Key) || now.Sub(s.hungAt) >= promptly {
		s.stale = 0
	} else if s.stale++; s.stale >= stalePolls {
		q.Foreign = true
	}
	switch {
	case q.Foreign:
		s.way.stale = now
		return s.live.reject(delivery.ErrNotAsked), true
	case q.Stray != nil:
		return nil, l.taker(s)(*q.Stray, now)
	case past.Whole || past.Only != nil && !s.hung:
		l.handle(s, event{kind: evPast}, nil)
		return nil, true
	case past.Only != nil:
		s.history.WasEmpty() // nothing was kept, or it would have been answered at once
		return nil, l.taker(s)(*past.Only, now)
	default:
		return nil, true
	}
}
