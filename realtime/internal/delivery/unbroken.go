package delivery

import (
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A server numbers all that it is given, whatever the channel. So a gap in the
// ids says nothing: others may have them. But where there is none, nothing is
// missing, and the watermark moves without a replay. A history that is being
// replayed says by its times, too, what of it is settled.

const (
	// proveEvery and proveAfter are after what time, or after how many new
	// messages, the watermark is moved so.
	proveEvery = time.Second
	proveAfter = 1 << 14
	// crowded is how many messages above the watermark are too many for it to
	// keep its distance in time. Then it keeps one in messages: trail.
	crowded = 1 << 16
	trail   = 1 << 15
	// lastingFor is how long a message has to be kept for the watermark to
	// stand on it: replays ask for what follows, and it proves their answers.
	lastingFor = time.Hour
)

// proof is what is known without a replay.
type proof struct {
	at      time.Time // when that was looked at last
	above   int       // messages above the watermark then
	holds   bool      // nothing was missing then that is long settled
	unfit   int       // how many messages of the unbroken ones the watermark cannot stand on, at their end
	failed  bool      // the last replay that began there has not moved the watermark: what was seen may not be kept
	stretch wire.Mid  // the last of the unbroken ones
}

// lasts reports whether the watermark can stand on a message: the server keeps
// it for long. Versions 3 and 5 do not say: there it can on what replays show.
func lasts(m *Message) bool {
	return m.Kept >= lastingFor
}

// Prove moves the watermark as far as it can be without a replay, now and then.
// It keeps its distance to what arrives, as replays do.
func (s *History) Prove(now time.Time) {
	switch c := s.Replay; {
	case !s.provable() || c != nil && (c.Short || c.Anchor || c.screen):
		s.proof.holds = false
		return
	case s.above.len() < s.proof.above+proveAfter && now.Sub(s.proof.at) < proveEvery:
		return
	}
	to := s.unbroken(now)
	s.proof.at = now
	if c := s.Replay; c != nil && c.settling.to != (wire.Mid{}) && to.Less(c.settling.to) {
		to = c.settling.to
	}
	s.advance(to, now)
	s.proof.above = s.above.len()
}

// provable reports whether a gap can be told from none.
func (s *History) provable() bool {
	return s.Anchored && !s.Tags && !s.setBack && len(s.histories) == 1
}

// replayStart is up to where nothing is missing, which may be above the watermark: a
// replay can begin there. After an outage it has to show that the history still
// reaches back to the watermark. One that begins at what the server does not
// keep has no answer as long as nothing follows: where the server says what it
// keeps, and little is unfit, it begins at the last one that lasts.
func (s *History) replayStart(now time.Time) wire.Mid {
	if s.away || s.proof.failed || !s.provable() {
		return s.Watermark
	}
	to := s.unbroken(now)
	if !s.Stamped || s.proof.unfit >= ManyMessages {
		return s.proof.stretch
	}
	return to
}

// unbroken returns the last message of those without a gap from the watermark
// on, which the watermark can stand on. While a replay is under way, that is
// one which it has shown: what it is still to show has to be remembered.
func (s *History) unbroken(now time.Time) (to wire.Mid) {
	p := &s.proof
	to, p.stretch, p.holds, p.unfit = s.Watermark, s.Watermark, false, 0
	if s.Watermark.IsZero() || s.Replay != nil && !s.Replay.vouches(s) {
		return to
	}
	settled := int64(now.Add(-s.Settle).Sub(s.begun))
	ahead := s.follows()
	stands := false
	for e := range s.seen.list.from(s.watermarkSlot()) {
		mid := e.mid()
		if mid == s.Watermark && !stands {
			stands = true
			continue
		}
		old := e.arrived() < settled
		switch {
		case s.Replay != nil && s.Replay.last.Less(mid):
			return to
		case mid != next(p.stretch):
			p.holds = !old && p.unfit < ManyMessages
			return to
		case !old && ahead <= trail:
			p.holds = p.unfit < ManyMessages
			return to
		}
		ahead--
		p.stretch = mid
		if p.unfit++; e.lasts() {
			to, p.unfit = mid, 0
		}
	}
	p.holds = p.unfit < ManyMessages
	return to
}

// follows is how many messages follow the watermark without a gap, where they
// are so many that not all need be settled; 0: they are not.
func (s *History) follows() (n int) {
	if s.above.len() <= crowded {
		return 0
	}
	last := s.Watermark
	for e := range s.seen.list.from(s.watermarkSlot()) {
		switch mid := e.mid(); {
		case mid == next(last):
			last = mid
			n++
		case mid != last || n > 0:
			return n
		}
	}
	return n
}

// watermarkSlot is where in what has been seen the watermark is.
func (s *History) watermarkSlot() slot {
	at, _ := s.seen.list.seek(pack(wire.Key{Mid: s.Watermark}), false)
	return at
}

// next is the id that is given out after another one.
func next(m wire.Mid) wire.Mid { return wire.Mid{Epoch: m.Epoch, Counter: m.Counter + 1} }

// WantsReplay reports whether so much has come that a replay is due. It is not
// where nothing is missing.
func (s *History) WantsReplay() bool { return s.Arrived >= ManyMessages && !s.proof.holds }

// ReplaysApart is how far apart replays begin that are due since much has come:
// each shows again what had not settled when the one before began, so that is
// to be a small part; but what must be remembered meanwhile is bounded.
func (s *History) ReplaysApart() time.Duration {
	if s.Watermark.IsZero() || s.above.len() > MaxRemembered/2 {
		return s.Settle
	}
	return 4 * s.Settle
}

// vouches reports whether the watermark may follow what the replay shows: the
// answer is the history, in order, and has shown what was kept.
func (c *Replay) vouches(s *History) bool {
	return c.complete && !c.Short && !c.Anchor && !c.screen && (c.stands || s.RetentionProbe.IsZero())
}

// settling is how far the answer to a replay shows to be settled by the
// server's times: what is older than its newest message by more than a publish
// takes. A message counts as no older than those before it.
//
// Only the first piece of a replay says so. One that goes on does not show what
// has been stored meanwhile below where it goes on.
type settling struct {
	over   bool
	to     wire.Mid
	steps  []step        // by second, the latest last
	gather time.Duration // what the server took at the most to gather the answer: it has not read it at one moment
}

// step is the last of the messages that were published up to a second.
type step struct {
	unix int64
	last wire.Mid
}

// beginsOver reports whether a replay that broke off is not to be gone on with,
// but begun anew from the watermark: that has moved with what it showed, cannot
// do so any more, and there is much above it to be remembered.
func (s *History) beginsOver() bool {
	return s.provable() && !s.Replay.settling.to.IsZero() && s.above.len() > crowded
}

// dates takes a message that a replay has shown.
func (s *History) dates(m *Message, lasts bool, now time.Time) {
	c := s.Replay
	if s.Tags || c.settling.over || m.Time.IsZero() || !c.vouches(s) || m.Time.Sub(s.dating.now(now)) > clocksApart {
		return
	}
	d, unix := &c.settling, m.Time.Unix()
	n := len(d.steps)
	if n == 0 {
		d.gather = now.Sub(c.Requested)
	}
	if n == 0 || d.steps[n-1].unix < unix {
		d.steps = append(d.steps, step{unix: unix})
	}
	if lasts {
		d.steps[len(d.steps)-1].last = m.Key.Mid
	}
	for newest := d.steps[len(d.steps)-1].unix; time.Duration(newest-d.steps[0].unix)*time.Second > s.Settle+d.gather; d.steps = d.steps[1:] {
		if d.to.Less(d.steps[0].last) {
			d.to = d.steps[0].last
		}
	}
}
