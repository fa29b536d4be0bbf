package realtime

import (
	"slices"
	"time"
)

// memory is what one subscription has seen, over all its streams: which messages, in which order they go to the
// user, and what is handled. Each stream of it, the channels in use and those they have replaced, has a session.
type memory struct {
	queue    *queue
	ledger   *ledger
	report   func(Event)
	obey     func(*session, Message) bool // takes a control command, or leaves it to other channels; nil: it is delivered
	stats    *counters                    // nil: nobody counts
	gap      *Gap                         // to be told with the next message
	epochs   map[uint64]bool              // the sequences of mids that have been seen
	order    orderer
	dating   dating
	newest   mid // the greatest delivered
	sessions []*session

	short  keySet            // of a cursor: keys with a part of their checksums, under which those messages are remembered
	seen   map[key]time.Time // when it first arrived; all from the floor on, and for a while what it passed
	above  []key             // seen and not below the floor
	passed []generation      // seen, and no read will bring them: below the floor, or never kept
}

// generation is what one move of the floor has passed, or what came in one second.
type generation struct {
	at   time.Time
	keys []key
}

func newMemory(from Cursor, l *ledger, q *queue, now time.Time, report func(Event)) *memory {
	b := &memory{queue: q, ledger: l, report: report, seen: make(map[key]time.Time)}
	b.order.emit, b.order.patience = b.emit, holdMax
	for _, k := range from.done {
		b.remember(k, now)
		if k.short() {
			b.short = append(b.short, k)
		}
	}
	if !from.tags && !from.IsZero() {
		b.epoch(from.pos)
		for _, k := range from.done {
			b.epoch(k.mid)
		}
	}
	return b
}

// session adds a stream whose history is known up to a position.
func (b *memory) session(known mid, anchored bool) *session {
	s := &session{memory: b, settle: settleTime, known: known, top: known, anchored: anchored}
	b.sessions = append(b.sessions, s)
	b.recall(known)
	b.tellFloor()
	return s
}

// drop ends a stream: no read of it will come.
func (b *memory) drop(s *session, now time.Time) {
	b.sessions = slices.DeleteFunc(b.sessions, func(other *session) bool { return other == s })
	if len(b.sessions) > 0 {
		b.settleFloor(now)
	}
}

// lowest is the stream whose history is known up to the floor: that of every other is known so far, too.
func (b *memory) lowest() *session {
	lowest := b.sessions[0]
	for _, s := range b.sessions[1:] {
		if s.known.less(lowest.known) {
			lowest = s
		}
	}
	return lowest
}

func (b *memory) floor() mid { return b.lowest().known }

// tellFloor enters in the ledger how far the history is known.
func (b *memory) tellFloor() {
	lowest := b.lowest()
	b.ledger.advance(lowest.known, lowest.witness, lowest.readAt)
}

// remembered is the key under which a message is remembered: a cursor has brought some of them shortened.
func (b *memory) remembered(k key) key {
	if len(b.short) > 0 {
		if short := k.shorten(); b.short.has(short) {
			return short
		}
	}
	return k
}

// recall takes back what the floor has passed and a stream that begins lower can bring again.
func (b *memory) recall(from mid) {
	for i := range b.passed {
		g := &b.passed[i]
		g.keys = slices.DeleteFunc(g.keys, func(k key) bool {
			back := !k.mid.less(from) && !k.mid.isZero()
			if back {
				b.above = append(b.above, k)
				b.ledger.recall(k)
			}
			return back
		})
	}
}

// note remembers a message that has just been seen first. From here on no cursor passes it until it is handled.
func (b *memory) note(m Message, now time.Time) {
	b.ledger.take(m)
	if m.transient {
		b.rememberTransient(m.key, now)
		return
	}
	b.remember(m.key, now)
}

func (b *memory) remember(k key, now time.Time) {
	b.seen[k] = now
	b.above = append(b.above, k)
	if len(b.above) >= maxRemembered {
		b.forgetHalf()
	}
}

// maxRemembered bounds what is remembered above the floor, which stands still while reads fail: some 30 MB.
const maxRemembered = 1 << 18

