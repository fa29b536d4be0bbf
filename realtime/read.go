package realtime

import (
	"slices"
	"time"
)

const (
	// screenFor is how long after a first read without an answer its result is in doubt.
	screenFor = time.Minute
	// maxScreened is how many messages are held back meanwhile.
	maxScreened = 1024
)

// chain is one read of the history from just below the cursor. A read that breaks off goes on from the last
// message it has shown, and still counts as begun when it first was.
type chain struct {
	where  string    // the address asked; with other channels there is another history
	start  time.Time // our clock
	anchor bool      // the first read of all: what it shows is known, not delivered

	from     mid // the server is asked for what follows this
	expect   mid // the first message of the answer, if it is still kept: it proves the answer definite
	last     mid // the last message shown
	settled  mid // the greatest message shown that arrived well before start
	definite bool

	shown, found int
	first        mid     // of the present answer
	only         Message // the anchor's last message; if the answer is not definite, its only one
	screen       bool    // the answer may hold what stood before the beginning
	screened     []Message
	recent       []anchored
}

// anchored is a message of the first read.
type anchored struct {
	key  key
	time time.Time // the server's
}

// beginRead starts a read, or goes on with the one that broke off, and returns the mid to ask with.
func (s *session) beginRead(now time.Time, where string) mid {
	if s.chain == nil || s.chain.where != where {
		s.chain = &chain{where: where, start: now, anchor: !s.anchored, from: s.known.prev(), expect: s.known}
	} else if c := s.chain; !c.last.isZero() {
		c.from, c.expect = c.last.prev(), c.last
	}
	s.chain.first, s.chain.definite, s.chain.screened = mid{}, false, nil
	s.chain.screen = !s.emptyAt.IsZero() && s.chain.from.isZero() && now.Sub(s.emptyAt) < screenFor
	s.since = 0
	return s.chain.from
}

// readPatience is how long the read's answer may take from when the server has the request: from the zero mid,
// with nothing kept, there is none; otherwise it is there at once.
func (s *session) readPatience() time.Duration {
	if s.chain.from.isZero() {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// history takes a message that the read shows. It returns false if the queue is full: then the message has not
// been seen, and the read has to break off.
func (s *session) history(m Message, now time.Time) bool {
	c := s.chain
	switch {
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

// screen holds messages back until it is known whether they stood before the beginning. A first read without an
// answer says that nothing was kept; but the server may only have been slow, and then all that it keeps would come
// now as if it were new. What is older than the newest message by more than has passed since, by the server's own
// clock, is from before.
func (s *session) screen(m Message, now time.Time) bool {
	c := s.chain
	c.screened = append(c.screened, m)
	age := now.Sub(s.emptyAt) + time.Second // its clock shows whole seconds
	for len(c.screened) > 0 && m.Time.Sub(c.screened[0].Time) >= age {
		old := c.screened[0].key
		c.screened = c.screened[1:]
		if _, repeat := s.seen[old]; !repeat {
			s.remember(old, now)
			s.ledger.settle(old)
		}
		c.show(old.mid)
		s.order.shown(old.mid)
	}
	if len(c.screened) <= maxScreened {
		return true
	}
	first := c.screened[0]
	c.screened = c.screened[1:]
	return s.take(first, now)
}

// endAnswer takes what was still held back when the answer came to its end. It returns false if the queue is full.
func (s *session) endAnswer(now time.Time) bool {
	held := s.chain.screened
	s.chain.screened = nil
	for _, m := range held {
		if !s.take(m, now) {
			return false
		}
	}
	if s.chain.definite {
		s.emptyAt = time.Time{}
	}
	return true
}

// take takes a message that the read shows.
func (s *session) take(m Message, now time.Time) bool {
	c := s.chain
	arrived, repeat := s.seen[m.key]
	switch {
	case repeat:
		if arrived.Before(c.start.Add(-s.settle)) && c.settled.less(m.key.mid) {
			c.settled = m.key.mid
		}
		c.show(m.key.mid)
		s.order.shown(m.key.mid)
		return true
	case !s.queue.admit(m.size):
		return false
	default:
		s.note(m, now)
		m.Replayed = true
		c.found++
		c.show(m.key.mid)
		s.order.found(m)
		return true
	}
}

// show notes that the answer holds a message. An answer is definite, taken from the history, if it holds the
// message that was expected or more than one: a poll that found nothing hangs, and the first live message
// answers it alone.
func (c *chain) show(pos mid) {
	c.shown++
	switch {
	case c.first.isZero():
		c.first = pos
	case c.first != pos:
		c.definite = true
	}
	if !c.expect.isZero() && pos == c.expect {
		c.definite = true
	}
	c.last = pos
}

// anchorAt takes a message of the first read: it stands before the beginning, so it is known, and not
// delivered. Of the whole history only the newest part is remembered.
func (c *chain) anchorAt(m Message) {
	c.show(m.key.mid)
	if n := len(c.recent); n > 0 && c.recent[n-1].key == m.key {
		return
	}
	c.recent = append(c.recent, anchored{m.key, m.Time})
	for len(c.recent) > 1 && m.Time.Sub(c.recent[1].time) > rememberPassed {
		c.recent = c.recent[1:] // the newest of the old ones stays: the cursor may come to stand on it
	}
}

// settleAnchor places the cursor by the server's clock, on the newest message that is settled, and remembers
// what is not far below it.
func (s *session) settleAnchor(now time.Time) {
	c := s.chain
	early := s.early
	s.anchored, s.early = true, nil
	if len(c.recent) == 0 {
		return
	}
	if !c.definite {
		if slices.Contains(early, c.only.key) { // so it has answered the read as a live message
			s.live(c.only, now)
			return
		}
		s.doubtful = c.only.key
	}
	newest := c.recent[len(c.recent)-1].time
	for _, a := range c.recent {
		if newest.Sub(a.time) > s.settle {
			c.settled = a.key.mid
		}
		s.remember(a.key, now)
		s.ledger.settle(a.key)
	}
	s.newest = c.last
	s.advance(c.settled, now)
}

// A readOutcome is how one attempt at a read ended.
type readOutcome uint8

const (
	readEnded  readOutcome = iota // the answer came to its end
	readSilent                    // no answer: there is nothing kept after the cursor
	readBroken                    // the answer did not come, or not to its end
)

// endRead closes an attempt at a read. owed tells that another read has become due meanwhile. A broken read is
// kept, to be gone on with. With again, the next read is to begin at once: the answer was a single new message,
// which may have come live and before its turn.
func (s *session) endRead(how readOutcome, owed bool, now time.Time) (result ReadEnded, again bool) {
	c := s.chain
	result = ReadEnded{Messages: c.shown, Found: c.found, Complete: how == readEnded && c.definite}
	if how == readBroken {
		s.order.end(true)
		return result, false
	}
	switch {
	case c.anchor:
		s.settleAnchor(now)
		if how == readSilent {
			s.emptyAt = now
		}
	case result.Complete:
		s.advance(c.settled, now)
		s.forgetUnkept(c.start)
	default:
		again = c.found > 0
	}
	s.chain = nil
	if again {
		s.order.expectAnother()
	} else {
		s.order.end(owed)
	}
	s.forget(now)
	return result, again
}
