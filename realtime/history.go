package realtime

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// settleTime is the longest a publish may take on the server from its id to
	// the store: L. What first arrived later than this before a replay began
	// does not move the cursor.
	settleTime = 5 * time.Second
	// rememberPassed is how long a message is remembered after the cursor has
	// passed it.
	rememberPassed = 5 * time.Minute
	// maxEarly bounds what is remembered before the first replay is done. Its
	// answer is in doubt only if it is one message, so the first few are
	// enough.
	maxEarly = 64
	// maxShift bounds how far a clock is believed to be wrong. (A live time can
	// be none at all.)
	maxShift = 24 * time.Hour
)

// history is what is known of the history of one connection, the channels of
// one config: how far, and which replays are under way. What has been seen of
// all connections is in its dedup. It does no I/O and reads no clock.
//
// Its rule: live is early delivery, the history is the truth. The watermark, C,
// is moved by completed replays alone, and only to a message that arrived well
// before the replay began. Whatever the holes in live delivery are, a message
// kept by the server is brought by the next replay that begins below it.
type history struct {
	*dedup
	settle  time.Duration
	tags    bool // positions are seconds and tags, and an answer comes channel by channel
	stamped bool // live messages may bear any time
	undated bool // messages bear no time
	hangs   bool // what comes live comes by polls, which bring the history as well

	watermark      wire.Mid      // C: everything kept up to here has been seen
	moves          []move        // of the watermark, as far back as passed messages are remembered
	dark           time.Time     // when the last move before these was made
	placed         time.Time     // since when it has been where it was before the first of all moves
	highest        wire.Mid      // M: the greatest seen
	anchored       bool          // the watermark has been set from the history once, or came with a cursor
	shift          time.Duration // how far the server's clock is ahead of ours, as the portal's is
	heard          time.Time     // when it was connected for the first time, if that was before it was anchored
	late           time.Time     // the same by the server's clock, where the first replay came so late that what was published since is no past
	retentionProbe wire.Mid      // a message at the watermark, or above, that these channels keep: when it is not there any more, others may have expired, too
	replayedAt     time.Time     // when the last whole replay began that came to its end; zero: unknown
	up             time.Time     // since when it is connected; zero: it is not
	away           bool          // it was not connected at some time since that replay
	silent         int           // replays in a row without an answer
	yielded        int           // of those, so many that were given up for another one
	replayedOnce   bool          // a whole replay is over
	confirm        time.Time     // when it is to be found out what the silence of the first replay meant; zero: it is not
	lacking        int           // replays in a row whose answers lacked the retention probe: 1 by polls, 2 by a websocket, too
	singles        int           // replays in a row with an answer of one message
	setBack        bool          // mids have begun anew below it
	early          []wire.Key    // the first that came live before that
	suspect        wire.Key      // the first replay's only message: the last one kept, or a live one that answered the replay
	doubted        bool          // something else than the server has answered since
	dropped        wire.Mid      // the last message that was taken for one from before the beginning
	emptyAt        time.Time     // when the first replay ended without an answer; zero once a later one had one
	unsure         bool          // nothing has shown since that there was nothing indeed

	replay *replay
	since  int // messages that arrived since the last replay began
	news   int // messages that came live and had not been seen

	probe    probe
	overtook time.Time // when the last of those had arrived that came live and had been seen

	shortFrom    wire.Mid // the lowest position a poll hung from since the last short replay began
	shortPending bool     // there is one
}

// move is one move of the cursor.
type move struct {
	at   time.Time
	from wire.Mid
}

func newHistory(from Cursor, q *queue, now time.Time, report func(Event)) *history {
	s := newDedup(from, newAcks(from), q, now, report).history(from.pos, !from.IsZero())
	s.placed = now
	return s
}

// successor begins the history of channels that replace this one's on the
// same server, whose first message is not older than since; zero: unknown.
// Positions are the server's, so the history of the new channels is read from
// where this one's was known then. covered is false if that is longer ago than
// is remembered.
func (s *history) successor(since, now time.Time) (next *history, covered bool) {
	s.forgetMoves(now)
	known := s.watermark
	for _, m := range s.moves {
		if since.IsZero() || !m.at.Before(since) {
			known = m.from
			break
		}
	}
	covered = since.IsZero() || since.After(s.dark)
	next = s.dedup.history(known, s.anchored)
	next.settle, next.tags, next.highest, next.placed, next.heard = s.settle, s.tags, s.highest, s.placed, s.heard
	next.replayedAt, next.away, next.replayedOnce = s.replayedAt, true, s.replayedOnce
	next.emptyAt, next.unsure, next.doubted, next.dropped = s.emptyAt, s.unsure, s.doubted, s.dropped // there may be channels that go on
	next.moves, next.dark = append(slices.Clone(s.moves), move{now, s.watermark}), s.dark             // for the channels that replace those
	return next, covered
}

