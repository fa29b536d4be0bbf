package delivery

import (
	"errors"
	"time"
)

const (
	// screenFor is for how long after a first replay without an answer the
	// server may only have been slow. What shows later that its result was
	// wrong shows as well that something else was silent.
	screenFor = time.Minute
	// shiftSlack is how far off the server's clock may seem: shifts below two
	// seconds are not known, and it shows whole seconds.
	shiftSlack = 3 * time.Second
	// maxScreened is how many messages are held back meanwhile, and
	// screenedBytes how much of them.
	maxScreened   = 1024
	screenedBytes = 4 << 20
)

// screen holds messages back until it is known whether they stood before the
// beginning. A first replay without an answer says that nothing was kept; but
// the server may only have been slow, or never been asked, and then all that it
// keeps would come now as if it were new. What is older than the newest message
// by more than has passed since, by the server's own clock, is from before.
func (s *History) screen(m Message, now time.Time) bool {
	c := s.Replay
	c.holdBack(m)
	c.many = c.many || c.screened.Len() > 1
	age := now.Sub(s.emptyAt) + time.Second // its clock shows whole seconds
	if age > screenFor {
		age += shiftSlack // time for its clock to be set
		s.distrusted = s.distrusted || isOlder(*c.screened.First(), m, age)
	}
	s.dropPast(func(first Message) (past, guessed bool) {
		if isOlder(first, m, age) {
			return true, false
		}
		return s.isPast(first)
	}, now)
	for c.screened.Len() > maxScreened || c.screenedSize > screenedBytes {
		if !s.take(c.unscreen(), now) {
			return false
		}
	}
	return true
}

// dropPast lets go of the messages that stood before the beginning, up to the
// first that did not.
func (s *History) dropPast(isPast func(Message) (past, guessed bool), now time.Time) {
	c := s.Replay
	for c.screened.Len() > 0 {
		past, guessed := isPast(*c.screened.First())
		if !past {
			return
		}
		old := c.unscreen().Key
		if _, repeat := s.arrival(old); !repeat {
			s.dropped = old.Mid
			s.remember(old, false, now)
			s.book().settle(old)
			c.guessed = c.guessed || guessed
		}
		s.shown(old.Mid)
	}
}

// isOlder reports whether a message is older than another by more than some
// time.
func isOlder(m, than Message, age time.Duration) bool {
	return !m.Time.IsZero() && !than.Time.IsZero() && than.Time.Sub(m.Time) >= age
}

// isPast reports whether a message was published before the first replay ended
// without an answer, by the server's clock as far as that is known, where
// something else than the server may have been silent. It is a guess where
// nothing has shown that there was, and of a message without a time.
func (s *History) isPast(m Message) (past, guessed bool) {
	switch {
	case m.Time.IsZero() && s.cameLive(m):
		return false, false
	case m.Time.IsZero():
		// One message may have ended a poll which hung.
		return s.distrusted && (s.Replay.many || s.Replay.over && !s.Replay.Hung), true
	case s.distrusted:
		guessed = false
	case s.unsure && !s.dating.unknown:
		guessed = true
	default:
		return false, false
	}
	return m.Time.Before(s.emptyAt.Add(s.shift - shiftSlack)), guessed
}

// cameLive reports whether a message has come live, since the beginning then.
// So has been published what follows it in the history, and that is not asked
// about: an answer is held back from there on.
func (s *History) cameLive(m Message) bool {
	_, seen := s.arrival(m.Key)
	return seen && s.dropped.Less(m.Key.Mid)
}

// foundEmpty tells that the server has said itself that nothing was kept after
// the cursor, after the first replay.
func (s *History) foundEmpty() {
	if s.Replay.Poll && s.Replay.from.IsZero() {
		s.unsure = false
	}
}

// errGuessed is of a Gap.
var errGuessed = errors.New("realtime: the server did not answer at the beginning: what was published soon after that cannot be told from what is older")

// holdBack puts a message behind those that are held back.
func (c *Replay) holdBack(m Message) {
	c.screened.Push(m)
	c.screenedSize += m.Size
}

// unscreen removes the first message that is held back.
func (c *Replay) unscreen() Message {
	m, _ := c.screened.Pop()
	c.screenedSize -= m.Size
	return m
}
