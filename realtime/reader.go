package realtime

import (
	"errors"
	"time"
)

const (
	// pollsAgain is when polls are tried again for the first time where websockets read in their place, and pollsAgainMax
	// the longest that this waits.
	pollsAgain    = time.Minute
	pollsAgainMax = 30 * time.Minute
	// unreadFor is how long the history cannot be read while there is a connection, until that is a Gap.
	unreadFor = time.Minute
)

// reader chooses how the history is read where there are two ways: by polls as long as they work, or else by websockets,
// while polls are tried again now and then.
type reader struct {
	failed  int       // polls in a row
	refused bool      // the last try by a websocket has failed
	again   time.Time // when polls are tried again; zero: websockets have not worked in their place
	wait    time.Duration
	stale   time.Time // when a poll was answered last by what was not asked for
}

// bySocket reports whether the next read is to be by a websocket: not when the last one by that has failed.
func (r *reader) bySocket(now time.Time) bool {
	if !r.stale.IsZero() && now.Sub(r.stale) < probeFor {
		return !r.refused
	}
	if r.failed < patience || r.refused {
		return false
	}
	return r.again.IsZero() || now.Before(r.again)
}

// polls tells how a read by a poll went.
func (r *reader) polls(worked bool, now time.Time) {
	r.refused = false
	switch {
	case worked:
		*r = reader{stale: r.stale}
	case r.again.IsZero():
		r.failed++
	default:
		r.wait = min(2*r.wait, pollsAgainMax)
		r.again = now.Add(r.wait)
	}
}

// sockets tells how a read by a websocket went.
func (r *reader) sockets(worked bool, now time.Time) {
	r.refused = !worked
	if worked && r.failed >= patience && r.again.IsZero() {
		r.wait = pollsAgain
		r.again = now.Add(r.wait)
	}
}

// unread is since when a stream that is connected cannot read its history.
type unread struct {
	failed int // reads in a row, by any way
	since  time.Time
	cause  error
	told   bool // as a Gap
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

// judgeReader takes notice of how a read went: of the way that it took, and of how long there has been no other.
func (l *loop) judgeReader(s *stream, how readOutcome, cause error) {
	now := time.Now()
	worked := how == readEnded || how == readSilent
	switch {
	case !s.session.chain.poll:
		s.reader.sockets(worked, now)
	case how != readSilent && !(worked && s.session.chain.peek): // silence is no sign of a server, and a short read a weak one
		s.reader.polls(worked, now)
	}
	u := &s.unread
	if isFalse(cause) {
		s.session.deceived = now
	}
	if !worked && cause != errLacking && cause != errNoAnswer {
		s.session.away = true // a connection without a history has holes
	}
	s.session.doubted = s.session.doubted || !s.session.emptyAt.IsZero() && isFalse(cause)
	switch {
	case worked && s.session.chain.anchor && u.lost() && !u.told:
		l.gap(GapUnread, u.cause)
		*u = unread{}
	case worked:
		*u = unread{}
	case s.status.state != StateLive: // it is the connection that fails
	default:
		if u.failed++; u.failed == 1 {
			u.since = now
		}
		u.cause = cause
		if u.lost() {
			s.session.lateSince()
		}
		if u.lost() && !u.told && now.Sub(u.since) >= unreadFor {
			u.told = true
			l.gap(GapUnread, cause)
		}
	}
}
