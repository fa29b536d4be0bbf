package realtime

import (
	"slices"
	"time"
)

const (
	// settleTime is the longest a publish may take on the server from its id to the store: L. What first
	// arrived later than this before a read began does not move the cursor.
	settleTime = 5 * time.Second
	// rememberPassed is how long a message is remembered after the cursor has passed it.
	rememberPassed = 5 * time.Minute
	// maxEarly bounds what is remembered before the first read is done. Its answer is in doubt only if it is one
	// message, so the first few are enough.
	maxEarly = 64
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

	known    mid       // C: everything kept up to here has been seen
	anchored bool      // known has been set from the history once, or came with a cursor
	early    []key     // the first that came live before that
	doubtful key       // the first read's only message: the last one kept, or a live one that answered the read
	emptyAt  time.Time // when the first read ended without an answer; zero once a later one had one
	order    orderer
	newest   mid // the greatest delivered

	seen   map[key]time.Time // when it first arrived; all from known on, and for a while what it passed
	above  []key             // seen and not below known
	passed []generation      // seen, and no read will bring them: below known, or never kept

	chain *chain
	since int // messages that arrived since the last read began
}

// generation is what one move of the cursor has passed, or what came in one second.
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
// Before the first read is done nothing is taken: the subscription begins when it is, and the read that follows
// brings what was kept meanwhile.
func (s *session) live(m Message, now time.Time) bool {
	if !s.anchored {
		if len(s.early) < maxEarly {
			s.early = append(s.early, m.key)
		}
		return true
	}
	s.since++
	if _, repeat := s.seen[m.key]; repeat && m.key != s.doubtful {
		s.report(Repeat{ID: m.ID})
		return true
	}
	if !s.queue.admit(m.size) {
		return false
	}
	if m.key == s.doubtful {
		s.doubtful = key{} // it was published after all that is before the beginning
	}
	s.note(m, now)
	s.order.live(m, now)
	return true
}

// undecodable takes what is known of a message that could not be decoded, and tells whether it is news.
func (s *session) undecodable(m Message, now time.Time) bool {
	if m.key == (key{}) {
		return true
	}
	if _, repeat := s.seen[m.key]; repeat {
		return false
	}
	s.note(m, now)
	s.ledger.handled(m)
	return true
}

// note remembers a message that has just been seen first. From here on no cursor passes it until it is handled.
func (s *session) note(m Message, now time.Time) {
	s.ledger.take(m)
	if m.transient {
		s.rememberTransient(m.key, now)
		return
	}
	s.remember(m.key, now)
}

func (s *session) remember(k key, now time.Time) {
	s.seen[k] = now
	s.above = append(s.above, k)
}

// rememberTransient remembers a message that no read will bring, for as long as one that the cursor has passed.
func (s *session) rememberTransient(k key, now time.Time) {
	s.seen[k] = now
	last := len(s.passed) - 1
	if last < 0 || now.Sub(s.passed[last].at) >= time.Second {
		s.passed = append(s.passed, generation{at: now})
		last++
	}
	s.passed[last].keys = append(s.passed[last].keys, k)
	s.forget(now)
}

func (s *session) emit(m Message) {
	if m.key.mid.less(s.newest) {
		m.Late = true
	} else {
		s.newest = m.key.mid
	}
	m.ledger = s.ledger
	s.queue.push(m)
}

// giveBack lets go of the live messages that still wait. The kept ones become unseen, and come with a later read;
// the others are delivered now, since they cannot come again.
func (s *session) giveBack() {
	back := make(map[key]bool)
	for _, w := range s.order.takeWaiting() {
		if w.transient {
			s.emit(w.Message)
			continue
		}
		back[w.key] = true
		delete(s.seen, w.key)
		s.ledger.giveBack(w.Message)
		s.queue.drop(w.size)
		if s.chain != nil && !s.chain.last.less(w.key.mid) {
			s.chain = nil // it has shown this one, and would not show it again
		}
	}
	s.above = slices.DeleteFunc(s.above, func(k key) bool { return back[k] })
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

// forgetUnkept lets go of what a read that began at start would have moved the cursor to, or shown alone, if the
// server still kept it: no later read can bring it.
func (s *session) forgetUnkept(start time.Time) {
	var gone []key
	kept := s.above[:0]
	for _, k := range s.above {
		if k.mid != s.known && s.seen[k].Before(start.Add(-rememberPassed)) {
			gone = append(gone, k)
			delete(s.seen, k)
		} else {
			kept = append(kept, k)
		}
	}
	s.above = kept
	s.ledger.forget(gone)
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
