// Package delivery is the rule that loses nothing and delivers nothing twice:
// live is early delivery, the history is the truth. It takes what connections
// and replays bring, and gives each message once and in order to a queue, and
// what has been handled as a position to go on from.
//
// It does no I/O and reads no clock. docs/delivery.md has the rule, its symbols
// and the argument for it.
package delivery

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// SettleTime is the longest a publish may take on the server from its id to
	// the store: L. What first arrived later than this before a replay began
	// does not move the cursor.
	SettleTime = 5 * time.Second
	// rememberPassed is how long a message is remembered after the cursor has
	// passed it.
	rememberPassed = 5 * time.Minute
	// ManyMessages is how many make another replay due.
	ManyMessages = 1000
	// maxEarly bounds what is remembered before the first replay is done. Its
	// answer is in doubt only if it is one message, so the first few are
	// enough.
	maxEarly = 64
	// maxShift bounds how far a clock is believed to be wrong. (A live time can
	// be none at all.)
	maxShift = 24 * time.Hour
)

// History is what is known of the history of one connection, the channels of
// one config: how far, and which replays are under way. What has been seen of
// all connections is in its dedup. It does no I/O and reads no clock.
//
// Its rule: live is early delivery, the history is the truth. The watermark, C,
// is moved by completed replays alone, and only to a message that arrived well
// before the replay began. Whatever the holes in live delivery are, a message
// kept by the server is brought by the next replay that begins below it.
type History struct {
	*Dedup
	Settle  time.Duration
	Tags    bool // positions are seconds and tags, and an answer comes channel by channel
	Stamped bool // live messages may bear any time
	Undated bool // messages bear no time
	Hangs   bool // what comes live comes by polls, which bring the history as well

	Progress                   // the watermark is C
	moves        []move        // of the watermark, as far back as passed messages are remembered
	dark         time.Time     // when the last move before these was made
	placed       time.Time     // since when it has been where it was before the first of all moves
	Highest      wire.Mid      // M: the greatest seen
	Anchored     bool          // the watermark has been set from the history once, or came with a cursor
	shift        time.Duration // how far the server's clock is ahead of ours, as the portal's is
	HeardAt      time.Time     // when it was connected for the first time, if that was before it was anchored
	late         time.Time     // the same by the server's clock, where the first replay came so late that what was published since is no past
	up           time.Time     // since when it is connected; zero: it is not
	away         bool          // it was not connected at some time since that replay
	silent       int           // replays in a row without an answer
	yielded      int           // of those, so many that were given up for another one
	replayedOnce bool          // a whole replay is over
	ConfirmAt    time.Time     // when it is to be found out what the silence of the first replay meant; zero: it is not
	lacking      int           // replays in a row whose answers lacked the retention probe: 1 by polls, 2 by a websocket, too
	singles      int           // replays in a row with an answer of one message
	setBack      bool          // mids have begun anew below it
	early        []wire.Key    // the first that came live before that
	suspect      wire.Key      // the first replay's only message: the last one kept, or a live one that answered the replay
	distrusted   bool          // something else than the server has answered since
	dropped      wire.Mid      // the last message that was taken for one from before the beginning
	emptyAt      time.Time     // when the first replay ended without an answer; zero once a later one had one
	unsure       bool          // nothing has shown since that there was nothing indeed

	Replay  *Replay
	Arrived int // messages that arrived since the last replay began
	News    int // messages that came live and had not been seen

	probe    probe
	proof    proof
	Overtook time.Time // when the last of those had arrived that came live and had been seen

	shortFrom    wire.Mid // the lowest position a poll hung from since the last short replay began
	shortPending bool     // there is one
}

// move is one move of the cursor.
type move struct {
	at   time.Time
	from wire.Mid
}

// Successor begins the history of channels that replace this one's on the
// same server, whose first message is not older than since; zero: unknown.
// Positions are the server's, so the history of the new channels is read from
// where this one's was known then. covered is false if that is longer ago than
// is remembered.
func (s *History) Successor(since, now time.Time) (next *History, covered bool) {
	s.forgetMoves(now)
	to := s.Watermark
	for _, m := range s.moves {
		if since.IsZero() || !m.at.Before(since) {
			to = m.from
			break
		}
	}
	covered = since.IsZero() || since.After(s.dark)
	next = s.Dedup.AddHistory(to, s.Anchored)
	next.Settle, next.Tags, next.Highest, next.placed, next.HeardAt = s.Settle, s.Tags, s.Highest, s.placed, s.HeardAt
	next.ReplayedAt, next.away, next.replayedOnce = s.ReplayedAt, true, s.replayedOnce
	next.emptyAt, next.unsure, next.distrusted, next.dropped = s.emptyAt, s.unsure, s.distrusted, s.dropped // there may be channels that go on
	next.moves, next.dark = append(slices.Clone(s.moves), move{now, s.Watermark}), s.dark                   // for the channels that replace those
	return next, covered
}

