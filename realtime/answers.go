package realtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A cache between the server and us may answer a replay with what it has
// stored: an answer to something else, or an older one to the same. (It has
// been told not to.) That can be seen from messages that cannot be in an
// answer, or must be.

// disbelieve returns why an answer that has come to its end is none to this
// replay, or io.EOF.
func (l *loop) disbelieve(s *connection, k *attempt) error {
	now := time.Now()
	switch why := s.history.Disbelieves(now); why {
	case nil:
		return io.EOF
	case delivery.ErrLacking:
		return why
	default:
		s.way.stale = now
		return k.reject(why)
	}
}

// reject makes the error of an answer that is none to what was asked.
func (k *attempt) reject(why error) error {
	if conn, ok := k.conn.(transport.Answered); ok {
		return ownError(conn.Reject(nil, why))
	}
	return &AnswerError{Err: why}
}

// A push server holds a poll for as long as there is nothing to send, and then
// says so. Until it does, a poll without an answer may be with a server that
// keeps nothing, or with one that is slow, or with none at all. So silence
// makes a subscription ready where nothing is known to be kept; but the polls
// that follow wait until the server has spoken, and where it does not the
// history has not been read.

// otherWay reports whether the history can be read by a websocket instead of by
// polls.
func (l *loop) otherWay(s *connection) bool {
	return s.endpoint.poll.URL != "" && s.mayReplayBySocket() && !s.way.refused
}

// replayTimeout: a replay that the server has but does not answer has nothing
// to read, or is slow. After a moment live messages do not wait for it any
// more; it goes on for longer unless another one waits. Any other replay has
// stalled.
func (l *loop) replayTimeout(now time.Time) {
	k := l.replaying
	s := k.connection
	switch {
	case k.conn != nil && k.waits.Load():
		l.timers.arm(timerReplay, now.Add(answerStall))
		return
	case k.conn != nil && !now.Before(k.begun.Add(l.answerWithin(k)+time.Duration(k.waited.Load()))):
		l.replayOver(s, delivery.ReplayBroken, errEndless)
		return
	case k.sent.IsZero() || k.conn != nil:
		l.replayOver(s, delivery.ReplayBroken, errStall)
		return
	}
	patience := s.history.ReplayPatience(l.otherWay(s), s.status.leaving)
	until := k.sent.Add(patience)
	if now.Before(until) && !l.yields(s) {
		if s.status.pending != replayWhole || now.Sub(k.sent) >= 2*delivery.HoldMax {
			l.dedup.Reorder.Release()
		}
		if again := now.Add(delivery.HoldMax); again.Before(until) {
			until = again
		}
		l.timers.arm(timerReplay, until)
		return
	}
	l.noAnswer(s, false)
}

// yields reports whether a replay that may have no answer is to be given up for
// another one. A poll that hangs brings what is published meanwhile, so there
// is no need to give up each for the next one; and one of them has to last
// until it is clear whether there is a server.
func (l *loop) yields(s *connection) bool {
	return s.history.MayYield(s.status.pending == replayWhole && !s.status.polling, len(l.waiting) > 0)
}

// idleReplay reports whether a poll that may have no answer was ended by a
// middle box because nothing was sent over it.
func (l *loop) idleReplay(s *connection, err error, now time.Time) bool {
	k := l.replaying
	idle := s.history.Replay.Poll && s.history.MayBeEmpty() && k.conn == nil && !k.sent.IsZero() && now.Sub(k.sent) >= idleLeast
	return idle && !isFalse(err) && mayBeIdle(err)
}

// noAnswer ends a replay without an answer; told: the server has said that
// there is none.
func (l *loop) noAnswer(s *connection, told bool) {
	how, why := s.history.NoAnswer(told, time.Since(l.replaying.sent))
	if how == delivery.ReplayUnconfirmed {
		l.replayAgain(s)
		return
	}
	l.replayOver(s, how, why)
}

// isDead reports whether the websocket beside a replay that was not answered is
// no better off, where something should come over it now and then: then the
// server may have been away for a while.
func (l *loop) isDead(s *connection) bool {
	heard := s.status.state == StateLive && s.heardAt.After(s.history.Replay.Requested.Add(delivery.UnheardAfter/2))
	return s.history.Undated && !s.status.polling && !heard
}

// replayAgain begins a replay without an answer once more, and at once.
func (l *loop) replayAgain(s *connection) {
	l.timers.disarm(timerReplay)
	l.quitReplay()
	l.endReplay(s, delivery.ReplayUnconfirmed, true, delivery.ErrNoAnswer)
	l.beginReplay(replayRequest{connection: s}, time.Now())
}

