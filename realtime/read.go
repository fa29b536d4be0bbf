package realtime

import (
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"slices"
	"time"
)

// chain is one read of the history from just below the cursor. A read that
// breaks off goes on from the last message it has shown, and still counts as
// begun when it first was.
type chain struct {
	where  string    // the address asked; with other channels there is another history
	start  time.Time // our clock
	asked  time.Time // the same of the present try
	peek   bool      // it begins above the cursor, for what a poll may have left out, and moves nothing
	poll   bool      // an answer of one message says all there is; one by a websocket may have lost the rest to a ping
	anchor bool      // the first read of all: what it shows is known, not delivered

	from     wire.Mid  // the server is asked for what follows this
	expect   wire.Mid  // the first message of the answer, if it is still kept: it proves the answer definite
	last     wire.Mid  // the last message shown
	newest   time.Time // the latest that one of them bears
	settled  wire.Mid  // the greatest message shown that arrived well before start
	definite bool
	stands   bool // the answer has shown the witness
	garbled  bool // it may have been what could not be decoded
	probed   bool // the answer has shown the probe
	hung     bool // the answer did not come at once
	many     bool // there is more than one message
	over     bool // it has come to its end
	guessed  bool // it is not certain that what was taken for old is
	strays

	shown, found int
	first        wire.Mid // of the present answer
	only         Message  // the anchor's last message; if the answer is not definite, its only one
	screen       bool     // the answer may hold what stood before the beginning
	screened     []Message
	screenedSize int
	recent       []anchored
	compacted    int // how much of it there was when it was last compacted
	dropped      int // of it, since there was too much
}

// anchored is a message of the first read.
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

// beginRead starts a read, or goes on with the one that broke off, and returns
// the mid to ask with.
func (s *session) beginRead(now time.Time, where string) wire.Mid {
	if c := s.chain; c == nil || c.where != where || s.tags {
		s.chain = &chain{where: where, start: now, anchor: !s.anchored, from: s.known.Prev(), expect: s.known}
	} else if !c.last.IsZero() {
		c.from, c.expect = c.last.Prev(), c.last
	}
	s.since = 0
	if s.confirms(now) {
		s.confirm = time.Time{}
	}
	return s.ask(now)
}

// beginPeek starts a short read, from where polls have hung that were answered
// by one message. If another read has broken off it goes on instead: it shows
// as much.
func (s *session) beginPeek(now time.Time, where string) wire.Mid {
	if s.chain != nil && !s.chain.peek {
		return s.beginRead(now, where)
	}
	from := s.peekFrom
	if s.chain != nil && s.chain.from.Less(from) {
		from = s.chain.from
	}
	s.chain = &chain{where: where, start: now, peek: true, from: from.Prev(), expect: from}
	return s.ask(now)
}

// forgetPeek lets go of a short read that has broken off: what follows is a
// whole one.
func (s *session) forgetPeek() {
	if s.chain != nil && s.chain.peek {
		s.chain = nil
	}
}

// ask makes the chain ready for another answer.
func (s *session) ask(now time.Time) wire.Mid {
	s.peekDue, s.chain.asked = false, now
	s.order.unordered = s.tags
	s.chain.first, s.chain.definite = wire.Mid{}, false
	s.chain.strays, s.chain.probed = strays{}, false
	s.chain.hung, s.chain.many, s.chain.over, s.chain.guessed = false, false, false, false
	s.chain.screened, s.chain.screenedSize = nil, 0
	s.chain.screen = !s.emptyAt.IsZero() && s.chain.from.IsZero()
	return s.chain.from
}

// history takes a message that the read shows. It returns false if the queue is
// full: then the message has not been seen, and the read has to break off.
func (s *session) history(m Message, now time.Time) bool {
	m.key = s.remembered(m.key)
	c := s.chain
	c.stands = c.stands || m.key.Mid == s.witness
	s.dateRead(&m, now)
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
func (s *session) endAnswer(now time.Time) bool {
	s.chain.over = true
	s.dropPast(s.isPast, now)
	held := s.chain.screened
	if stray := s.chain.stray; stray != nil { // alone, so it came live
		held = append(held, *stray)
	}
	s.chain.stray, s.chain.screened, s.chain.screenedSize = nil, nil, 0
	for _, m := range held {
		if !s.take(m, now) {
			return false
		}
	}
	if s.chain.guessed {
		s.lose(Gap{Reason: GapUnread, Err: errGuessed})
	}
	if s.chain.definite {
		s.emptyAt, s.unsure, s.doubted = time.Time{}, false, false
	}
	return true
}

// take takes a message that the read shows.
func (s *session) take(m Message, now time.Time) bool {
	c := s.chain
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
		s.order.found(m)
		s.shown(m.key.Mid)
		return true
	}
}

// settle notes that a message has been shown that may have arrived long enough
// ago for the cursor.
func (c *chain) settle(pos wire.Mid, arrived time.Time, settle time.Duration) {
	if arrived.Before(c.start.Add(-settle)) && c.settled.Less(pos) {
		c.settled = pos
	}
}

// shown notes that the answer holds a message, and tells those that wait, once
// it says something about others.
func (s *session) shown(pos wire.Mid) {
	s.chain.show(pos)
	if s.chain.definite {
		s.order.shown(pos)
	} else {
		s.order.begins()
	}
}

