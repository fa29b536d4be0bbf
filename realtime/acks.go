package realtime

import (
	"slices"
	"sync"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// acks is the book of what the user has handled. The history writes into it
// what it has taken for delivery, the user's side what was handled, and a
// cursor is read off it. What has been seen is another book: dedup.
// Messages that the server does not keep are in neither column: they cannot
// come again.
type acks struct {
	changed chan struct{} // signals that there is another cursor

	mu             sync.Mutex
	begun          bool     // there is a position: the history has been read once, or a cursor stands for it
	tags           bool     // positions are times and tags
	bound          binding  // what the positions are of
	next           *binding // what they will be of when what was pending is handled, and the gap is told
	unsettled      keySet
	untold         *Gap
	watermark      wire.Mid  // how far the history is known: the history's C
	retentionProbe wire.Mid  // the history's
	replayedAt     time.Time // the history's
	pending        keySet    // to be delivered or delivered, not handled
	acked          keySet    // handled, or never to be, and not below the position
	dropped        int       // of acked, since there were too many, and not told of yet
}

func newAcks(from Cursor) *acks {
	return &acks{
		changed: make(chan struct{}, 1),
		begun:   !from.IsZero(), tags: from.tags, bound: from.bound,
		watermark: from.pos, retentionProbe: from.retentionProbe, replayedAt: from.replayedAt, acked: keySetOf(from.acked),
	}
}

// bind says what the positions are of, and what they are. What is pending may
// be of other channels, and a gap that has been found is still to be told:
// until all that is handled, who goes on from a cursor is to know that
// something may be missing, so it stays bound to what it was.
func (l *acks) bind(b binding, tags bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.tags = &b, tags
	l.unsettled = l.pending.clone()
	l.rebind()
}

// lost says that a gap is to be told.
func (l *acks) lost(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold = g
}

// rebind has the latest binding take effect if all is handled that it waits
// for.
func (l *acks) rebind() {
	if l.next != nil && l.untold == nil && l.unsettled.len() == 0 {
		l.bound, l.next = *l.next, nil
		signal(l.changed)
	}
}

// begin says that there is a position.
func (l *acks) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	signal(l.changed)
}

// take enters a message that the user is to get.
func (l *acks) take(m Message) {
	if m.transient {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked.remove(m.key)
	l.pending.add(m.key)
}

// giveBack undoes take.
func (l *acks) giveBack(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending.remove(m.key)
}

// handled enters a message as handled.
func (l *acks) handled(m Message) {
	if m.Gap != nil {
		l.told(m.Gap)
	}
	if !m.transient {
		l.settle(m.key)
	}
}

func (l *acks) told(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold == g {
		l.untold = nil
		l.rebind()
	}
}

// settle enters the key of a handled message, or of one that the user is not to
// get.
func (l *acks) settle(k wire.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending.remove(k)
	l.unsettled.remove(k)
	l.finish(k)
	l.rebind()
	signal(l.changed)
}

// finish enters a key as acked. Where a message stays pending for long, what
// the user is not to get makes many of them: then the oldest are dropped. They
// may come again after a restart.
func (l *acks) finish(k wire.Key) {
	l.acked.add(k)
	if n := l.acked.len(); n > maxRemembered {
		l.acked.drop(n / 4)
		l.dropped += n / 4
	}
}

// takeDropped returns how many were dropped since it was last called.
func (l *acks) takeDropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.dropped
	l.dropped = 0
	return n
}

// recall enters again what was taken once and has been forgotten, since the
// position goes back below it.
func (l *acks) recall(k wire.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pending.has(k) {
		l.finish(k)
	}
}

// advance moves the known end of the history and forgets what no cursor needs
// any more.
func (l *acks) advance(watermark, retentionProbe wire.Mid, replayedAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watermark, l.retentionProbe, l.replayedAt = watermark, retentionProbe, replayedAt
	l.acked.cut(l.position(wire.Key{}))
	signal(l.changed)
}

// forget lets go of handled messages that cannot come again, or are not
// remembered.
func (l *acks) forget(keys []packedKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.acked.remove(k.key())
	}
}

// cursorAfter is the cursor of a user who has just handled a message.
func (l *acks) cursorAfter(m Message) Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.at(m.key)
	told := l.untold == nil || l.untold == m.Gap
	if last := l.unsettled.len() == 0 || l.unsettled.len() == 1 && l.unsettled.has(m.key); l.next != nil && told && last {
		c.bound = *l.next
	}
	return c
}

// cursor is the cursor of a user who has handled what is handled. ok is false
// before there is a position.
func (l *acks) cursor() (c Cursor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(wire.Key{}), l.begun
}

func (l *acks) at(k wire.Key) Cursor {
	pos := l.position(k)
	done := l.acked.from(pos)
	if l.pending.has(k) && !k.Mid.Less(pos) {
		i, _ := slices.BinarySearchFunc(done, k, wire.Key.Compare)
		done = slices.Insert(done, i, k)
	}
	return Cursor{bound: l.bound, tags: l.tags, pos: pos, retentionProbe: l.retentionProbe, replayedAt: l.replayedAt, acked: done}
}

// position is the smaller of what is known and the place just before the oldest
// pending message but one.
func (l *acks) position(but wire.Key) wire.Mid {
	if oldest, ok := l.pending.next(but); ok {
		if before := oldest.Mid.Prev(); before.Less(l.watermark) {
			return before
		}
	}
	return l.watermark
}