// Resume takes over what a position says that the history goes on from: when it
// was last known and, if the channels are the same, what they keep.
func (s *History) Resume(from Progress, sameServer, sameChannels bool) {
	s.ReplayedAt, s.away = from.ReplayedAt, true
	if at := from.ReplayedAt; !at.IsZero() && at.Before(s.placed) {
		s.placed = at
	}
	switch {
	case !sameServer:
		s.Watermark, s.ReplayedAt = wire.Mid{}, time.Time{}
		s.AnotherServer()
	case sameChannels:
		s.RetentionProbe = from.RetentionProbe
	}
	s.tellLowWatermark()
}

// Keeps says that the channels of the history before go on: they keep what
// those kept.
func (s *History) Keeps(before *History) {
	s.RetentionProbe = before.RetentionProbe
	s.tellLowWatermark()
}

// Connected says that there is a connection.
func (s *History) Connected(now time.Time) {
	if !s.up.IsZero() {
		return
	}
	s.up = now
	if !s.Anchored && s.HeardAt.IsZero() {
		s.HeardAt = now
	}
}

// Disconnected says that there is none any more.
func (s *History) Disconnected() { s.up, s.away = time.Time{}, true }

// Unreadable says that the history cannot be read: a connection without one has
// holes.
func (s *History) Unreadable() { s.away = true }

// Distrust says that something else than the server has answered, which matters
// where nothing was found at the beginning.
func (s *History) Distrust() { s.distrusted = s.distrusted || !s.emptyAt.IsZero() }

// WasEmpty says that the beginning was indeed that of an empty history.
func (s *History) WasEmpty() { s.unsure = false }

// UnsureSince is when the first replay ended without an answer, if nothing has
// shown since that there was nothing indeed; otherwise zero.
func (s *History) UnsureSince() time.Time {
	if !s.unsure {
		return time.Time{}
	}
	return s.emptyAt
}

// FoundNothing reports whether the first replay ended without an answer, and no
// later one has had one.
func (s *History) FoundNothing() bool { return !s.emptyAt.IsZero() }

// Live takes a message that came over the live connection. It returns false if
// the queue is full: then the message has not been seen.
//
// Before the first replay is done nothing is taken: the subscription begins
// when it is, and the replay that follows brings what was kept meanwhile.
func (s *History) Live(m Message, now time.Time) bool {
	if !s.Anchored {
		if len(s.early) < maxEarly {
			s.early = append(s.early, m.Key)
		}
		s.dateLive(&m, now)
		s.setClock(m, now)
		return true
	}
	s.dateLive(&m, now)
	m.Key = s.remembered(m.Key)
	s.Arrived++
	s.reach(m.Key.Mid)
	if arrived, repeat := s.arrival(m.Key); repeat && m.Key != s.suspect {
		if s.Overtook.Before(arrived) {
			s.Overtook = arrived
		}
		s.report(Repeat{m.ID})
		return true
	}
	if s.sequence(&m, now) {
		s.beginAnew()
	}
	if s.takes(&m, now) {
		return true
	}
	if !s.queue.admit(m.Size) {
		return false
	}
	if m.Key == s.suspect {
		s.suspect = wire.Key{} // it was published after all that is before the beginning
	}
	if s.Meter != nil {
		s.Meter.Arrived(m.Extra, now)
	}
	s.News++
	m.lasts = lasts(&m)
	s.note(&m, now)
	s.mayProbe(&m, now)
	s.inTurn(&m, now)
	return true
}

// setClock takes the server's clock from the first live message, which may
// differ from the portal's.
func (s *History) setClock(m Message, now time.Time) {
	if shift := m.Time.Sub(now); len(s.early) == 1 && !m.Time.IsZero() && shift.Abs() < maxShift {
		s.shift = shift
	}
}

// LateSince has the first replay take what was published since the history was
// connected for news, not for past: it has not been possible for a while.
func (s *History) LateSince() {
	if !s.Anchored && !s.HeardAt.IsZero() {
		s.late = s.HeardAt.Add(s.shift)
	}
}

