package delivery

import (
	"errors"
	"time"
)

const (
	// UnheardAfter is how long a poll may be without an answer: servers hold
	// them for 40 s.
	UnheardAfter = 50 * time.Second
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

var (
	ErrNoAnswer   = errors.New("realtime: a replay was not answered")
	ErrUnanswered = errors.New("realtime: a replay was not answered within the time after which a push server says that there is nothing")
)

// stands reports whether the replay has to have an answer, since there is
// something that the server keeps.
func (s *History) stands() bool {
	if !s.Replay.above.IsZero() {
		return false
	}
	probe := s.probe.at
	return !s.RetentionProbe.IsZero() || !probe.IsZero() && s.Replay.Requested.Sub(probe) < ProbeFor
}

// MayBeEmpty reports whether the replay may have no answer at all, since
// nothing need be kept where it begins.
func (s *History) MayBeEmpty() bool { return s.Replay.Short || !s.stands() }

// confirms reports whether a replay is due, since it is not known what the
// silence of the first one meant.
func (s *History) confirms(now time.Time) bool {
	return !s.ConfirmAt.IsZero() && !now.Before(s.ConfirmAt)
}

// AsksOtherwise reports whether the next replay is to be a websocket's, where
// that is another way, since the last poll has left in doubt what there must
// be.
func (s *History) AsksOtherwise() bool {
	return !s.Replay.Short && s.stands() && (s.silent%2 == 1 || s.lacking == 1)
}

// ReplayPatience is how long the replay's answer may take from when the server
// has the request. If anything is kept it is there at once; but a server may
// take long to gather much. other reports whether there is another way to read,
// leaving whether it is to be the last replay.
func (s *History) ReplayPatience(other, leaving bool) time.Duration {
	patience := s.patienceFor(other)
	if leaving && s.MayBeEmpty() {
		return min(patience, slowly/2)
	}
	return patience
}

func (s *History) patienceFor(other bool) time.Duration {
	c := s.Replay
	switch {
	case c.Short:
		return HoldMax
	case c.Anchor && c.Poll && s.Mistrusts(c.Requested):
		return UnheardAfter
	case c.Anchor && s.Undated && s.silent == 0:
		return undatedFirst
	case c.Anchor && s.Undated:
		return undatedAgain
	case c.Anchor:
		return s.Reorder.Patience
	case !s.stands() && (!s.replayedOnce || s.Hangs && !s.unsure || c.Requested.Before(s.ConfirmAt)):
		return s.Reorder.Patience
	case c.Poll && (s.silent > 0 || !s.stands()):
		return UnheardAfter
	case !s.stands(), s.silent > 1:
		return slowlyMax
	case other && !s.replayedOnce || !c.Poll:
		return slowly / 2
	case !s.replayedOnce:
		return UnheardAfter
	default:
		return slowly
	}
}

// MayYield reports whether a replay without an answer is to be given up for
// another one: one of these channels, that cannot come otherwise, or one of
// others.
func (s *History) MayYield(toOwn, toOthers bool) bool {
	if !s.MayBeEmpty() || s.Replay.Anchor {
		return false
	}
	if toOwn && s.yielded < maxYields {
		s.yielded++
		return true
	}
	return toOthers
}

// Answers notes that the replay is answered.
func (s *History) Answers() { s.silent, s.yielded = 0, 0 }

// NoAnswer returns how a replay ends that has had no answer for some time, and
// why; told: the server has said that there is none. One that is not confirmed
// is to be made again at once.
func (s *History) NoAnswer(told bool, waited time.Duration) (how Outcome, why error) {
	c := s.Replay
	if !c.Short {
		s.silent++
	}
	switch {
	case c.Short:
		return ReplayUnheard, nil
	case told:
		s.Answers()
		return ReplaySilent, nil
	case c.Poll && waited >= UnheardAfter:
		s.yielded = 0
		return ReplayBroken, ErrUnanswered
	case c.Anchor && s.Undated && s.silent == 1:
		return ReplayUnconfirmed, ErrNoAnswer
	case !c.Poll && s.silent >= silentReplays, !c.Poll && s.MayBeEmpty() && waited >= slowlyMax:
		return ReplaySilent, nil
	case s.MayBeEmpty():
		return ReplayUnheard, nil
	default:
		return ReplayBroken, ErrNoAnswer
	}
}

// PastPoll is what a poll from the beginning of the history is answered by,
// where the beginning was taken for that of an empty one. A poll that hangs is
// answered by one live message; anything else is the history, and a replay has
// to look for what of it is new.
type PastPoll struct {
	Only  *Message // all there is so far
	Whole bool     // it is the history
}

// Takes takes a message that is not to be taken before the end, or not at all.
func (p *PastPoll) Takes(m Message) bool {
	switch {
	case m.Transient:
		return false
	case p.Only == nil && !p.Whole:
		p.Only = &m
	case p.Whole || p.Only.Key != m.Key:
		p.Only, p.Whole = nil, true
	}
	return true
}
