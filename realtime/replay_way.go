package realtime

import (
	"errors"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
)

const (
	// pollsAgain is when polls are tried again for the first time where
	// websockets read in their place, and pollsAgainMax the longest that this
	// waits.
	pollsAgain    = time.Minute
	pollsAgainMax = 30 * time.Minute
	// unreadFor is how long the history cannot be read while there is a
	// connection, until that is a Gap.
	unreadFor = time.Minute
	// lateAfter is how long a connection may wait for the first replay, until
	// what comes meanwhile is no past any more.
	lateAfter = 10 * time.Second
)

// replayWay chooses how the history is read where there are two ways: by polls
// as long as they work, or else by websockets, while polls are tried again now
// and then.
type replayWay struct {
	failed  int       // polls in a row
	refused bool      // the last try by a websocket has failed
	again   time.Time // when polls are tried again; zero: websockets have not worked in their place
	wait    time.Duration
	stale   time.Time // when a poll was answered last by what was not asked for
}

// bySocket reports whether the next replay is to be by a websocket: not when
// the last one by that has failed.
func (r *replayWay) bySocket(now time.Time) bool {
	if !r.stale.IsZero() && now.Sub(r.stale) < probeFor {
		return !r.refused
	}
	if r.failed < patience || r.refused {
		return false
	}
	return r.again.IsZero() || now.Before(r.again)
}

// polls tells how a replay by a poll went.
func (r *replayWay) polls(worked bool, now time.Time) {
	r.refused = false
	switch {
	case worked:
		*r = replayWay{stale: r.stale}
	case r.again.IsZero():
		r.failed++
	default:
		r.wait = min(2*r.wait, pollsAgainMax)
		r.again = now.Add(r.wait)
	}
}

// sockets tells how a replay by a websocket went.
func (r *replayWay) sockets(worked bool, now time.Time) {
	r.refused = !worked
	if worked && r.failed >= patience && r.again.IsZero() {
		r.wait = pollsAgain
		r.again = now.Add(r.wait)
	}
}

// unread is since when a connection that is connected cannot read its history.
type unread struct {
	failed int // replays in a row, by any way
	since  time.Time
	cause  error
	told   bool // as a Gap
	late   bool // the first replay comes too late to tell what stood before the beginning
}

// lost reports whether nothing vouches any more for what is delivered.
func (u *unread) lost() bool { return u.failed > patience }

// isFalse reports whether something has answered that is no push server.
func isFalse(err error) bool {
	var answer *AnswerError
	return errors.As(err, &answer)
}

// isAnswered is isFalse, or reports that something refuses which may be none.
func isAnswered(err error) bool {
	var status *StatusError
	return isFalse(err) || errors.As(err, &status) && classify(err) == failPassing
}

// isPage reports whether a websocket was refused by what says that all is well,
// or leads elsewhere.
func isPage(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status < http.StatusBadRequest
}

// judgeReplay takes notice of how a replay went: of the way that it took, and
// of how long there has been no other.
func (l *loop) judgeReplay(s *connection, how replayOutcome, cause error) {
	now, c, u := time.Now(), s.history.replay, &s.unread
	worked := how == replayEnded || how == replaySilent
	long := cause == errUnanswered || isFalse(cause) && now.Sub(c.requested) >= transport.HeldAtLeast
	switch {
	case how == replayUnheard: // it says nothing
	case !c.poll:
		s.way.sockets(worked, now)
	case long:
		s.way.failed = max(s.way.failed, patience)
		s.way.polls(false, now)
	case how != replaySilent && !(worked && c.short): // silence is no sign of a server, and a short replay a weak one
		s.way.polls(worked, now)
	}
	if isFalse(cause) || !c.poll && isPage(cause) {
		s.history.deceived = now
	}
	if !worked && how != replayUnheard && cause != errLacking && cause != errNoAnswer {
		s.history.away = true // a connection without a history has holes
	}
	if !s.history.emptyAt.IsZero() && (isFalse(cause) || cause == errUnanswered && !l.isDead(s)) {
		s.history.doubted = true
	}
	switch {
	case (worked || how == replayUnheard) && c.anchor && u.late && !u.told:
		l.gap(GapUnread, u.cause)
		*u = unread{}
	case worked || how == replayUnheard && c.anchor:
		*u = unread{}
	case how == replayUnheard:
	case s.status.state != StateLive: // it is the connection that fails
	default:
		if u.failed++; u.failed == 1 {
			u.since = c.start
			if s.history.unsure {
				u.since = s.history.emptyAt
			}
		}
		if (long || isFalse(cause) && s.history.unsure) && u.failed > 1 && !l.otherWay(s) {
			u.failed = max(u.failed, patience+1) // more of them would say no more
		}
		u.cause = cause
		if heard := s.history.heard; c.anchor && (u.lost() || !heard.IsZero() && now.Sub(heard) >= lateAfter) {
			u.late = true
			s.history.lateSince()
		}
		l.tellUnread(u, now)
	}
}

// tellUnread tells of a history that has not been read for long.
func (l *loop) tellUnread(u *unread, now time.Time) {
	if u.lost() && !u.told && now.Sub(u.since) >= unreadFor {
		u.told = true
		l.gap(GapUnread, u.cause)
	}
}

// unheardPoll: a poll that stands for the live connection was not answered in
// any way. The next one has to be, to be a connection; and where nothing has
// ever shown that there is a server it is as good as another replay that fails.
func (l *loop) unheardPoll(s *connection, now time.Time) {
	s.unheard, s.proved = true, false
	if u := &s.unread; u.failed > 0 && s.history.unsure && !l.otherWay(s) {
		u.failed = max(u.failed, patience+1)
		l.tellUnread(u, now)
	}
}
