package realtime

import (
	"slices"
	"sync"
	"time"
)

// ledger is the book of what the user has handled. The session writes into it what it has taken for delivery, the
// user's side what was handled, and a cursor is read off it. What has been seen is another book, the session's.
// Messages that the server does not keep are in neither column: they cannot come again.
type ledger struct {
	changed chan struct{} // signals that there is another cursor

	mu      sync.Mutex
	begun   bool     // there is a position: the history has been read once, or a cursor stands for it
	tags    bool     // positions are times and tags
	bound   binding  // what the positions are of
	next    *binding // what they will be of when what is owed is handled, and the gap is told
	owed    keySet
	untold  *Gap
	known   mid       // how far the history is known: the session's C
	witness mid       // the session's
	readAt  time.Time // the session's
	open    keySet    // to be delivered or delivered, not handled
	done    keySet    // handled, or never to be, and not below the position
}

func newLedger(from Cursor) *ledger {
	return &ledger{
		changed: make(chan struct{}, 1),
		begun:   !from.IsZero(), tags: from.tags, bound: from.bound,
		known: from.pos, witness: from.witness, readAt: from.readAt, done: slices.Clone(from.done),
	}
}

// bind says what the positions are of, and what they are. What is open may be of other channels, and a gap that has been
// found is still to be told: until all that is handled, who goes on from a cursor is to know that something may be
// missing, so it stays bound to what it was.
func (l *ledger) bind(b binding, tags bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.tags = &b, tags
	l.owed = slices.Clone(l.open)
	l.rebind()
}

// lost says that a gap is to be told.
func (l *ledger) lost(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold = g
}

// rebind has the latest binding take effect if all is handled that it waits for.
func (l *ledger) rebind() {
	if l.next != nil && l.untold == nil && len(l.owed) == 0 {
		l.bound, l.next = *l.next, nil
		signal(l.changed)
	}
}

// begin says that there is a position.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	signal(l.changed)
}

// take enters a message that the user is to get.
func (l *ledger) take(m Message) {
	if m.transient {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done.remove(m.key)
	l.open.add(m.key)
}

// giveBack undoes take.
func (l *ledger) giveBack(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.remove(m.key)
}

// handled enters a message as handled.
func (l *ledger) handled(m Message) {
	if m.Gap != nil {
		l.told(m.Gap)
	}
	if !m.transient {
		l.settle(m.key)
	}
}

func (l *ledger) told(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold == g {
		l.untold = nil
		l.rebind()
	}
}

// settle enters the key of a handled message, or of one that the user is not to get.
func (l *ledger) settle(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.remove(k)
	l.owed.remove(k)
	l.done.add(k)
	l.rebind()
	signal(l.changed)
}

// recall enters again what was taken once and has been forgotten, since the position goes back below it.
func (l *ledger) recall(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open.has(k) {
		l.done.add(k)
	}
}

// advance moves the known end of the history and forgets what no cursor needs any more.
func (l *ledger) advance(known, witness mid, readAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.witness, l.readAt = known, witness, readAt
	l.done.cut(l.position(key{}))
	signal(l.changed)
}

// forget lets go of handled messages that cannot come again.
func (l *ledger) forget(keys []key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := make(map[key]bool, len(keys))
	for _, k := range keys {
		gone[k] = true
	}
	l.done = slices.DeleteFunc(l.done, func(k key) bool { return gone[k] })
}

// cursorAfter is the cursor of a user who has just handled a message.
func (l *ledger) cursorAfter(m Message) Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.at(m.key)
	told := l.untold == nil || l.untold == m.Gap
	if last := len(l.owed) == 0 || len(l.owed) == 1 && l.owed.has(m.key); l.next != nil && told && last {
		c.bound = *l.next
	}
	return c
}

// cursor is the cursor of a user who has handled what is handled. ok is false before there is a position.
func (l *ledger) cursor() (c Cursor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(key{}), l.begun
}

func (l *ledger) at(k key) Cursor {
	done := slices.Clone(l.done)
	if l.open.has(k) {
		done.add(k)
	}
	pos := l.position(k)
	done.cut(pos)
	return Cursor{bound: l.bound, tags: l.tags, pos: pos, witness: l.witness, readAt: l.readAt, done: done}
}

// position is the smaller of what is known and the place just before the oldest open message but one.
func (l *ledger) position(but key) mid {
	for _, k := range l.open {
		if k == but || k.mid.isZero() {
			continue
		}
		if before := k.mid.prev(); before.less(l.known) {
			return before
		}
		break
	}
	return l.known
}

// keySet is a set of keys in the order of their mids. Keys mostly come in that order, and go from the front.
type keySet []key

func (s keySet) find(k key) (int, bool) {
	return slices.BinarySearchFunc(s, k, key.compare)
}

func (s keySet) has(k key) bool {
	_, found := s.find(k)
	return found
}

func (s *keySet) add(k key) {
	if i, found := s.find(k); !found {
		*s = slices.Insert(*s, i, k)
	}
}

func (s *keySet) remove(k key) {
	switch i, found := s.find(k); {
	case !found:
	case i == 0:
		*s = (*s)[1:]
	default:
		*s = slices.Delete(*s, i, i+1)
	}
}

// cut removes what is below pos.
func (s *keySet) cut(pos mid) {
	i, _ := s.find(key{mid: pos})
	*s = slices.Clone((*s)[i:])
}
