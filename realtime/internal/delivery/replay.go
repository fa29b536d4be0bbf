package delivery

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/internal/fifo"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Replay is one replay of the history from just below the cursor. A replay that
// breaks off goes on from the last message it has shown, and still counts as
// begun when it first was.
type Replay struct {
	where     string    // the address asked; with other channels there is another history
	Start     time.Time // our clock
	Requested time.Time // the same of the present try
	Short     bool      // it begins above the cursor, for what a poll may have left out, and moves nothing
	Poll      bool      // an answer of one message says all there is; one by a websocket may have lost the rest to a ping
	Anchor    bool      // the first replay of all: what it shows is known, not delivered

	from       wire.Mid  // the server is asked for what follows this
	expect     wire.Mid  // the first message of the answer, if it is still kept: it proves the answer complete
	last       wire.Mid  // the last message shown
	newest     time.Time // the latest that one of them bears
	above      wire.Mid  // where it begins, if that is above the watermark: it does not ask for what that stands on
	settled    wire.Mid  // the greatest message shown that arrived well before start
	complete   bool
	stands     bool // the answer has shown the retention probe
	garbled    bool // it may have been what could not be decoded
	showsProbe bool // the answer has shown the probe
	Hung       bool // the answer did not come at once
	many       bool // there is more than one message
	over       bool // it has come to its end
	guessed    bool // it is not certain that what was taken for old is
	Strays

	settling     settling
	shown, found int
	first        wire.Mid // of the present answer
	only         Message  // the anchor's last message; if the answer is not complete, its only one
	screen       bool     // the answer may hold what stood before the beginning
	screened     fifo.Queue[Message]
	screenedSize int
	recent       []anchored
	compacted    int // how much of it there was when it was last compacted
	dropped      int // of it, since there was too much
}

// BeginReplay starts a replay, or goes on with the one that broke off, and
// returns the mid to ask with.
func (s *History) BeginReplay(now time.Time, where string) wire.Mid {
	if c := s.Replay; c == nil || c.where != where || s.Tags || s.beginsOver() || s.away && !c.above.IsZero() {
		s.Replay = nil
		at := s.replayStart(now)
		s.Replay = &Replay{where: where, Start: now, Anchor: !s.Anchored, from: at.Prev(), expect: at}
		if s.Watermark.Less(at) {
			s.Replay.above, s.Replay.stands = at, true
		}
	} else if !c.last.IsZero() {
		c.from, c.expect = c.last.Prev(), c.last
		c.settling.over = true
	}
	s.Arrived = 0
	if s.confirms(now) {
		s.ConfirmAt = time.Time{}
	}
	return s.nextAnswer(now)
}

// BeginShortReplay starts a short replay, from where polls have hung that were
// answered by one message. If another replay has broken off it goes on instead:
// it shows as much.
func (s *History) BeginShortReplay(now time.Time, where string) wire.Mid {
	if s.Replay != nil && !s.Replay.Short {
		return s.BeginReplay(now, where)
	}
	from := s.shortFrom
	if s.Replay != nil && s.Replay.from.Less(from) {
		from = s.Replay.from
	}
	s.Replay = &Replay{where: where, Start: now, Short: true, from: from.Prev(), expect: from}
	return s.nextAnswer(now)
}

// ForgetShortReplay lets go of a short replay that has broken off: what follows
// is a whole one.
func (s *History) ForgetShortReplay() {
	if s.Replay != nil && s.Replay.Short {
		s.Replay = nil
	}
}

// nextAnswer makes the replay ready for another answer.
func (s *History) nextAnswer(now time.Time) wire.Mid {
	s.shortPending, s.Replay.Requested = false, now
	s.Reorder.unordered = s.Tags
	s.Replay.first, s.Replay.complete = wire.Mid{}, false
	s.Replay.Strays, s.Replay.showsProbe = Strays{}, false
	s.Replay.Hung, s.Replay.many, s.Replay.over, s.Replay.guessed = false, false, false, false
	s.Replay.screened, s.Replay.screenedSize = fifo.Queue[Message]{}, 0
	s.Replay.screen = !s.emptyAt.IsZero() && s.Replay.from.IsZero()
	return s.Replay.from
}

