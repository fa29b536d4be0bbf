package delivery

import (
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// clocksApart is how far a push server's clock may be off the portal's for
	// its times to be believed.
	clocksApart = time.Hour
	// farBack is how long ago the cursor must have stood above a new message
	// for that to be no straggler, but of a counter that was set back. Ids say
	// nothing: in the cloud thousands are given out in a second.
	farBack = time.Minute
)

// dating judges the times that messages bear. A live message of a version 4
// server can have any: while somebody else listens to the channel in text mode,
// it is milliseconds modulo 2^32. The history's are right.
type dating struct {
	shift time.Duration // how far the portal's clock is ahead of ours, and the push server's with it
	off   time.Duration // how far histories have shown the push server's to be ahead of that

	unknown bool // nobody has asked the portal for its clock, and no history has shown the server's

	judged struct { // the last time that was plausible: many messages have the same
		t, now time.Time
		past   time.Duration
	}
}

func (d *dating) now(now time.Time) time.Time { return now.Add(d.shift + d.off) }

// plausible reports whether a message that comes now may be of that time, not
// older than past.
func (d *dating) plausible(t, now time.Time, past time.Duration) bool {
	if j := &d.judged; t == j.t && now == j.now && past == j.past {
		return true
	}
	age := d.now(now).Sub(t)
	if age <= past+clocksApart && age >= -clocksApart {
		d.judged.t, d.judged.now, d.judged.past = t, now, past
		return true
	}
	return d.unknown && !d.isMilliseconds(t, now)
}

// isMilliseconds reports whether a time may be the present one in milliseconds,
// modulo 2^32, taken for seconds.
func (d *dating) isMilliseconds(t, now time.Time) bool {
	apart := int32(uint32(t.Unix()) - uint32(d.now(now).UnixMilli()))
	return (time.Duration(apart) * time.Millisecond).Abs() <= clocksApart
}

// learn takes the newest time of a history: nothing in it is from the future,
// and nothing older than it is kept.
func (d *dating) learn(newest, now time.Time) {
	if newest.IsZero() {
		return
	}
	d.judged.t = time.Time{}
	d.unknown = false
	if !d.plausible(newest, now, keptFor) {
		d.off += newest.Sub(d.now(now))
	}
}

// ClockUnknown says that nobody has asked the portal for its clock.
func (b *Dedup) ClockUnknown() { b.dating.unknown = true }

// SetClockShift says how far the portal's clock is ahead of ours.
func (s *History) SetClockShift(shift time.Duration) {
	s.shift, s.dating.shift, s.dating.judged.t = shift, shift, time.Time{}
}

// dateLive takes the time from a live message that cannot have it.
func (s *History) dateLive(m *Message, now time.Time) {
	past := time.Duration(0)
	if s.Hangs {
		past = keptFor // a poll brings what was kept, too
	}
	if s.Stamped && !m.Time.IsZero() && !s.dating.plausible(m.Time, now, past) {
		m.Time = time.Time{}
	}
}

// dateReplayed does the same with a message of a replay whose answer may have
// come live: all that is known of it says so, or it came over a websocket.
func (s *History) dateReplayed(m *Message, now time.Time) {
	c := s.Replay
	if s.Stamped && !m.Time.IsZero() && !(c.Poll && c.complete) && !s.dating.plausible(m.Time, now, keptFor) {
		m.Time = time.Time{}
	}
	if m.Time.After(c.newest) {
		c.newest = m.Time
	}
}

// knewAt is where the cursor stood at a time; zero where that is not known.
func (s *History) knewAt(t time.Time) wire.Mid {
	for i, m := range s.moves {
		if m.at.After(t) {
			if i == 0 && s.placed.After(t) {
				return wire.Mid{}
			}
			return m.from
		}
	}
	if len(s.moves) == 0 && s.placed.After(t) {
		return wire.Mid{}
	}
	return s.Watermark
}

// fellBack reports whether a new message below the cursor cannot be a
// straggler: long before it was published, the cursor stood above it already. A
// message without a time was published when it arrived.
func (s *History) fellBack(m *Message, now time.Time) bool {
	published := now
	if !m.Time.IsZero() {
		published = published.Add(min(0, m.Time.Sub(s.dating.now(now))))
	}
	then := s.knewAt(published.Add(-farBack))
	return m.Key.Mid.Epoch == then.Epoch && m.Key.Mid.Less(then)
}
