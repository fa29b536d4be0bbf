package delivery

import (
	"slices"
	"time"
)

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

// anchorAt takes a message of the first replay: it stands before the beginning,
// so it is known, and not delivered. Of the whole history only the newest part
// is remembered.
func (c *Replay) anchorAt(m Message) {
	c.show(m.Key.Mid)
	c.recent = append(c.recent, anchored{pack(m.Key), m.Time.Unix()})
	if n := len(c.recent); n > MaxRemembered || n >= max(1024, 2*c.compacted) {
		c.compact()
	}
}

// compact keeps what is not far below the newest message, and the newest of
// what is: the cursor may come to stand on it. Of more than can be remembered
// it keeps the greatest.
func (c *Replay) compact() {
	slices.SortFunc(c.recent, func(a, b anchored) int { return a.key.compare(b.key) })
	c.recent = slices.CompactFunc(c.recent, func(a, b anchored) bool { return a.key == b.key })
	newest := newestOf(c.recent)
	old := 0
	for old < len(c.recent) && c.recent[old].age(newest) > rememberPassed {
		old++
	}
	old = max(old-1, 0)
	if most := MaxRemembered - forgetAtOnce; len(c.recent)-old > most {
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
func (s *History) settleAnchor(now time.Time) {
	c := s.Replay
	early, late := s.early, s.late
	s.Anchored, s.early, s.late = true, nil, time.Time{}
	defer s.acks.Begin()
	if len(c.recent) == 0 {
		return
	}
	c.compact()
	if !c.complete {
		if slices.Contains(early, c.only.Key) { // so it has answered the replay as a live message
			s.Live(c.only, now)
			return
		}
		s.suspect = c.only.Key
	}
	newest, last := c.recent[len(c.recent)-1].unix, c.recent[len(c.recent)-1].key.mid()
	if !late.IsZero() {
		newest = late.Unix() // what follows is as good as unseen
	}
	s.placed = now
	for _, a := range c.recent {
		k := a.key.key()
		if a.age(newest) > s.Settle {
			c.settled = k.Mid
			s.placed = now.Add(-a.age(newest))
		}
		s.remember(k, false, now)
		s.book().settle(k)
		s.epoch(k.Mid)
	}
	if c.dropped > 0 {
		s.report(Forgotten{Messages: c.dropped})
	}
	s.newest = last
	s.reach(last)
	s.advance(c.settled, now)
	if s.Watermark.IsZero() && (c.complete || !c.Hung) {
		s.RetentionProbe = last
		s.tellLowWatermark()
	}
	s.moves = nil // what was kept before the beginning nobody is to get
}
