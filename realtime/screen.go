package realtime

import "time"

const (
	// screenFor is for how long after a first read without an answer the server may only have been slow. What shows later
	// that its result was wrong shows as well that something else was silent.
	screenFor = time.Minute
	// shiftSlack is how far off the server's clock may seem: shifts below two seconds are not known, and it shows whole
	// seconds.
	shiftSlack = 3 * time.Second
	// maxScreened is how many messages are held back meanwhile, and screenedBytes how much of them.
	maxScreened   = 1024
	screenedBytes = 4 << 20
)

// screen holds messages back until it is known whether they stood before the beginning. A first read without an
// answer says that nothing was kept; but the server may only have been slow, or never been asked, and then all that it
// keeps would come now as if it were new. What is older than the newest message by more than has passed since, by the server's own
// clock, is from before.
func (s *session) screen(m Message, now time.Time) bool {
	c := s.chain
	c.screened = append(c.screened, m)
	c.screenedSize += m.size
	age := now.Sub(s.emptyAt) + time.Second // its clock shows whole seconds
	if age > screenFor {
		age += shiftSlack // time for its clock to be set
		s.doubted = s.doubted || isOlder(c.screened[0], m, age)
	}
	for len(c.screened) > 0 && (isOlder(c.screened[0], m, age) || s.isPast(c.screened[0])) {
		old := c.unscreen().key
		if _, repeat := s.arrival(old); !repeat {
			s.remember(old, now)
			s.ledger.settle(old)
		}
		s.shown(old.mid)
	}
	for len(c.screened) > maxScreened || c.screenedSize > screenedBytes {
		if !s.take(c.unscreen(), now) {
			return false
		}
	}
	return true
}

// isOlder reports whether a message is older than another by more than some time.
func isOlder(m, than Message, age time.Duration) bool {
	return !m.Time.IsZero() && !than.Time.IsZero() && than.Time.Sub(m.Time) >= age
}

// isPast reports whether a message was published before the first read ended without an answer, by the server's clock as
// far as that is known. It is asked only where it turned out that something else than the server may have been silent.
func (s *session) isPast(m Message) bool {
	return s.doubted && !m.Time.IsZero() && m.Time.Before(s.emptyAt.Add(s.shift-shiftSlack))
}

func (c *chain) unscreen() Message {
	m := c.screened[0]
	c.screened[0] = Message{}
	c.screened = c.screened[1:]
	c.screenedSize -= m.size
	return m
}
