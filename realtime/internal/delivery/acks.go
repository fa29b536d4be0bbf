package delivery

import (
	"sync"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Acks is the book of what the user has handled. The history writes into it
// what it has taken for delivery, the user's side what was handled, and a
// cursor is read off it. What has been seen is another book: dedup.
// Messages that the server does not keep are in neither column: they cannot
// come again.
type Acks struct {
	Changed chan struct{} // signals that there is another cursor; nil: nobody is told
	woken   func()        // is called after each signal

	mu        sync.Mutex
	begun     bool     // there is a position: the history has been read once, or a cursor stands for it
	tags      bool     // positions are times and tags
	bound     Binding  // what the positions are of
	next      *Binding // what they will be of when what was pending is handled, and the gap is told
	unsettled keySet
	untold    *Gap
	Progress            // the history's
	pending   keySet    // to be delivered or delivered, not handled
	transient int       // the same of messages that the server does not keep
	acked     keySet    // handled, or never to be, and not below the position
	view      ackedView // acked, for cursors
	dropped   int       // of acked, since there were too many, and not told of yet
}

func NewAcks(from Position) *Acks {
	return &Acks{
		begun: !from.IsZero(), tags: from.Tags, bound: from.Bound,
		Progress: from.Progress, acked: keySetOf(&from),
	}
}

// Watch has every other cursor be signalled, and woken called after that. It is
// for the beginning.
func (l *Acks) Watch(woken func()) { l.Changed, l.woken = make(chan struct{}, 1), woken }

// Bind says what the positions are of, and what they are. What is pending may
// be of other channels, and a gap that has been found is still to be told:
// until all that is handled, who goes on from a cursor is to know that
// something may be missing, so it stays bound to what it was.
func (l *Acks) Bind(b Binding, tags bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.tags = &b, tags
	l.unsettled = l.pending.clone()
	l.rebind()
}

// lost says that a gap is to be told.
func (l *Acks) lost(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold = g
}

// rebind has the latest binding take effect if all is handled that it waits
// for.
func (l *Acks) rebind() {
	if l.next != nil && l.untold == nil && l.unsettled.len() == 0 {
		l.bound, l.next = *l.next, nil
		l.changed()
	}
}

func (l *Acks) changed() {
	signal(l.Changed)
	if l.woken != nil {
		l.woken()
	}
}

// Again signals once more that there is another cursor.
func (l *Acks) Again() { l.changed() }

// Begin says that there is a position.
func (l *Acks) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	l.changed()
}

// take enters messages that the user is to get, and how many that the server
// does not keep.
func (l *Acks) take(keys []wire.Key, transient int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transient += transient
	for _, k := range keys {
		l.unfinish(k)
		l.pending.add(k)
	}
}

// giveBack undoes take.
func (l *Acks) giveBack(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Transient {
		l.transient--
		return
	}
	l.pending.remove(m.Key)
}

// Unhandled counts what is to be delivered, or delivered, and not handled.
func (l *Acks) Unhandled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending.len() + l.transient
}

// Returned enters a message as handled whose handler has returned: once for
// each that was taken, whether it was entered as handled before or not. It
// reports whether it was not.
func (l *Acks) Returned(r Receipt) (first bool) {
	if r.Transient {
		l.mu.Lock()
		l.transient--
		l.mu.Unlock()
	}
	return l.Handled(r) || r.Transient
}

// Handled enters a message as handled, and reports whether it was to be: false
// for one that the server does not keep.
func (l *Acks) Handled(r Receipt) (first bool) {
	if r.Gap != nil {
		l.told(r.Gap)
	}
	return !r.Transient && l.settle(r.Key)
}

func (l *Acks) told(g *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold == g {
		l.untold = nil
		l.rebind()
	}
}

// settle enters the key of a handled message, or of one that the user is not to
// get, and reports whether it was pending.
func (l *Acks) settle(k wire.Key) (pending bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pending = l.pending.remove(k)
	l.unsettled.remove(k)
	l.finish(k)
	l.rebind()
	l.changed()
	return pending
}

// finish enters a key as acked. Where a message stays pending for long, what
// the user is not to get makes many of them: then the oldest are dropped. They
// may come again after a restart.
func (l *Acks) finish(k wire.Key) {
	if l.acked.add(k) {
		l.view.add(k)
	}
	if n := l.acked.len(); n > MaxRemembered {
		l.acked.drop(n / 4)
		l.view.shorten(l.acked.len())
		l.dropped += n / 4
	}
}

// unfinish undoes finish.
func (l *Acks) unfinish(k wire.Key) {
	if l.acked.remove(k) {
		l.view.spoil()
	}
}

// takeDropped returns how many were dropped since it was last called.
func (l *Acks) takeDropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.dropped
	l.dropped = 0
	return n
}

// recall enters again what was taken once and has been forgotten, since the
// position goes back below it.
func (l *Acks) recall(k wire.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pending.has(k) {
		l.finish(k)
	}
}

// advance moves the known end of the history and forgets what no cursor needs
// any more.
func (l *Acks) advance(to Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Progress = to
	l.acked.cut(l.handledTo(wire.Key{}))
	l.view.shorten(l.acked.len())
	l.changed()
}

// forget lets go of handled messages that cannot come again, or are not
// remembered.
func (l *Acks) forget(keys []packedKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.unfinish(k.key())
	}
}

// PositionAfter is the position of a user who has just handled a message.
func (l *Acks) PositionAfter(r Receipt) Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.at(r.Key)
	told := l.untold == nil || l.untold == r.Gap
	if last := l.unsettled.len() == 0 || l.unsettled.len() == 1 && l.unsettled.has(r.Key); l.next != nil && told && last {
		c.Bound = *l.next
	}
	return c
}

// Position is the position of a user who has handled what is handled. ok is
// false before there is one.
func (l *Acks) Position() (p Position, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(wire.Key{}), l.begun
}

func (l *Acks) at(k wire.Key) Position {
	pos := l.handledTo(k)
	l.view.fill(&l.acked)
	p := Position{Progress: l.Progress, Tags: l.tags, Bound: l.bound}
	p.Acked, p.further = l.view.from(pos)
	if l.pending.has(k) && !k.Mid.Less(pos) {
		p.last = k
	}
	p.Watermark = pos
	return p
}

// handledTo is the smaller of what is known and the place just before the
// oldest pending message but one.
func (l *Acks) handledTo(but wire.Key) wire.Mid {
	if oldest, ok := l.pending.next(but); ok {
		if before := oldest.Mid.Prev(); before.Less(l.Watermark) {
			return before
		}
	}
	return l.Watermark
}
