package realtime

import (
	"time"
)

const (
	// settleTime is the longest a publish may take on the server from its id to the store: L. What first
	// arrived later than this before a read began does not move the cursor.
	settleTime = 5 * time.Second
	// rememberPassed is how long a message is remembered after the cursor has passed it.
	rememberPassed = 5 * time.Minute
)

// session is what one subscription knows of the stream: which messages have been seen, how far the history is
// known, and which reads are under way. It does no I/O and reads no clock.
//
// Its rule: live is early delivery, the history is the truth. The cursor, known, is moved by completed reads
// alone, and only to a message that arrived well before the read began. Whatever the holes in live delivery
// are, a message kept by the server is brought by the next read that begins below it.
type session struct {
	settle time.Duration
	queue  *queue
	ledger *ledger
	report func(Event)

	known    mid  // C: everything kept up to here has been seen
	anchored bool // known has been set from the history once, or came with a cursor
	order    orderer
	newest   mid // the greatest delivered

	seen   map[key]time.Time // when it first arrived; all from known on, and for a while what it passed
	above  []key             // seen and not below known
	passed []generation      // seen and below known, by the move that passed them

	chain *chain
	since int // messages that arrived since the last read began
}

// generation is what one move of the cursor has passed.
type generation struct {
	at   time.Time
	keys []key
}

func newSession(from Cursor, q *queue, now time.Time, report func(Event)) *session {
	s := &session{
		settle:   settleTime,
		queue:    q,
		ledger:   newLedger(from),
		report:   report,
		known:    from.pos,
		anchored: !from.IsZero(),
		seen:     make(map[key]time.Time),
	}
	s.order.emit = s.emit
	for _, k := range from.done {
		s.remember(k, now)
	}
	return s
}

// live takes a message that came over the live connection. It returns false if the queue is full: then the
// message has not been seen.
//
// Before the first read is done nothing is taken at all: the subscription begins when it is, and the read that
// follows brings what was kept meanwhile.
func (s *session) live(m Message, now time.Time) bool {
	if !s.anchored {
		return true
	}
	s.since++
	if _, repeat := s.seen[m.key]; repeat {
		s.report(Repeat{ID: m.ID})
		return true
	}
	if !s.queue.admit(m.size) {
		return false
	}
	s.remember(m.key, now)
	s.order.live(m, now)
	return true
}

// undecodable takes the key of a message that could not be decoded, and tells whether it is news.
func (s *session) undecodable(k key, now time.Time) bool {
	if k == (key{}) {
		return true
	}
	if _, repeat := s.seen[k]; repeat {
		return false
	}
	s.remember(k, now)
	s.ledger.handle(k)
	return true
}

func (s *session) remember(k key, now time.Time) {
	s.seen[k] = now
	s.above = append(s.above, k)
}

func (s *session) emit(m Message) {
	if m.key.mid.less(s.newest) {
		m.Late = true
	} else {
		s.newest = m.key.mid
	}
	m.ledger = s.ledger
	s.ledger.deliver(m.key)
	s.queue.push(m)
}

// giveBack makes the live messages that still wait unseen again. The kept ones among them come with the next read.
func (s *session) giveBack() {
	for _, w := range s.order.takeWaiting() {
		delete(s.seen, w.key)
		s.queue.drop(w.size)
	}
}

// advance moves the cursor.
func (s *session) advance(to mid, now time.Time) {
	if !s.known.less(to) {
		return
	}
	s.known = to
	gone := generation{at: now}
	kept := s.above[:0]
	for _, k := range s.above {
		if k.mid.less(to) {
			gone.keys = append(gone.keys, k)
		} else {
			kept = append(kept, k)
		}
	}
	s.above = kept
	s.passed = append(s.passed, gone)
	s.ledger.advance(to)
}

// forget lets go of what the cursor has passed long ago.
func (s *session) forget(now time.Time) {
	for len(s.passed) > 0 && now.Sub(s.passed[0].at) >= rememberPassed {
		for _, k := range s.passed[0].keys {
			delete(s.seen, k)
		}
		s.passed = s.passed[1:]
	}
}
