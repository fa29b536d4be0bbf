package delivery

import (
	"errors"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

var (
	ErrNotAsked = errors.New("it holds messages that were not asked for, as an answer to something else does")
	errStale    = errors.New("it ends before a message that the server keeps, as an older answer does")
	ErrLacking  = errors.New("realtime: the answer to a replay lacks what was kept before")
)

const (
	// probeKept is how long the server must have said that it keeps a message,
	// for it to be a probe, and ProbeFor how long it is one.
	probeKept = time.Hour
	ProbeFor  = 10 * time.Minute
)

// probe is a message that came live and that the server keeps: later answers
// cannot end before it.
type probe struct {
	key wire.Key
	at  time.Time // when it came; zero: there is none
}

// Knows reports whether a message is remembered.
func (b *Dedup) Knows(k wire.Key) bool {
	_, known := b.arrival(b.remembered(k))
	return known
}

// Deceive notes that something else than the server has answered.
func (b *Dedup) Deceive(now time.Time) { b.deceived = now }

// Mistrusts reports whether answers have been false of late: then what one
// lacks may be kept all the same.
func (b *Dedup) Mistrusts(now time.Time) bool {
	return !b.deceived.IsZero() && now.Sub(b.deceived) < ProbeFor
}

// letGo lets go of what the replay has not shown.
func (s *History) letGo(but wire.Mid, now time.Time) {
	if !s.Mistrusts(now) && !s.Watermark.Less(s.Replay.above) {
		s.forgetUnkept(s.Replay.Start, s.Settle, but)
	}
}

// Disbelieves returns why an answer that has come to its end is none to what
// was asked, or not to be believed yet (ErrLacking).
func (s *History) Disbelieves(now time.Time) error {
	c, p := s.Replay, s.probe
	old := p.at.Before(c.Start.Add(-s.Settle)) && now.Sub(p.at) < ProbeFor
	switch {
	case c.Foreign:
		return ErrNotAsked
	case s.lacks(now):
		return ErrLacking
	case c.showsProbe:
		s.probe = probe{}
	case old && c.Poll && !c.Short && c.complete && c.last.Less(p.key.Mid):
		return errStale
	}
	return nil
}

// lacks reports whether an answer is not believed yet, since it lacks the
// retention probe, which was kept and may have expired. Two polls have to lack
// it, and a websocket between them where there is one.
func (s *History) lacks(now time.Time) bool {
	c := s.Replay
	switch {
	case c.Short || c.Anchor || c.stands || c.garbled || s.RetentionProbe.IsZero():
	case c.Poll && s.lacking == 0:
		s.lacking = 1
		return true
	case c.Poll && s.lacking == 1 && s.Mistrusts(now):
		return true
	case !c.Poll && s.lacking == 1 && !c.complete: // a poll is to say whether it has shown all
		s.lacking = 2
		return true
	}
	s.lacking = 0
	return false
}

// mayProbe takes a live message for the probe if there is none.
func (s *History) mayProbe(m *Message, now time.Time) {
	if m.Kept >= probeKept && !m.Key.Mid.IsZero() && (s.probe.at.IsZero() || now.Sub(s.probe.at) >= ProbeFor) {
		s.probe = probe{m.Key, now}
	}
}

// Strays looks for messages of a poll's answer that do not follow what was
// asked for. A poll that has hung can be answered by one such message, which
// has come live behind its turn; in any other company it shows that the answer
// is to something else.
type Strays struct {
	Stray   *Message // the first message, if it is one: it is not to be taken before the end
	any     bool     // there was one that is none
	Foreign bool     // the answer is to something else
}

// Takes takes a message that is not to be taken now.
func (q *Strays) Takes(m Message, from wire.Mid) bool {
	asked := m.Key.Mid.IsZero() || from.Less(m.Key.Mid)
	switch {
	case q.Foreign:
	case asked && q.Stray == nil:
		q.any = true
		return false
	case q.Stray == nil && !q.any:
		q.Stray = &m
	default:
		q.Foreign = q.Stray == nil || q.Stray.Key != m.Key
	}
	return true
}
