package realtime

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// replay is one replay of the history from just below the cursor. A replay that
// breaks off goes on from the last message it has shown, and still counts as
// begun when it first was.
type replay struct {
	where     string    // the address asked; with other channels there is another history
	start     time.Time // our clock
	requested time.Time // the same of the present try
	short     bool      // it begins above the cursor, for what a poll may have left out, and moves nothing
	poll      bool      // an answer of one message says all there is; one by a websocket may have lost the rest to a ping
	anchor    bool      // the first replay of all: what it shows is known, not delivered

	from     wire.Mid  // the server is asked for what follows this
	expect   wire.Mid  // the first message of the answer, if it is still kept: it proves the answer complete
	last     wire.Mid  // the last message shown
	newest   time.Time // the latest that one of them bears
	settled  wire.Mid  // the greatest message shown that arrived well before start
	complete bool
	stands   bool // the answer has shown the retention probe
	garbled  bool // it may have been what could not be decoded
	probed   bool // the answer has shown the probe
	hung     bool // the answer did not come at once
	many     bool // there is more than one message
	over     bool // it has come to its end
	guessed  bool // it is not certain that what was taken for old is
	strays

	shown, found int
	first        wire.Mid // of the present answer
	only         Message  // the anchor's last message; if the answer is not complete, its only one
	screen       bool     // the answer may hold what stood before the beginning
	screened     []Message
	screenedSize int
	recent       []anchored
	compacted    int // how much of it there was when it was last compacted
	dropped      int // of it, since there was too much
}

// anchored is a message of the first replay.
type anchored struct {
	key  packedKey
	unix int64 // when the server took it, in seconds as it tells them
}

// noTime stands for a time that is missing.
var noTime = time.Time{}.Unix()

// age is how much older a message is than the newest; one whose time is missing
// is not.
func (a *anchored) age(newest int64) time.Duration {
	if a.unix == noTime {
		return 0
	}
	return time.Unix(newest, 0).Sub(time.Unix(a.unix, 0))
}

// beginReplay starts a replay, or goes on with the one that broke off, and
// returns the mid to ask with.
func (s *history) beginReplay(now time.Time, where string) wire.Mid {
	if c := s.replay; c == nil || c.where != where || s.tags {
		s.replay = &replay{where: where, start: now, anchor: !s.anchored, from: s.watermark.Prev(), expect: s.watermark}
	} else if !c.last.IsZero() {
		c.from, c.expect = c.last.Prev(), c.last
	}
	s.since = 0
	if s.confirms(now) {
		s.confirm = time.Time{}
	}
	return s.nextAnswer(now)
}

// beginShortReplay starts a short replay, from where polls have hung that were
// answered by one message. If another replay has broken off it goes on instead:
// it shows as much.
func (s *history) beginShortReplay(now time.Time, where string) wire.Mid {
	if s.replay != nil && !s.replay.short {
		return s.beginReplay(now, where)
	}
	from := s.shortFrom
	if s.replay != nil && s.replay.from.Less(from) {
		from = s.replay.from
	}
	s.replay = &replay{where: where, start: now, short: true, from: from.Prev(), expect: from}
	return s.nextAnswer(now)
}

// forgetShortReplay lets go of a short replay that has broken off: what follows
// is a whole one.
func (s *history) forgetShortReplay() {
	if s.replay != nil && s.replay.short {
		s.replay = nil
	}
}

// nextAnswer makes the replay ready for another answer.
func (s *history) nextAnswer(now time.Time) wire.Mid {
	s.shortPending, s.replay.requested = false, now
	s.reorder.unordered = s.tags
	s.replay.first, s.replay.complete = wire.Mid{}, false
	s.replay.strays, s.replay.probed = strays{}, false
	s.replay.hung, s.replay.many, s.replay.over, s.replay.guessed = false, false, false, false
	s.replay.screened, s.replay.screenedSize = nil, 0
	s.replay.screen = !s.emptyAt.IsZero() && s.replay.from.IsZero()
	return s.replay.from
}

// replayed takes a message that the replay shows. It returns false if the queue
// is full: then the message has not been seen, and the replay has to break off.
func (s *history) replayed(m Message, now time.Time) bool {
	m.key = s.remembered(m.key)
	c := s.replay
	c.stands = c.stands || m.key.Mid == s.retentionProbe
	s.dateReplayed(&m, now)
	c.probed = c.probed || m.key == s.probe.key
	switch {
	case c.poll && c.takes(m, c.from):
		return true
	case c.anchor && s.isNews(m):
		c.show(m.key.Mid)
		return true
	case c.anchor:
		c.anchorAt(m)
		c.only = m
		return true
	case c.screen:
		return s.screen(m, now)
	default:
		return s.take(m, now)
	}
}

