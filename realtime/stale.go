package realtime

import (
	"io"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A cache between the server and us may answer a replay with what it has
// stored: an answer to something else, or an older one to the same. (It has
// been told not to.) That can be seen from messages that cannot be in an
// answer, or must be.

const (
	// probeKept is how long the server must have said that it keeps a message,
	// for it to be a probe, and probeFor how long it is one.
	probeKept = time.Hour
	probeFor  = 10 * time.Minute
	// stalePolls is how many polls in a row may be answered at once by one
	// message that is known: one to two of our channels comes twice.
	stalePolls = 3
)

// probe is a message that came live and that the server keeps: later answers
// cannot end before it.
type probe struct {
	key wire.Key
	at  time.Time // when it came; zero: there is none
}

// knows reports whether a message is remembered.
func (b *dedup) knows(k wire.Key) bool {
	_, known := b.arrival(b.remembered(k))
	return known
}

// mistrusts reports whether answers have been false of late: then what one
// lacks may be kept all the same.
func (b *dedup) mistrusts(now time.Time) bool {
	return !b.deceived.IsZero() && now.Sub(b.deceived) < probeFor
}

// letGo lets go of what the replay has not shown.
func (s *history) letGo(but wire.Mid, now time.Time) {
	if !s.mistrusts(now) {
		s.forgetUnkept(s.replay.start, s.settle, but)
	}
}

// lacks reports whether an answer is not believed yet, since it lacks the
// retention probe, which was kept and may have expired. Two polls have to lack
// it, and a websocket between them where there is one.
func (s *history) lacks(now time.Time) bool {
	c := s.replay
	switch {
	case c.short || c.anchor || c.stands || c.garbled || s.retentionProbe.IsZero():
	case c.poll && s.lacking == 0:
		s.lacking = 1
		return true
	case c.poll && s.lacking == 1 && s.mistrusts(now):
		return true
	case !c.poll && s.lacking == 1 && !c.complete: // a poll is to say whether it has shown all
		s.lacking = 2
		return true
	}
	s.lacking = 0
	return false
}

// mayProbe takes a live message for the probe if there is none.
func (s *history) mayProbe(m Message, now time.Time) {
	if m.kept >= probeKept && !m.key.Mid.IsZero() && (s.probe.at.IsZero() || now.Sub(s.probe.at) >= probeFor) {
		s.probe = probe{m.key, now}
	}
}

// strays looks for messages of a poll's answer that do not follow what was
// asked for. A poll that has hung can be answered by one such message, which
// has come live behind its turn; in any other company it shows that the answer
// is to something else.
type strays struct {
	stray   *Message // the first message, if it is one: it is not to be taken before the end
	any     bool     // there was one that is none
	foreign bool     // the answer is to something else
}

// takes takes a message that is not to be taken now.
func (q *strays) takes(m Message, from wire.Mid) bool {
	asked := m.key.Mid.IsZero() || from.Less(m.key.Mid)
	switch {
	case q.foreign:
	case asked && q.stray == nil:
		q.any = true
		return false
	case q.stray == nil && !q.any:
		q.stray = &m
	default:
		q.foreign = q.stray == nil || q.stray.key != m.key
	}
	return true
}

// disbelieve returns why an answer that has come to its end is none to this
// read, or io.EOF.
func (l *loop) disbelieve(s *connection, k *attempt) error {
	c, p, now := s.history.replay, s.history.probe, time.Now()
	old := p.at.Before(c.start.Add(-s.history.settle)) && now.Sub(p.at) < probeFor
	var why error
	switch {
	case c.foreign:
		why = errNotAsked
	case s.history.lacks(now):
		return errLacking
	case c.probed:
		s.history.probe = probe{}
		return io.EOF
	case old && c.poll && !c.short && c.complete && c.last.Less(p.key.Mid):
		why = errStale
	default:
		return io.EOF
	}
	s.way.stale = now
	return k.reject(why)
}

// reject makes the error of an answer that is none to what was asked.
func (k *attempt) reject(why error) error {
	if conn, ok := k.conn.(transport.Answered); ok {
		return ownError(conn.Reject(nil, why))
	}
	return &AnswerError{Err: why}
}

// polledTaker takes the messages of a poll, but for strays.
func (l *loop) polledTaker(s *connection) func(Message, time.Time) bool {
	take := l.taker(s)
	fromNothing := s.hungFrom.IsZero() && !s.history.emptyAt.IsZero()
	return func(m Message, now time.Time) bool {
		return s.strays.takes(m, s.hungFrom) || fromNothing && s.past.takes(m) || take(m, now)
	}
}

// endPoll ends the answer of a poll. It returns why that is none, or false if
// the queue is full.
func (l *loop) endPoll(s *connection, now time.Time) (why error, taken bool) {
	q, past := s.strays, s.past
	s.strays, s.past = strays{}, pastPoll{}
	if q.stray == nil || !s.history.knows(q.stray.key) || now.Sub(s.hungAt) >= promptly {
		s.stale = 0
	} else if s.stale++; s.stale >= stalePolls {
		q.foreign = true
	}
	switch {
	case q.foreign:
		s.way.stale = now
		return s.live.reject(errNotAsked), true
	case q.stray != nil:
		return nil, l.taker(s)(*q.stray, now)
	case past.whole || past.only != nil && !s.hung:
		l.handle(s, event{kind: evPast}, nil)
		return nil, true
	case past.only != nil:
		s.history.unsure = false // nothing was kept, or it would have been answered at once
		return nil, l.taker(s)(*past.only, now)
	default:
		return nil, true
	}
}
