package realtime

import (
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"slices"
	"time"
)

const (
	// settleTime is the longest a publish may take on the server from its id to
	// the store: L. What first arrived later than this before a read began does
	// not move the cursor.
	settleTime = 5 * time.Second
	// rememberPassed is how long a message is remembered after the cursor has
	// passed it.
	rememberPassed = 5 * time.Minute
	// maxEarly bounds what is remembered before the first read is done. Its
	// answer is in doubt only if it is one message, so the first few are
	// enough.
	maxEarly = 64
	// maxShift bounds how far a clock is believed to be wrong. (A live time can
	// be none at all.)
	maxShift = 24 * time.Hour
)

// session is what is known of the history of one stream, the channels of one
// config: how far, and which reads are under way. What has been seen of all
// streams is in its memory. It does no I/O and reads no clock.
//
// Its rule: live is early delivery, the history is the truth. The cursor,
// known, is moved by completed reads alone, and only to a message that arrived
// well before the read began. Whatever the holes in live delivery are, a
// message kept by the server is brought by the next read that begins below it.
type session struct {
	*memory
	settle  time.Duration
	tags    bool // positions are seconds and tags, and an answer comes channel by channel
	stamped bool // live messages may bear any time
	undated bool // messages bear no time
	hangs   bool // what comes live comes by polls, which bring the history as well

	known    wire.Mid      // C: everything kept up to here has been seen
	moves    []move        // of known, as far back as passed messages are remembered
	dark     time.Time     // when the last move before these was made
	placed   time.Time     // since when known has been where it was before the first of all moves
	top      wire.Mid      // M: the greatest seen
	anchored bool          // known has been set from the history once, or came with a cursor
	shift    time.Duration // how far the server's clock is ahead of ours, as the portal's is
	heard    time.Time     // when it was connected for the first time, if that was before it was anchored
	late     time.Time     // the same by the server's clock, where the first read came so late that what was published since is no past
	witness  wire.Mid      // a message at known, or above, that these channels keep: when it is not there any more, others may have expired, too
	readAt   time.Time     // when the last whole read began that came to its end; zero: unknown
	up       time.Time     // since when it is connected; zero: it is not
	away     bool          // it was not connected at some time since that read
	silent   int           // reads in a row without an answer
	yielded  int           // of those, so many that were given up for another one
	readOnce bool          // a whole read is over
	confirm  time.Time     // when it is to be found out what the silence of the first read meant; zero: it is not
	lacking  int           // reads in a row whose answers lacked the witness: 1 by polls, 2 by a websocket, too
	singles  int           // reads in a row with an answer of one message
	setBack  bool          // mids have begun anew below known
	early    []wire.Key    // the first that came live before that
	doubtful wire.Key      // the first read's only message: the last one kept, or a live one that answered the read
	doubted  bool          // something else than the server has answered since
	dropped  wire.Mid      // the last message that was taken for one from before the beginning
	emptyAt  time.Time     // when the first read ended without an answer; zero once a later one had one
	unsure   bool          // nothing has shown since that there was nothing indeed

	chain *chain
	since int // messages that arrived since the last read began
	news  int // messages that came live and had not been seen

	probe    probe
	overtook time.Time // when the last of those had arrived that came live and had been seen

	peekFrom wire.Mid // the lowest position a poll hung from since the last peek began
	peekDue  bool     // there is one
}

// move is one move of the cursor.
type move struct {
	at   time.Time
	from wire.Mid
}

func newSession(from Cursor, q *queue, now time.Time, report func(Event)) *session {
	s := newMemory(from, newLedger(from), q, now, report).session(from.pos, !from.IsZero())
	s.placed = now
	return s
}

// successor begins the stream of channels that replace this one's on the same
// server, whose first message is not older than since; zero: unknown. Positions
// are the server's, so the history of the new channels is read from where this
// one's was known then. covered is false if that is longer ago than is
// remembered.
func (s *session) successor(since, now time.Time) (next *session, covered bool) {
	s.forgetMoves(now)
	known := s.known
	for _, m := range s.moves {
		if since.IsZero() || !m.at.Before(since) {
			known = m.from
			break
		}
	}
	covered = since.IsZero() || since.After(s.dark)
	next = s.memory.session(known, s.anchored)
	next.settle, next.tags, next.top, next.placed, next.heard = s.settle, s.tags, s.top, s.placed, s.heard
	next.readAt, next.away, next.readOnce = s.readAt, true, s.readOnce
	next.emptyAt, next.unsure, next.doubted, next.dropped = s.emptyAt, s.unsure, s.doubted, s.dropped // there may be channels that go on
	next.moves, next.dark = append(slices.Clone(s.moves), move{now, s.known}), s.dark                 // for the channels that replace those
	return next, covered
}