// live takes a message that came over the live connection. It returns false if
// the queue is full: then the message has not been seen.
//
// Before the first replay is done nothing is taken: the subscription begins
// when it is, and the replay that follows brings what was kept meanwhile.
func (s *history) live(m Message, now time.Time) bool {
	if !s.anchored {
		if len(s.early) < maxEarly {
			s.early = append(s.early, m.key)
		}
		s.dateLive(&m, now)
		s.setClock(m, now)
		return true
	}
	s.dateLive(&m, now)
	m.key = s.remembered(m.key)
	s.since++
	s.reach(m.key.Mid)
	if arrived, repeat := s.arrival(m.key); repeat && m.key != s.suspect {
		if s.overtook.Before(arrived) {
			s.overtook = arrived
		}
		s.report(Repeat{ID: m.ID, Count: 1})
		return true
	}
	if s.sequence(m, now) {
		s.beginAnew()
	}
	if s.control(m, now) {
		return true
	}
	if !s.queue.admit(m.size) {
		return false
	}
	if m.key == s.suspect {
		s.suspect = wire.Key{} // it was published after all that is before the beginning
	}
	if s.stats != nil {
		s.stats.arrived(m, now)
	}
	s.news++
	s.note(m, now)
	s.mayProbe(m, now)
	s.reorder.live(m, now)
	return true
}

// setClock takes the server's clock from the first live message, which may
// differ from the portal's.
func (s *history) setClock(m Message, now time.Time) {
	if shift := m.Time.Sub(now); len(s.early) == 1 && !m.Time.IsZero() && shift.Abs() < maxShift {
		s.shift = shift
	}
}

// lateSince has the first replay take what was published since the history was
// connected for news, not for past: it has not been possible for a while.
func (s *history) lateSince() {
	if !s.anchored && !s.heard.IsZero() {
		s.late = s.heard.Add(s.shift)
	}
}

// isNews reports whether a message of a late first replay is none of the past.
// Of the second in which the history was connected that is only what has come
// live.
func (s *history) isNews(m Message) bool {
	return !s.late.IsZero() && (m.Time.After(s.late) || slices.Contains(s.early, m.key))
}

// lastly is live for what comes at the very end: it is taken even where the
// queue is full, since nothing will bring it again.
func (s *history) lastly(m Message, now time.Time) {
	s.dateLive(&m, now)
	m.key = s.remembered(m.key)
	if _, repeat := s.arrival(m.key); repeat || !s.anchored || s.control(m, now) {
		return
	}
	s.queue.grant(m.size)
	s.note(m, now)
	s.reorder.live(m, now)
}

// control takes a control command, which is ours and not the user's.
func (s *history) control(m Message, now time.Time) bool {
	if s.handleControl == nil || !isControl(m) {
		return false
	}
	if s.handleControl(s, m) {
		s.note(m, now)
		s.acks.handled(m)
	}
	return true
}

// sequence looks, by a message that has not been seen, for a server that has
// lost its data or its place: then mids begin another sequence. It tells
// whether that stands below the cursor, and so has to be read from its
// beginning.
func (s *history) sequence(m Message, now time.Time) (below bool) {
	pos := m.key.Mid
	switch {
	case s.tags || pos.IsZero():
	case s.epoch(pos):
		s.probe = probe{}
		s.lose(Gap{Reason: GapServerChanged})
		return pos.Less(s.watermark)
	case !pos.Less(s.watermark):
		s.setBack = false
	case !s.setBack && s.fellBack(m, now):
		s.setBack, s.probe = true, probe{}
		s.lose(Gap{Reason: GapServerChanged})
	}
	return false
}

// beginAnew has the history read from its very beginning.
func (s *history) beginAnew() {
	s.watermark, s.retentionProbe = wire.Mid{}, wire.Mid{}
	s.newest = wire.Mid{}
	s.recall(s.watermark)
	s.tellLowWatermark()
	s.since += manyMessages // a replay is due
	if s.replay != nil {
		s.replay.short = true // what is under way moves nothing any more
	}
}

func (s *history) reach(pos wire.Mid) {
	if s.highest.Less(pos) {
		s.highest = pos
	}
}

// polled tells that a poll from a position was answered by a single message,
// which may be one of several.
func (s *history) polled(from wire.Mid) {
	if !s.shortPending || from.Less(s.shortFrom) {
		s.shortFrom = from
	}
	s.shortPending = true
}

// undecodable takes what is known of a message that could not be decoded, and
// reports whether it is news. A replay that shows it shows it as any other.
func (s *history) undecodable(m Message, replayed bool, now time.Time) bool {
	c := s.replay
	if m.key == (wire.Key{}) || replayed && c.anchor {
		if replayed {
			c.garbled = true
		}
		return true
	}
	m.key = s.remembered(m.key)
	s.reach(m.key.Mid)
	arrived, repeat := s.arrival(m.key)
	if !repeat {
		s.note(m, now)
		s.acks.handled(m)
	}
	if replayed {
		c.stands = c.stands || m.key.Mid == s.retentionProbe
		if repeat {
			c.settle(m.key.Mid, arrived, s.settle)
		}
		s.shown(m.key.Mid)
	}
	return !repeat
}

// advance moves the cursor.
func (s *history) advance(to wire.Mid, now time.Time) {
	if !s.watermark.Less(to) {
		return
	}
	s.moves = append(s.moves, move{now, s.watermark})
	s.forgetMoves(now)
	s.watermark, s.retentionProbe = to, to
	s.settleLowWatermark(now)
}

func (s *history) forgetMoves(now time.Time) {
	for len(s.moves) > 0 && now.Sub(s.moves[0].at) >= rememberPassed {
		s.dark = s.moves[0].at
		s.moves = s.moves[1:]
	}
}
