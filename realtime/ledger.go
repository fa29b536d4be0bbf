package realtime

import (
	"slices"
	"sync"
)

// ledger is the book of what the user has handled. The session writes into it what it has taken for delivery, the
// user's side what was handled, and a cursor is read off it. What has been seen is another book, the session's.
// Messages that the server does not keep are in neither column: they cannot come again.
type ledger struct {
	mu    sync.Mutex
	tags  bool   // positions are times and tags
	known mid    // how far the history is known: the session's C
	open  keySet // to be delivered or delivered, not handled
	done  keySet // handled, or never to be, and not below the position
}

func newLedger(from Cursor) *ledger {
	return &ledger{known: from.pos, done: slices.Clone(from.done)}
}

// countBy says what positions are.
func (l *ledger) countBy(tags bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tags = tags
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
	if !m.transient {
		l.settle(m.key)
	}
}

// settle enters the key of a handled message, or of one that the user is not to get.
func (l *ledger) settle(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.remove(k)
	l.done.add(k)
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
func (l *ledger) advance(known mid) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	l.done.cut(l.position(key{}))
}

// forget lets go of handled messages that cannot come again.
func (l *ledger) forget(keys []key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		l.done.remove(k)
	}
}

// cursorAfter is the cursor of a user who has just handled the message with key k.
func (l *ledger) cursorAfter(k key) Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := slices.Clone(l.done)
	if l.open.has(k) {
		done.add(k)
	}
	pos := l.position(k)
	done.cut(pos)
	return Cursor{tags: l.tags, pos: pos, done: done}
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
