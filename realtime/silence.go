package realtime

import (
	"errors"
	"time"
)

// A push server holds a poll for as long as there is nothing to send, and then
// says so. Until it does, a poll without an answer may be with a server that
// keeps nothing, or with one that is slow, or with none at all. So silence
// makes a subscription ready where nothing is known to be kept; but the polls
// that follow wait until the server has spoken, and where it does not the
// history has not been read.

const (
	// unheardAfter is how long a poll may be without an answer: servers hold
	// them for 40 s.
	unheardAfter = 50 * time.Second
	// slowly is how long an answer is waited for that should be there at once,
	// and slowlyMax the same where it has been waited for before, or there is
	// none if nothing is kept.
	slowly    = 10 * time.Second
	slowlyMax = 20 * time.Second
	// undatedFirst is how long a first read waits whose result cannot be put
	// right later, since messages bear no time. It is made twice, and
	// undatedAgain is the same for the second time.
	undatedFirst = 1750 * time.Millisecond
	undatedAgain = 250 * time.Millisecond
	// confirmAfter is how long after it such a read is followed by one that
	// waits until the server has spoken. Version 5 wants each message confirmed
	// on each connection, so that one is not to be there when the first
	// messages come.
	confirmAfter = 75 * time.Second
	// maxYields is how many reads in a row may be given up for another one
	// without an answer.
	maxYields = 2
	// silentReads is how many reads in a row have to be silent, by polls and by
	// websockets, until it is believed that what should be there has expired,
	// although the server has not said so.
	silentReads = 4
)

// stands reports whether the read has to have an answer, since there is
// something that the server keeps.
func (s *session) stands() bool {
	probe := s.probe.at
	return !s.witness.IsZero() || !probe.IsZero() && s.chain.asked.Sub(probe) < probeFor
}

// mayBeEmpty reports whether the read may have no answer at all, since nothing
// need be kept where it begins.
func (s *session) mayBeEmpty() bool { return s.chain.peek || !s.stands() }

// confirms reports whether a read is due, since it is not known what the
// silence of the first one meant.
func (s *session) confirms(now time.Time) bool { return !s.confirm.IsZero() && !now.Before(s.confirm) }

// asksOtherwise reports whether the next read is to be a websocket's, where
// that is another way, since the last poll has left in doubt what there must
// be.
func (s *session) asksOtherwise() bool {
	return !s.chain.peek && s.stands() && (s.silent%2 == 1 || s.lacking == 1)
}

// readPatience is how long the read's answer may take from when the server has
// the request. If anything is kept it is there at once; but a server may take
// long to gather much. other reports whether there is another way to read.
func (s *session) readPatience(other bool) time.Duration {
	c := s.chain
	switch {
	case c.peek:
		return holdMax
	case c.anchor && c.poll && s.mistrusts(c.asked):
		return unheardAfter
	case c.anchor && s.undated && s.silent == 0:
		return undatedFirst
	case c.anchor && s.undated:
		return undatedAgain
	case c.anchor:
		return s.order.patience
	case !s.stands() && (!s.readOnce || s.hangs && !s.unsure || c.asked.Before(s.confirm)):
		return s.order.patience
	case c.poll && (s.silent > 0 || !s.stands()):
		return unheardAfter
	case !s.stands(), s.silent > 1:
		return slowlyMax
	case other && !s.readOnce || !c.poll:
		return slowly / 2
	case !s.readOnce:
		return unheardAfter
	default:
		return slowly
	}
}

// otherWay reports whether the history can be read by a websocket instead of by
// polls.
func (l *loop) otherWay(s *stream) bool {
	return s.endpoint.poll.url != "" && s.mayReadBySocket() && !s.reader.refused
}

// readTimeout: a read that the server has but does not answer has nothing to
// read, or is slow. After a moment live messages do not wait for it any more;
// it goes on for longer unless another one waits. Any other read has stalled.
func (l *loop) readTimeout(now time.Time) {
	k := l.reading
	s := k.stream
	switch {
	case k.conn != nil && !now.Before(k.begun.Add(l.answerWithin(k))):
		l.readOver(s, readBroken, errEndless)
		return
	case k.sent.IsZero() || k.conn != nil:
		l.readOver(s, readBroken, errStall)
		return
	}
	patience := s.session.readPatience(l.otherWay(s))
	if s.status.leaving && s.session.mayBeEmpty() {
		patience = min(patience, slowly/2)
	}
	until := k.sent.Add(patience)
	if now.Before(until) && !l.yields(s) {
		if s.status.due != readWhole || now.Sub(k.sent) >= 2*holdMax {
			l.memory.order.release()
		}
		if again := now.Add(holdMax); again.Before(until) {
			until = again
		}
		l.timers.arm(timerRead, until)
		return
	}
	l.noAnswer(s, false)
}