// endAnswer takes what was still held back when the answer came to its end. It
// returns false if the queue is full.
func (s *history) endAnswer(now time.Time) bool {
	s.replay.over = true
	s.dropPast(s.isPast, now)
	held := s.replay.screened
	if stray := s.replay.stray; stray != nil { // alone, so it came live
		held = append(held, *stray)
	}
	s.replay.stray, s.replay.screened, s.replay.screenedSize = nil, nil, 0
	for _, m := range held {
		if !s.take(m, now) {
			return false
		}
	}
	if s.replay.guessed {
		s.lose(Gap{Reason: GapUnread, Err: errGuessed})
	}
	if s.replay.complete {
		s.emptyAt, s.unsure, s.doubted = time.Time{}, false, false
	}
	return true
}

// take takes a message that the replay shows.
func (s *history) take(m Message, now time.Time) bool {
	c := s.replay
	s.reach(m.key.Mid)
	arrived, repeat := s.arrival(m.key)
	switch {
	case repeat:
		c.settle(m.key.Mid, arrived, s.settle)
		s.shown(m.key.Mid)
		return true
	case s.control(m, now):
		s.shown(m.key.Mid)
		return true
	case !s.queue.admit(m.size):
		return false
	default:
		s.sequence(m, now)
		s.note(m, now)
		m.Replayed = true
		c.found++
		s.reorder.found(m)
		s.shown(m.key.Mid)
		return true
	}
}

// settle notes that a message has been shown that may have arrived long enough
// ago for the cursor.
func (c *replay) settle(pos wire.Mid, arrived time.Time, settle time.Duration) {
	if arrived.Before(c.start.Add(-settle)) && c.settled.Less(pos) {
		c.settled = pos
	}
}

// shown notes that the answer holds a message, and tells those that wait, once
// it says something about others.
func (s *history) shown(pos wire.Mid) {
	s.replay.show(pos)
	if s.replay.complete {
		s.reorder.shown(pos)
	} else {
		s.reorder.begins()
	}
}

