package realtime

import (
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"slices"
	"sync"
	"time"
)

// ledger is the book of what the user has handled. The session writes into it
// what it has taken for delivery, the user's side what was handled, and a
// cursor is read off it. What has been seen is another book, the session's.
// Messages that the server does not keep are in neither column: they cannot
// come again.
type ledger struct {
	changed chan struct{} // signals that there is another cursor

	mu      sync.Mutex
	begun   bool     // there is a position: the history has been read once, or a cursor stands for it
	tags    bool     // positions are times and tags
	bound   binding  // what the positions are of
	next    *binding // what they will be of when what is owed is handled, and the gap is told
	owed    keySet
	untold  *Gap
	known   wire.Mid  // how far the history is known: the session's C
	witness wire.Mid  // the session's
	readAt  time.Time // the session's
	open    keySet    // to be delivered or delivered, not handled
	done    keySet    // handled, or never to be, and not below the position
	dropped int       // of done, since there were too many, and not told of yet
}

func newLedger(from Cursor) *ledger {
	return &ledger{
		changed: make(chan struct{}, 1),
		begun:   !from.IsZero(), tags: from.tags, bound: from.bound,
		known: from.pos, witness: from.witness, readAt: from.readAt, done: keySetOf(from.done),
	}
}

// bind says what the positions are of, and what they are. What is open may be
// of other channels, and a gap that has been found is still to be told: until
// all that is handled, who goes on from a cursor is to know that something may
// be missing, so it stays bound to what it was.
func (l *ledger) bind(b binding, tags bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.tags = &b, tags
	l.owed = l.open.clone()
	l.rebind()
}

// lost says that a gap is to be told.
func (l *ledger) lost(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold = g
}

// rebind has the latest binding take effect if all is handled that it waits
// for.
func (l *ledger) rebind() {
	if l.next != nil && l.untold == nil && l.owed.len() == 0 {
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

// settle enters the key of a handled message, or of one that the user is not to
// get.
func (l *ledger) settle(k wire.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.remove(k)
	l.owed.remove(k)
	l.finish(k)
	l.rebind()
	signal(l.changed)
}

// finish enters a key in done. Where a message stays open for long, what the
// user is not to get makes that long: then the oldest is dropped. It may come
// again after a restart.
func (l *ledger) finish(k wire.Key) {
	l.done.add(k)
	if n := l.done.len(); n > maxRemembered {
		l.done.drop(n / 4)
		l.dropped += n / 4
	}
}

// takeDropped returns how many were dropped since it was last called.
func (l *ledger) takeDropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.dropped
	l.dropped = 0
	return n
}

// recall enters again what was taken once and has been forgotten, since the
// position goes back below it.
func (l *ledger) recall(k wire.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open.has(k) {
		l.finish(k)
	}
}

// advance moves the known end of the history and forgets what no cursor needs
// any more.
func (l *ledger) advance(known, witness wire.Mid, readAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.witness, l.readAt = known, witness, readAt
	l.done.cut(l.position(wire.Key{}))
	signal(l.changed)
}

// forget lets go of handled messages that cannot come again, or are not
// remembered.
func (l *ledger) forget(keys []packedKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.done.remove(k.key())
	}
}

// cursorAfter is the cursor of a user who has just handled a message.
func (l *ledger) cursorAfter(m Message) Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.at(m.key)
	told := l.untold == nil || l.untold == m.Gap
	if last := l.owed.len() == 0 || l.owed.len() == 1 && l.owed.has(m.key); l.next != nil && told && last {
		c.bound = *l.next
	}
	return c
}

// cursor is the cursor of a user who has handled what is handled. ok is false
// before there is a position.
func (l *ledger) cursor() (c Cursor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(wire.Key{}), l.begun
}

func (l *ledger) at(k wire.Key) Cursor {
	pos := l.position(k)
	done := l.done.from(pos)
	if l.open.has(k) && !k.Mid.Less(pos) {
		i, _ := slices.BinarySearchFunc(done, k, wire.Key.Compare)
		done = slices.Insert(done, i, k)
	}
	return Cursor{bound: l.bound, tags: l.tags, pos: pos, witness: l.witness, readAt: l.readAt, done: done}
}

// position is the smaller of what is known and the place just before the oldest
// open message but one.
func (l *ledger) position(but wire.Key) wire.Mid {
	if oldest, ok := l.open.next(but); ok {
		if before := oldest.Mid.Prev(); before.Less(l.known) {
			return before
		}
	}
	return l.known
}