// show notes that the answer holds a message. An answer is definite, taken from
// the history, if it holds the message that was expected or more than one: a
// poll that found nothing hangs, and the first live message answers it alone.
func (c *chain) show(pos wire.Mid) {
	c.shown++
	switch {
	case c.first.IsZero():
		c.first = pos
	case c.first != pos:
		c.definite = true
	}
	if !c.expect.IsZero() && pos == c.expect {
		c.definite = true
	}
	if c.last.Less(pos) {
		c.last = pos
	}
}

// anchorAt takes a message of the first read: it stands before the beginning,
// so it is known, and not delivered. Of the whole history only the newest part
// is remembered.
func (c *chain) anchorAt(m Message) {
	c.show(m.key.Mid)
	c.recent = append(c.recent, anchored{pack(m.key), m.Time.Unix()})
	if n := len(c.recent); n > maxRemembered || n >= max(1024, 2*c.compacted) {
		c.compact()
	}
}

// compact keeps what is not far below the newest message, and the newest of
// what is: the cursor may come to stand on it. Of more than can be remembered
// it keeps the greatest.
func (c *chain) compact() {
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
func (s *session) settleAnchor(now time.Time) {
	c := s.chain
	early, late := s.early, s.late
	s.anchored, s.early, s.late = true, nil, time.Time{}
	defer s.ledger.begin()
	if len(c.recent) == 0 {
		return
	}
	c.compact()
	if !c.definite {
		if slices.Contains(early, c.only.key) { // so it has answered the read as a live message
			s.live(c.only, now)
			return
		}
		s.doubtful = c.only.key
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
		s.ledger.settle(k)
		s.epoch(k.Mid)
	}
	if c.dropped > 0 {
		s.report(Forgotten{Messages: c.dropped})
	}
	s.newest = last
	s.reach(last)
	s.advance(c.settled, now)
	if s.known.IsZero() && (c.definite || !c.hung) {
		s.witness = last
	}
	s.moves = nil // what was kept before the beginning is owed to nobody
}

// A readOutcome is how one attempt at a read ended.
type readOutcome uint8

const (
	readEnded   readOutcome = iota // the answer came to its end
	readSilent                     // the server says that there is nothing kept after the cursor
	readUnheard                    // no answer, which says nothing yet
	readBroken                     // the answer did not come, or not to its end
	readDoubted                    // the answer came, and is not believed until another one says the same
)

// endRead closes an attempt at a read. owed tells that another read has become
// due meanwhile. A broken read is kept, to be gone on with, one in doubt made
// again. With again, the next read is to begin at once: the answer was a single
// new message, which may have come live and before its turn.
func (s *session) endRead(how readOutcome, owed bool, now time.Time) (result ReadEnded, again bool) {
	c := s.chain
	result = ReadEnded{Messages: c.shown, Found: c.found, Complete: how == readEnded && c.definite}
	switch how {
	case readBroken:
		s.order.end(true)
		return result, false
	case readDoubted:
		s.chain = nil // the next one is to ask for the same
		s.order.expectAnother()
		return result, false
	}
	if result.Complete && c.poll {
		s.dating.learn(c.newest, now)
	}
	switch {
	case c.peek:
		again = !c.definite && c.found > 0
	case c.anchor:
		again = how == readEnded && !s.late.IsZero() // for what is news
		s.verify()
		if len(c.recent) == 0 && (how != readEnded || c.garbled) {
			s.emptyAt, s.unsure = now, how != readSilent
		}
		s.settleAnchor(now)
	case result.Complete:
		s.singles = 0
		s.verify()
		s.advance(c.settled, now)
		if s.witness.IsZero() && c.poll {
			s.witness = c.last
			s.tellFloor()
		}
		s.letGo(s.known, now)
	case how == readSilent:
		s.singles = 0
		s.verify()
		s.foundEmpty()
	case how == readUnheard:
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
	s.chain = nil
	if again {
		s.order.expectAnother()
	} else {
		s.order.end(owed)
	}
	s.forget(now)
	if how == readUnheard && !c.peek && !s.readOnce {
		s.confirm = now
		if s.undated && !s.hangs {
			s.confirm = now.Add(confirmAfter)
		}
	}
	s.readOnce = s.readOnce || !c.peek
	return result, again
}

const (
	// keptFor is the longest a push server keeps a message.
	keptFor = 24 * time.Hour
	// readsApart is how long two reads lie apart at the most, with some to
	// spare. What lives shorter than that can be lost at any time.
	readsApart = 5 * time.Minute
)

// verify looks, at the end of a whole read, whether the history still reaches
// back to where it was known. Where it does not, messages may have come and
// expired unseen, unless the read before was not long ago or there was a
// connection all the time.
func (s *session) verify() {
	c := s.chain
	if c.garbled && !c.stands {
		return // the witness may be what could not be decoded: the next read will tell
	}
	gone := !s.witness.IsZero() && !c.stands
	apart := c.asked.Sub(s.readAt)
	if s.away && !s.readAt.IsZero() && (gone && apart > readsApart || apart > keptFor) {
		s.lose(Gap{Reason: GapExpired})
	}
	if gone {
		s.witness = wire.Mid{}
	}
	s.readAt = c.asked
	if !s.up.IsZero() && !s.up.After(c.asked) {
		s.away = false
	}
	s.tellFloor()
}