// yields reports whether a read that may have no answer is to be given up for
// another one. A poll that hangs brings what is published meanwhile, so there
// is no need to give up each for the next one; and one of them has to last
// until it is clear whether there is a server.
func (l *loop) yields(s *stream) bool {
	if !s.session.mayBeEmpty() || s.session.chain.anchor {
		return false
	}
	if s.status.due == readWhole && !s.status.polling && s.session.yielded < maxYields {
		s.session.yielded++
		return true
	}
	return len(l.waiting) > 0
}

// idleRead reports whether a poll that may have no answer was ended by a middle
// box because nothing was sent over it.
func (l *loop) idleRead(s *stream, err error, now time.Time) bool {
	k := l.reading
	idle := s.session.chain.poll && s.session.mayBeEmpty() && k.conn == nil && !k.sent.IsZero() && now.Sub(k.sent) >= idleLeast
	return idle && !isFalse(err) && mayBeIdle(err)
}

// noAnswer ends a read without an answer; told: the server has said that there
// is none.
func (l *loop) noAnswer(s *stream, told bool) {
	c := s.session.chain
	waited := time.Since(l.reading.sent)
	if !c.peek {
		s.session.silent++
	}
	switch {
	case c.peek:
		l.readOver(s, readUnheard, nil)
	case told:
		s.session.silent, s.session.yielded = 0, 0
		l.readOver(s, readSilent, nil)
	case c.poll && waited >= unheardAfter:
		s.session.yielded = 0
		l.readOver(s, readBroken, errUnanswered)
	case c.anchor && s.session.undated && s.session.silent == 1:
		l.readAgain(s)
	case !c.poll && s.session.silent >= silentReads, !c.poll && s.session.mayBeEmpty() && waited >= slowlyMax:
		l.readOver(s, readSilent, nil)
	case s.session.mayBeEmpty():
		l.readOver(s, readUnheard, nil)
	default:
		l.readOver(s, readBroken, errNoAnswer)
	}
}

// isDead reports whether the websocket beside a read that was not answered is
// no better off, where something should come over it now and then: then the
// server may have been away for a while.
func (l *loop) isDead(s *stream) bool {
	heard := s.status.state == StateLive && s.heardAt.After(s.session.chain.asked.Add(unheardAfter/2))
	return s.session.undated && !s.status.polling && !heard
}

// readAgain begins a read without an answer once more, and at once.
func (l *loop) readAgain(s *stream) {
	now := time.Now()
	l.timers.disarm(timerRead)
	l.reading.hangUp(closeNormal)
	result, _ := s.session.endRead(readDoubted, true, now)
	result.Err = errNoAnswer
	l.logRead(s, result)
	l.observe(result)
	l.read(read{stream: s}, now)
}

// hangingAfterAll: the history was read, so there is a server, and a poll that
// hangs is with it.
func (l *loop) hangingAfterAll(s *stream) {
	if s.unheard {
		s.unheard = false
		if s.hung && s.status.polling && s.live.isUp() {
			l.hanging(s, time.Now())
		}
	}
}

// pastPoll is what a poll from the beginning of the history is answered by,
// where the beginning was taken for that of an empty one. A poll that hangs is
// answered by one live message; anything else is the history, and a read has to
// look for what of it is new.
type pastPoll struct {
	only  *Message // all there is so far
	whole bool     // it is the history
}

// takes takes a message that is not to be taken before the end, or not at all.
func (p *pastPoll) takes(m Message) bool {
	switch {
	case m.transient:
		return false
	case p.only == nil && !p.whole:
		p.only = &m
	case p.whole || p.only.key != m.key:
		p.only, p.whole = nil, true
	}
	return true
}

var (
	errNoAnswer   = errors.New("realtime: a read was not answered")
	errUnanswered = errors.New("realtime: a read was not answered within the time after which a push server says that there is nothing")
)