// hangingAfterAll: the history was read, so there is a server, and a poll that
// hangs is with it.
func (l *loop) hangingAfterAll(s *connection) {
	if s.unanswered {
		s.unanswered = false
		if s.hung && s.status.polling && s.live.isUp() {
			l.hanging(s, time.Now())
		}
	}
}

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
	if !r.stale.IsZero() && now.Sub(r.stale) < delivery.ProbeFor {
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
func (l *loop) judgeReplay(s *connection, how delivery.Outcome, cause error) {
	now, c, u := time.Now(), s.history.Replay, &s.unread
	worked := how == delivery.ReplayEnded || how == delivery.ReplaySilent
	long := cause == delivery.ErrUnanswered || isFalse(cause) && now.Sub(c.Requested) >= transport.HeldAtLeast
	switch {
	case how == delivery.ReplayUnheard: // it says nothing
	case !c.Poll:
		s.way.sockets(worked, now)
	case long:
		s.way.failed = max(s.way.failed, patience)
		s.way.polls(false, now)
	case how != delivery.ReplaySilent && !(worked && c.Short): // silence is no sign of a server, and a short replay a weak one
		s.way.polls(worked, now)
	}
	if isFalse(cause) || !c.Poll && isPage(cause) {
		s.history.Deceive(now)
	}
	if !worked && how != delivery.ReplayUnheard && cause != delivery.ErrLacking && cause != delivery.ErrNoAnswer {
		s.history.Unreadable()
	}
	if isFalse(cause) || cause == delivery.ErrUnanswered && !l.isDead(s) {
		s.history.Distrust()
	}
	switch {
	case (worked || how == delivery.ReplayUnheard) && c.Anchor && u.late && !u.told:
		l.gap(GapUnread, u.cause)
		*u = unread{}
	case worked || how == delivery.ReplayUnheard && c.Anchor:
		*u = unread{}
	case how == delivery.ReplayUnheard:
	case s.status.state != StateLive: // it is the connection that fails
	default:
		if u.failed++; u.failed == 1 {
			u.since = c.Start
			if since := s.history.UnsureSince(); !since.IsZero() {
				u.since = since
			}
		}
		if (long || isFalse(cause) && !s.history.UnsureSince().IsZero()) && u.failed > 1 && !l.otherWay(s) {
			u.failed = max(u.failed, patience+1) // more of them would say no more
		}
		u.cause = cause
		if heard := s.history.HeardAt; c.Anchor && (u.lost() || !heard.IsZero() && now.Sub(heard) >= lateAfter) {
			u.late = true
			s.history.LateSince()
		}
		l.tellUnread(u, now)
	}
	if s == l.main {
		l.lastErrors.noteReplay(u.cause)
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
	s.unanswered, s.believed = true, false
	if u := &s.unread; u.failed > 0 && !s.history.UnsureSince().IsZero() && !l.otherWay(s) {
		u.failed = max(u.failed, patience+1)
		l.tellUnread(u, now)
	}
}

// A push server answers a poll with messages, or holds it until one comes. So
// an answer without a message, or a 304 that comes at once, is not the server's
// but of something that stands in its place: a web server, a login page, a
// cache. It says nothing of the history.

var errNoMessage = errors.New("there is no message in it")

// proves reports whether what a codec has yielded can only come from a push
// server: it has a place in the history. That of a message that is too long to
// be looked at is not known.
func proves(r *wire.Record, err error) bool {
	if !r.Key.Mid.IsZero() {
		return true
	}
	var bad *wire.RecordError
	return errors.As(err, &bad) && bad.Framed && isTooLong(err)
}

func isTooLong(err error) bool {
	var tooLong *wire.TooLongError
	return errors.As(err, &tooLong)
}

// judge looks at what an answer has come to: err is what its frame ended with.
func (p *poster) judge(c transport.Conn, err error) error {
	if !p.attempt.awaitsAnswer() || p.believed || err != nil && !errors.Is(err, wire.ErrFrame) {
		return err
	}
	why := errNoMessage
	if err != nil {
		why = fmt.Errorf("%w: %v", errNoMessage, err) // the frame is not garbled: it is none
	}
	if c, ok := c.(transport.Answered); ok {
		return ownError(c.Reject(p.start, why))
	}
	return &AnswerError{Err: why}
}

// believes reports whether what was decoded is to be posted: an answer has to
// have proved itself before.
func (p *poster) believes(r *wire.Record, err error) bool {
	p.believed = p.believed || proves(r, err) || isTooLong(err) && bytes.Contains(p.start, wire.IncomingMethod)
	return p.believed || !p.attempt.awaitsAnswer()
}

// startSize is how much of an answer is looked at for an error.
const startSize = 2 << 10

// progress reads frames, and tells now and then that bytes of them have come.
type progress struct {
	frame io.Reader
	fresh bool // nothing of the frame has been read
	p     *poster
	told  time.Time
}

// A new frame is told of sooner, but not each of many.
const (
	tellEvery = time.Second
	tellFresh = 10 * time.Millisecond
)

func (r *progress) Read(b []byte) (int, error) {
	r.p.waited()
	n, err := r.frame.Read(b)
	if err != nil && err != io.EOF {
		err = ownError(err)
	}
	if p := r.p; p.attempt.awaitsAnswer() && len(p.start) < startSize {
		p.start = append(p.start, b[:min(n, startSize-len(p.start))]...)
	}
	r.p.waited()
	every := tellEvery
	if r.fresh {
		every = tellFresh
	}
	if now := time.Now(); n > 0 && now.Sub(r.told) >= every {
		r.told = now
		r.p.tell(inProgress, nil)
	}
	r.fresh = r.fresh && n == 0
	return n, err
}