// live takes a message that came over the live connection. It returns false if
// the queue is full: then the message has not been seen.
//
// Before the first read is done nothing is taken: the subscription begins when
// it is, and the read that follows brings what was kept meanwhile.
func (s *session) live(m Message, now time.Time) bool {
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
	if arrived, repeat := s.arrival(m.key); repeat && m.key != s.doubtful {
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
	if m.key == s.doubtful {
		s.doubtful = wire.Key{} // it was published after all that is before the beginning
	}
	if s.stats != nil {
		s.stats.arrived(m, now)
	}
	s.news++
	s.note(m, now)
	s.mayProbe(m, now)
	s.order.live(m, now)
	return true
}

// setClock takes the server's clock from the first live message, which may
// differ from the portal's.
func (s *session) setClock(m Message, now time.Time) {
	if shift := m.Time.Sub(now); len(s.early) == 1 && !m.Time.IsZero() && shift.Abs() < maxShift {
		s.shift = shift
	}
}

// lateSince has the first read take what was published since the session was
// connected for news, not for past: it has not been possible for a while.
func (s *session) lateSince() {
	if !s.anchored && !s.heard.IsZero() {
		s.late = s.heard.Add(s.shift)
	}
}

// isNews reports whether a message of a late first read is none of the past. Of
// the second in which the session was connected that is only what has come
// live.
func (s *session) isNews(m Message) bool {
	return !s.late.IsZero() && (m.Time.After(s.late) || slices.Contains(s.early, m.key))
}

// lastly is live for what comes at the very end: it is taken even where the
// queue is full, since nothing will bring it again.
func (s *session) lastly(m Message, now time.Time) {
	s.dateLive(&m, now)
	m.key = s.remembered(m.key)
	if _, repeat := s.arrival(m.key); repeat || !s.anchored || s.control(m, now) {
		return
	}
	s.queue.grant(m.size)
	s.note(m, now)
	s.order.live(m, now)
}

// control takes a control command, which is ours and not the user's.
func (s *session) control(m Message, now time.Time) bool {
	if s.obey == nil || !isControl(m) {
		return false
	}
	if s.obey(s, m) {
		s.note(m, now)
		s.ledger.handled(m)
	}
	return true
}

// sequence looks, by a message that has not been seen, for a server that has
// lost its data or its place: then mids begin another sequence. It tells
// whether that stands below the cursor, and so has to be read from its
// beginning.
func (s *session) sequence(m Message, now time.Time) (below bool) {
	pos := m.key.Mid
	switch {
	case s.tags || pos.IsZero():
	case s.epoch(pos):
		s.probe = probe{}
		s.lose(Gap{Reason: GapServerChanged})
		return pos.Less(s.known)
	case !pos.Less(s.known):
		s.setBack = false
	case !s.setBack && s.fellBack(m, now):
		s.setBack, s.probe = true, probe{}
		s.lose(Gap{Reason: GapServerChanged})
	}
	return false
}

// beginAnew has the history read from its very beginning.
func (s *session) beginAnew() {
	s.known, s.witness = wire.Mid{}, wire.Mid{}
	s.newest = wire.Mid{}
	s.recall(s.known)
	s.tellFloor()
	s.since += manyMessages // a read is due
	if s.chain != nil {
		s.chain.peek = true // what is under way moves nothing any more
	}
}

func (s *session) reach(pos wire.Mid) {
	if s.top.Less(pos) {
		s.top = pos
	}
}

// polled tells that a poll from a position was answered by a single message,
// which may be one of several.
func (s *session) polled(from wire.Mid) {
	if !s.peekDue || from.Less(s.peekFrom) {
		s.peekFrom = from
	}
	s.peekDue = true
}

// undecodable takes what is known of a message that could not be decoded, and
// reports whether it is news. A read that shows it shows it as any other.
func (s *session) undecodable(m Message, read bool, now time.Time) bool {
	c := s.chain
	if m.key == (wire.Key{}) || read && c.anchor {
		if read {
			c.garbled = true
		}
		return true
	}
	m.key = s.remembered(m.key)
	s.reach(m.key.Mid)
	arrived, repeat := s.arrival(m.key)
	if !repeat {
		s.note(m, now)
		s.ledger.handled(m)
	}
	if read {
		c.stands = c.stands || m.key.Mid == s.witness
		if repeat {
			c.settle(m.key.Mid, arrived, s.settle)
		}
		s.shown(m.key.Mid)
	}
	return !repeat
}

// advance moves the cursor.
func (s *session) advance(to wire.Mid, now time.Time) {
	if !s.known.Less(to) {
		return
	}
	s.moves = append(s.moves, move{now, s.known})
	s.forgetMoves(now)
	s.known, s.witness = to, to
	s.settleFloor(now)
}

func (s *session) forgetMoves(now time.Time) {
	for len(s.moves) > 0 && now.Sub(s.moves[0].at) >= rememberPassed {
		s.dark = s.moves[0].at
		s.moves = s.moves[1:]
	}
}