// show notes that the answer holds a message. An answer is complete, taken from
// the history, if it holds the message that was expected or more than one: a
// poll that found nothing hangs, and the first live message answers it alone.
func (c *replay) show(pos wire.Mid) {
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

// anchorAt takes a message of the first replay: it stands before the beginning,
// so it is known, and not delivered. Of the whole history only the newest part
// is remembered.
func (c *replay) anchorAt(m Message) {
	c.show(m.key.Mid)
	c.recent = append(c.recent, anchored{pack(m.key), m.Time.Unix()})
	if n := len(c.recent); n > maxRemembered || n >= max(1024, 2*c.compacted) {
		c.compact()
	}
}

// compact keeps what is not far below the newest message, and the newest of
// what is: the cursor may come to stand on it. Of more than can be remembered
// it keeps the greatest.
func (c *replay) compact() {
	slices.SortFunc(c.recent, func(a, b anchored) int { return a.key.compare(b.key) })
	c.recent = slices.CompactFunc(c.recent, func(a, b anchored) bool { return a.key == b.key })
	newest := newestOf(c.recent)
	old := 0
	for old < len(c.recent) && c.recent[old].age(newest) > rememberPassed {
		old++
	}
	old = max(old-1, 0)
	if most := maxRemembered - forgetAtOnce; len(c.recent)-old > most {
		c.dropped += len(c.recent) - old - most
		old = len(c.recent) - most
	}
	c.recent = slices.Delete(c.recent, 0, old)
	c.compacted = len(c.recent)
}

// newestOf is the greatest time there is.
func newestOf(recent []anchored) int64 {
	newest := recent[0].unix
	for _, a := range recent {
		newest = max(newest, a.unix)
	}
	return newest
}

// settleAnchor places the cursor by the server's clock, on the newest message
// that is settled, and remembers what is not far below it.
func (s *history) settleAnchor(now time.Time) {
	c := s.replay
	early, late := s.early, s.late
	s.anchored, s.early, s.late = true, nil, time.Time{}
	defer s.acks.begin()
	if len(c.recent) == 0 {
		return
	}
	c.compact()
	if !c.complete {
		if slices.Contains(early, c.only.key) { // so it has answered the replay as a live message
			s.live(c.only, now)
			return
		}
		s.suspect = c.only.key
	}
	newest, last := c.recent[len(c.recent)-1].unix, c.recent[len(c.recent)-1].key.mid()
	if !late.IsZero() {
		newest = late.Unix() // what follows is as good as unseen
	}
	s.placed = now
	for _, a := range c.recent {
		k := a.key.key()
		if a.age(newest) > s.settle {
			c.settled = k.Mid
			s.placed = now.Add(-a.age(newest))
		}
		s.remember(k, now)
		s.acks.settle(k)
		s.epoch(k.Mid)
	}
	if c.dropped > 0 {
		s.report(Forgotten{Messages: c.dropped})
	}
	s.newest = last
	s.reach(last)
	s.advance(c.settled, now)
	if s.watermark.IsZero() && (c.complete || !c.hung) {
		s.retentionProbe = last
	}
	s.moves = nil // what was kept before the beginning is owed to nobody
}

// A replayOutcome is how one attempt at a replay ended.
type replayOutcome uint8

const (
	replayEnded       replayOutcome = iota // the answer came to its end
	replaySilent                           // the server says that there is nothing kept after the cursor
	replayUnheard                          // no answer, which says nothing yet
	replayBroken                           // the answer did not come, or not to its end
	replayUnconfirmed                      // the answer came, and is not believed until another one says the same
)

// endReplay closes an attempt at a replay. owed tells that another replay has
// become due meanwhile. A broken replay is kept, to be gone on with, one in
// doubt made again. With again, the next replay is to begin at once: the answer
// was a single new message, which may have come live and before its turn.
func (s *history) endReplay(how replayOutcome, owed bool, now time.Time) (result ReplayEnded, again bool) {
	c := s.replay
	result = ReplayEnded{Messages: c.shown, Found: c.found, Complete: how == replayEnded && c.complete}
	switch how {
	case replayBroken:
		s.reorder.end(true)
		return result, false
	case replayUnconfirmed:
		s.replay = nil // the next one is to ask for the same
		s.reorder.expectAnother()
		return result, false
	}
	if result.Complete && c.poll {
		s.dating.learn(c.newest, now)
	}
	switch {
	case c.short:
		again = !c.complete && c.found > 0
	case c.anchor:
		again = how == replayEnded && !s.late.IsZero() // for what is news
		s.verify()
		if len(c.recent) == 0 && (how != replayEnded || c.garbled) {
			s.emptyAt, s.unsure = now, how != replaySilent
		}
		s.settleAnchor(now)
	case result.Complete:
		s.singles = 0
		s.verify()
		s.advance(c.settled, now)
		if s.retentionProbe.IsZero() && c.poll {
			s.retentionProbe = c.last
			s.tellLowWatermark()
		}
		s.letGo(s.watermark, now)
	case how == replaySilent:
		s.singles = 0
		s.verify()
		s.foundEmpty()
	case how == replayUnheard:
		s.singles = 0
	default:
		if c.hung {
			s.foundEmpty() // it was a live message that has ended the wait
		}
		again = c.found > 0
		s.singles++
		if c.shown == 1 && (c.poll || s.singles > 1) {
			if !again {
				s.verify()
			}
			s.letGo(c.last, now)
		}
	}
	s.replay = nil
	if again {
		s.reorder.expectAnother()
	} else {
		s.reorder.end(owed)
	}
	s.forget(now)
	if how == replayUnheard && !c.short && !s.replayedOnce {
		s.confirm = now
		if s.undated && !s.hangs {
			s.confirm = now.Add(confirmAfter)
		}
	}
	s.replayedOnce = s.replayedOnce || !c.short
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
func (s *history) verify() {
	c := s.replay
	if c.garbled && !c.stands {
		return // the retention probe may be what could not be decoded: the next replay will tell
	}
	gone := !s.retentionProbe.IsZero() && !c.stands
	apart := c.requested.Sub(s.replayedAt)
	if s.away && !s.replayedAt.IsZero() && (gone && apart > replaysApart || apart > keptFor) {
		s.lose(Gap{Reason: GapExpired})
	}
	if gone {
		s.retentionProbe = wire.Mid{}
	}
	s.replayedAt = c.requested
	if !s.up.IsZero() && !s.up.After(c.requested) {
		s.away = false
	}
	s.tellLowWatermark()
}