// Replayed takes a message that the replay shows. It returns false if the queue
// is full: then the message has not been seen, and the replay has to break off.
func (s *History) Replayed(m Message, now time.Time) bool {
	m.Key = s.remembered(m.Key)
	c := s.Replay
	c.stands = c.stands || m.Key.Mid == s.RetentionProbe
	s.dateReplayed(&m, now)
	c.showsProbe = c.showsProbe || m.Key == s.probe.key
	switch {
	case c.Poll && c.Takes(m, c.from):
		return true
	case c.Anchor && s.isNews(m):
		c.show(m.Key.Mid)
		return true
	case c.Anchor:
		c.anchorAt(m)
		c.only = m
		return true
	case c.screen:
		return s.screen(m, now)
	default:
		return s.take(m, now)
	}
}

// EndAnswer takes what was still held back when the answer came to its end. It
// returns false if the queue is full.
func (s *History) EndAnswer(now time.Time) bool {
	s.Replay.over = true
	s.dropPast(s.isPast, now)
	if stray := s.Replay.Stray; stray != nil { // alone, so it came live
		s.Replay.Stray = nil
		s.Replay.holdBack(*stray)
	}
	for s.Replay.screened.Len() > 0 {
		if !s.take(s.Replay.unscreen(), now) {
			s.Replay.screened, s.Replay.screenedSize = fifo.Queue[Message]{}, 0
			return false
		}
	}
	if s.Replay.guessed {
		s.Lose(Gap{Unread, errGuessed})
	}
	if s.Replay.complete {
		s.emptyAt, s.unsure, s.distrusted = time.Time{}, false, false
	}
	return true
}

// take takes a message that the replay shows.
func (s *History) take(m Message, now time.Time) bool {
	c := s.Replay
	s.reach(m.Key.Mid)
	arrived, repeat := s.arrival(m.Key)
	m.lasts = lasts(&m) || !s.Stamped && c.complete
	switch {
	case repeat:
		c.settle(m.Key.Mid, arrived, s.Settle)
	case s.takes(&m, now):
	case !s.queue.admit(m.Size):
		return false
	default:
		s.sequence(&m, now)
		s.note(&m, now)
		m.Replayed = true
		c.found++
		s.Reorder.found(m)
	}
	s.shown(m.Key.Mid)
	s.dates(&m, m.lasts, now)
	return true
}

// settle notes that a message has been shown that may have arrived long enough
// ago for the cursor.
func (c *Replay) settle(pos wire.Mid, arrived time.Time, settle time.Duration) {
	if arrived.Before(c.Start.Add(-settle)) && c.settled.Less(pos) {
		c.settled = pos
	}
}

// shown notes that the answer holds a message, and tells those that wait, once
// it says something about others.
func (s *History) shown(pos wire.Mid) {
	s.Replay.show(pos)
	if s.Replay.complete {
		s.Reorder.shown(pos)
	} else {
		s.Reorder.begins()
	}
}

// show notes that the answer holds a message. An answer is complete, taken from
// the history, if it holds the message that was expected or more than one: a
// poll that found nothing hangs, and the first live message answers it alone.
func (c *Replay) show(pos wire.Mid) {
	c.shown++
	switch {
	case c.first.IsZero():
		c.first = pos
	case c.first != pos:
		c.complete = true
	}
	if !c.expect.IsZero() && pos == c.expect {
		c.complete = true
	}
	if c.last.Less(pos) {
		c.last = pos
	}
}

// An Outcome is how one attempt at a replay ended.
type Outcome uint8

const (
	ReplayEnded       Outcome = iota // the answer came to its end
	ReplaySilent                     // the server says that there is nothing kept after the cursor
	ReplayUnheard                    // no answer, which says nothing yet
	ReplayBroken                     // the answer did not come, or not to its end
	ReplayUnconfirmed                // the answer came, and is not believed until another one says the same
)