// isNews reports whether a message of a late first replay is none of the past.
// Of the second in which the history was connected that is only what has come
// live.
func (s *History) isNews(m Message) bool {
	return !s.late.IsZero() && (m.Time.After(s.late) || slices.Contains(s.early, m.Key))
}

// Lastly is live for what comes at the very end: it is taken even where the
// queue is full, since nothing will bring it again.
func (s *History) Lastly(m Message, now time.Time) {
	s.dateLive(&m, now)
	m.Key = s.remembered(m.Key)
	if _, repeat := s.arrival(m.Key); repeat || !s.Anchored || s.takes(&m, now) {
		return
	}
	s.queue.grant(m.Size)
	s.note(&m, now)
	s.inTurn(&m, now)
}

// inTurn gives the user a live message, when its turn has come.
func (s *History) inTurn(m *Message, now time.Time) {
	if s.Reorder.waits() {
		s.Reorder.park(m, now)
	} else {
		s.emit(m)
	}
}

// takes takes a message that is ours and not the user's.
func (s *History) takes(m *Message, now time.Time) bool {
	if s.Control == nil {
		return false
	}
	ours, settled := s.Control(s, *m)
	if settled {
		s.note(m, now)
		s.book().Handled(m.Receipt())
	}
	return ours
}

// sequence looks, by a message that has not been seen, for a server that has
// lost its data or its place: then mids begin another sequence. It tells
// whether that stands below the cursor, and so has to be read from its
// beginning.
func (s *History) sequence(m *Message, now time.Time) (below bool) {
	pos := m.Key.Mid
	switch {
	case s.Tags || pos.IsZero():
	case s.epoch(pos):
		s.probe = probe{}
		s.Lose(Gap{Reason: ServerChanged})
		return pos.Less(s.Watermark)
	case !pos.Less(s.Watermark):
		s.setBack = false
	case !s.setBack && s.fellBack(m, now):
		s.setBack, s.probe = true, probe{}
		s.Lose(Gap{Reason: ServerChanged})
	}
	return false
}

// beginAnew has the history read from its very beginning.
func (s *History) beginAnew() {
	s.Watermark, s.RetentionProbe = wire.Mid{}, wire.Mid{}
	s.newest = wire.Mid{}
	s.recall(s.Watermark)
	s.tellLowWatermark()
	s.Arrived += ManyMessages // a replay is due
	s.proof = proof{}
	if s.Replay != nil {
		s.Replay.Short = true // what is under way moves nothing any more
	}
}

func (s *History) reach(pos wire.Mid) {
	if s.Highest.Less(pos) {
		s.Highest = pos
	}
}

// Polled tells that a poll from a position was answered by a single message,
// which may be one of several.
func (s *History) Polled(from wire.Mid) {
	if !s.shortPending || from.Less(s.shortFrom) {
		s.shortFrom = from
	}
	s.shortPending = true
}

// Undecodable takes what is known of a message that could not be decoded, and
// reports whether it is news. A replay that shows it shows it as any other.
func (s *History) Undecodable(m Message, replayed bool, now time.Time) bool {
	c := s.Replay
	if m.Key == (wire.Key{}) || replayed && c.Anchor {
		if replayed {
			c.garbled = true
		}
		return true
	}
	m.Key = s.remembered(m.Key)
	s.reach(m.Key.Mid)
	arrived, repeat := s.arrival(m.Key)
	if !repeat {
		s.note(&m, now)
		s.book().Handled(m.Receipt())
	}
	if replayed {
		c.stands = c.stands || m.Key.Mid == s.RetentionProbe
		if repeat {
			c.settle(m.Key.Mid, arrived, s.Settle)
		}
		s.shown(m.Key.Mid)
	}
	return !repeat
}

// advance moves the cursor.
func (s *History) advance(to wire.Mid, now time.Time) {
	if !s.Watermark.Less(to) {
		return
	}
	s.moves = append(s.moves, move{now, s.Watermark})
	s.forgetMoves(now)
	s.Watermark, s.RetentionProbe = to, to
	s.settleLowWatermark(now)
}

func (s *History) forgetMoves(now time.Time) {
	for len(s.moves) > 0 && now.Sub(s.moves[0].at) >= rememberPassed {
		s.dark = s.moves[0].at
		s.moves = s.moves[1:]
	}
}
