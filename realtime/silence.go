package realtime

import (
	"errors"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
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
	// undatedFirst is how long a first replay waits whose result cannot be put
	// right later, since messages bear no time. It is made twice, and
	// undatedAgain is the same for the second time.
	undatedFirst = 1750 * time.Millisecond
	undatedAgain = 250 * time.Millisecond
	// confirmAfter is how long after it such a replay is followed by one that
	// waits until the server has spoken. Version 5 wants each message confirmed
	// on each connection, so that one is not to be there when the first
	// messages come.
	confirmAfter = 75 * time.Second
	// maxYields is how many replays in a row may be given up for another one
	// without an answer.
	maxYields = 2
	// silentReplays is how many replays in a row have to be silent, by polls
	// and by websockets, until it is believed that what should be there has
	// expired, although the server has not said so.
	silentReplays = 4
)

// stands reports whether the replay has to have an answer, since there is
// something that the server keeps.
func (s *history) stands() bool {
	probe := s.probe.at
	return !s.retentionProbe.IsZero() || !probe.IsZero() && s.replay.requested.Sub(probe) < probeFor
}

// mayBeEmpty reports whether the replay may have no answer at all, since
// nothing need be kept where it begins.
func (s *history) mayBeEmpty() bool { return s.replay.short || !s.stands() }

// confirms reports whether a replay is due, since it is not known what the
// silence of the first one meant.
func (s *history) confirms(now time.Time) bool { return !s.confirm.IsZero() && !now.Before(s.confirm) }

// asksOtherwise reports whether the next replay is to be a websocket's, where
// that is another way, since the last poll has left in doubt what there must
// be.
func (s *history) asksOtherwise() bool {
	return !s.replay.short && s.stands() && (s.silent%2 == 1 || s.lacking == 1)
}

// replayPatience is how long the replay's answer may take from when the server
// has the request. If anything is kept it is there at once; but a server may
// take long to gather much. other reports whether there is another way to read.
func (s *history) replayPatience(other bool) time.Duration {
	c := s.replay
	switch {
	case c.short:
		return holdMax
	case c.anchor && c.poll && s.mistrusts(c.requested):
		return unheardAfter
	case c.anchor && s.undated && s.silent == 0:
		return undatedFirst
	case c.anchor && s.undated:
		return undatedAgain
	case c.anchor:
		return s.reorder.patience
	case !s.stands() && (!s.replayedOnce || s.hangs && !s.unsure || c.requested.Before(s.confirm)):
		return s.reorder.patience
	case c.poll && (s.silent > 0 || !s.stands()):
		return unheardAfter
	case !s.stands(), s.silent > 1:
		return slowlyMax
	case other && !s.replayedOnce || !c.poll:
		return slowly / 2
	case !s.replayedOnce:
		return unheardAfter
	default:
		return slowly
	}
}

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
	case k.conn != nil && !now.Before(k.begun.Add(l.answerWithin(k))):
		l.replayOver(s, replayBroken, errEndless)
		return
	case k.sent.IsZero() || k.conn != nil:
		l.replayOver(s, replayBroken, errStall)
		return
	}
	patience := s.history.replayPatience(l.otherWay(s))
	if s.status.leaving && s.history.mayBeEmpty() {
		patience = min(patience, slowly/2)
	}
	until := k.sent.Add(patience)
	if now.Before(until) && !l.yields(s) {
		if s.status.pending != replayWhole || now.Sub(k.sent) >= 2*holdMax {
			l.dedup.reorder.release()
		}
		if again := now.Add(holdMax); again.Before(until) {
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
	if !s.history.mayBeEmpty() || s.history.replay.anchor {
		return false
	}
	if s.status.pending == replayWhole && !s.status.polling && s.history.yielded < maxYields {
		s.history.yielded++
		return true
	}
	return len(l.waiting) > 0
}

// idleReplay reports whether a poll that may have no answer was ended by a
// middle box because nothing was sent over it.
func (l *loop) idleReplay(s *connection, err error, now time.Time) bool {
	k := l.replaying
	idle := s.history.replay.poll && s.history.mayBeEmpty() && k.conn == nil && !k.sent.IsZero() && now.Sub(k.sent) >= idleLeast
	return idle && !isFalse(err) && mayBeIdle(err)
}

// noAnswer ends a replay without an answer; told: the server has said that
// there is none.
func (l *loop) noAnswer(s *connection, told bool) {
	c := s.history.replay
	waited := time.Since(l.replaying.sent)
	if !c.short {
		s.history.silent++
	}
	switch {
	case c.short:
		l.replayOver(s, replayUnheard, nil)
	case told:
		s.history.silent, s.history.yielded = 0, 0
		l.replayOver(s, replaySilent, nil)
	case c.poll && waited >= unheardAfter:
		s.history.yielded = 0
		l.replayOver(s, replayBroken, errUnanswered)
	case c.anchor && s.history.undated && s.history.silent == 1:
		l.replayAgain(s)
	case !c.poll && s.history.silent >= silentReplays, !c.poll && s.history.mayBeEmpty() && waited >= slowlyMax:
		l.replayOver(s, replaySilent, nil)
	case s.history.mayBeEmpty():
		l.replayOver(s, replayUnheard, nil)
	default:
		l.replayOver(s, replayBroken, errNoAnswer)
	}
}

// isDead reports whether the websocket beside a replay that was not answered is
// no better off, where something should come over it now and then: then the
// server may have been away for a while.
func (l *loop) isDead(s *connection) bool {
	heard := s.status.state == StateLive && s.heardAt.After(s.history.replay.requested.Add(unheardAfter/2))
	return s.history.undated && !s.status.polling && !heard
}

// replayAgain begins a replay without an answer once more, and at once.
func (l *loop) replayAgain(s *connection) {
	now := time.Now()
	l.timers.disarm(timerReplay)
	l.replaying.hangUp(transport.CloseNormal)
	result, _ := s.history.endReplay(replayUnconfirmed, true, now)
	result.Err = errNoAnswer
	l.logReplay(s, result)
	l.observe(result)
	l.beginReplay(replayRequest{connection: s}, now)
}

// hangingAfterAll: the history was read, so there is a server, and a poll that
// hangs is with it.
func (l *loop) hangingAfterAll(s *connection) {
	if s.unheard {
		s.unheard = false
		if s.hung && s.status.polling && s.live.isUp() {
			l.hanging(s, time.Now())
		}
	}
}

// pastPoll is what a poll from the beginning of the history is answered by,
// where the beginning was taken for that of an empty one. A poll that hangs is
// answered by one live message; anything else is the history, and a replay has
// to look for what of it is new.
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