// ReplayResult is what came of a replay.
type ReplayResult struct {
	Complete bool // false: broken off, or there was nothing to read
	Messages int  // that the server showed, repeats included
	Found    int  // among them, that had not come live
}

// EndReplay closes an attempt at a replay. pending tells that another replay
// has become due meanwhile. A broken replay is kept, to be gone on with, one in
// doubt made again. With again, the next replay is to begin at once: the answer
// was a single new message, which may have come live and before its turn.
func (s *History) EndReplay(how Outcome, pending bool, now time.Time) (result ReplayResult, again bool) {
	c := s.Replay
	result = ReplayResult{Messages: c.shown, Found: c.found, Complete: how == ReplayEnded && c.complete}
	switch how {
	case ReplayBroken:
		s.Reorder.end(true)
		return result, false
	case ReplayUnconfirmed:
		s.Replay = nil // the next one is to ask for the same
		s.Reorder.expectAnother()
		return result, false
	}
	if result.Complete && c.Poll {
		s.dating.learn(c.newest, now)
	}
	switch {
	case c.Short:
		again = !c.complete && c.found > 0
	case c.Anchor:
		again = how == ReplayEnded && !s.late.IsZero() // for what is news
		early := s.early
		s.verify()
		if len(c.recent) == 0 && (how != ReplayEnded || c.garbled) {
			s.emptyAt, s.unsure = now, how != ReplaySilent
		}
		s.settleAnchor(now)
		if how == ReplayEnded { // what has come live meanwhile has not been taken
			again = again || slices.ContainsFunc(early, func(k wire.Key) bool { return !s.Knows(k) })
		}
	case result.Complete:
		s.singles = 0
		s.verify()
		s.advance(c.settled, now)
		if s.RetentionProbe.IsZero() && c.Poll {
			s.RetentionProbe = c.last
			s.tellLowWatermark()
		}
		s.letGo(s.Watermark, now)
	case how == ReplaySilent:
		s.singles = 0
		s.verify()
		s.foundEmpty()
	case how == ReplayUnheard:
		s.singles = 0
	default:
		if c.Hung {
			s.foundEmpty() // it was a live message that has ended the wait
		}
		again = c.found > 0
		s.singles++
		if c.shown == 1 && (c.Poll || s.singles > 1) {
			if !again {
				s.verify()
			}
			s.letGo(c.last, now)
		}
	}
	if !c.Short {
		s.proof.failed = s.Watermark.Less(c.above)
	}
	s.Replay = nil
	if again {
		s.Reorder.expectAnother()
	} else {
		s.Reorder.end(pending)
	}
	s.forget(now)
	if how == ReplayUnheard && !c.Short && !s.replayedOnce {
		s.ConfirmAt = now
		if s.Undated && !s.Hangs {
			s.ConfirmAt = now.Add(confirmAfter)
		}
	}
	s.replayedOnce = s.replayedOnce || !c.Short
	return result, again
}

const (
	// keptFor is the longest a push server keeps a message.
	keptFor = 24 * time.Hour
	// replaysApart is how long two replays lie apart at the most, with some to
	// spare. What lives shorter than that can be lost at any time.
	replaysApart = 5 * time.Minute
)

// verify looks, at the end of a whole replay, whether the history still reaches
// back to where it was known. Where it does not, messages may have come and
// expired unseen, unless the replay before was not long ago or there was a
// connection all the time.
func (s *History) verify() {
	c := s.Replay
	if c.garbled && !c.stands {
		return // the retention probe may be what could not be decoded: the next replay will tell
	}
	gone := !s.RetentionProbe.IsZero() && !c.stands
	apart := c.Requested.Sub(s.ReplayedAt)
	if s.away && !s.ReplayedAt.IsZero() && (gone && apart > replaysApart || apart > keptFor) {
		s.Lose(Gap{Reason: Expired})
	}
	if gone {
		s.RetentionProbe = wire.Mid{}
	}
	s.ReplayedAt = c.Requested
	if !s.up.IsZero() && !s.up.After(c.Requested) {
		s.away = false
	}
	s.tellLowWatermark()
}