// forgetHalf lets go of what arrived first. It may come again, once reads are possible again.
func (b *memory) forgetHalf() {
	gone := slices.Clone(b.above[:len(b.above)/2])
	b.above = slices.Clone(b.above[len(gone):])
	for _, k := range gone {
		delete(b.seen, k)
	}
	b.ledger.forget(gone)
	b.report(Forgotten{Messages: len(gone)})
}

// lose reports that messages may have been lost, to the observer and with the next message.
func (b *memory) lose(g Gap) {
	if b.gap == nil || g.Reason > b.gap.Reason {
		b.gap = &g
		b.ledger.lost(b.gap)
	}
	b.report(g)
}

// anotherServer: positions begin anew, and are not to be compared with those before.
func (b *memory) anotherServer() { b.newest, b.epochs = mid{}, nil }

// epoch notes the sequence that a mid belongs to, and tells whether it is another than those before.
func (b *memory) epoch(pos mid) (changed bool) {
	if pos.isZero() || b.epochs[pos.epoch] {
		return false
	}
	changed = len(b.epochs) > 0
	if b.epochs == nil {
		b.epochs = make(map[uint64]bool)
	}
	b.epochs[pos.epoch] = true
	return changed
}

// rememberTransient remembers a message that no read will bring, for as long as one that the floor has passed.
func (b *memory) rememberTransient(k key, now time.Time) {
	b.seen[k] = now
	last := len(b.passed) - 1
	if last < 0 || now.Sub(b.passed[last].at) >= time.Second {
		b.passed = append(b.passed, generation{at: now})
		last++
	}
	b.passed[last].keys = append(b.passed[last].keys, k)
	b.forget(now)
}

func (b *memory) emit(m Message) {
	if m.key.mid.less(b.newest) {
		m.Late = true
	} else {
		b.newest = m.key.mid
	}
	m.ledger = b.ledger
	m.Gap, b.gap = b.gap, nil
	if b.stats != nil {
		b.stats.delivered(m)
	}
	b.queue.push(m)
}

// giveBack lets go of the live messages that still wait. The kept ones become unseen, and come with a later read;
// the others are delivered now, since they cannot come again.
func (b *memory) giveBack() {
	back := make(map[key]bool)
	for _, w := range b.order.takeWaiting() {
		if w.transient {
			b.emit(w.Message)
			continue
		}
		back[w.key] = true
		delete(b.seen, w.key)
		b.ledger.giveBack(w.Message)
		b.queue.drop(w.size)
		for _, s := range b.sessions {
			if s.chain != nil && !s.chain.last.less(w.key.mid) {
				s.chain = nil // it has shown this one, and would not show it again
			}
		}
	}
	b.above = slices.DeleteFunc(b.above, func(k key) bool { return back[k] })
}

// settleFloor lets what is now below the floor grow old.
func (b *memory) settleFloor(now time.Time) {
	floor := b.floor()
	gone := generation{at: now}
	kept := b.above[:0]
	for _, k := range b.above {
		if k.mid.less(floor) {
			gone.keys = append(gone.keys, k)
		} else {
			kept = append(kept, k)
		}
	}
	b.above = kept
	b.passed = append(b.passed, gone)
	b.tellFloor()
}

// forgetUnkept lets go of what a read that began at start would have moved the cursor to, or shown at all, if the
// server still kept it, as it may keep one: no later read can bring it. Cursors do without it at once, and after some
// minutes it is not remembered either. Beside another stream nothing is let go of: it may bring it.
func (b *memory) forgetUnkept(start time.Time, settle time.Duration, but mid) {
	if len(b.sessions) > 1 {
		return
	}
	var gone []key
	kept := b.above[:0]
	for _, k := range b.above {
		at := b.seen[k]
		unkept := k.mid != b.sessions[0].known && k.mid != but && at.Before(start.Add(-settle))
		if unkept {
			gone = append(gone, k)
		}
		if unkept && at.Before(start.Add(-rememberPassed)) {
			delete(b.seen, k)
		} else {
			kept = append(kept, k)
		}
	}
	b.above = kept
	b.ledger.forget(gone)
}

// forget lets go of what the floor has passed long ago.
func (b *memory) forget(now time.Time) {
	for len(b.passed) > 0 && now.Sub(b.passed[0].at) >= rememberPassed {
		for _, k := range b.passed[0].keys {
			delete(b.seen, k)
		}
		b.passed = b.passed[1:]
	}
}
