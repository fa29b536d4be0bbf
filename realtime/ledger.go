package realtime

import "sync"

// ledger is the book of what the user has handled. The session writes into it what was delivered, the user's
// side what was handled, and a cursor is read off it. What has been seen is another book, the session's.
type ledger struct {
	mu    sync.Mutex
	known mid              // how far the history is known: the session's C
	open  map[key]struct{} // delivered, not handled
	done  map[key]struct{} // handled, or never to be, and not below the position
}

func newLedger(from Cursor) *ledger {
	l := &ledger{known: from.pos, open: make(map[key]struct{}), done: make(map[key]struct{})}
	for _, k := range from.done {
		l.done[k] = struct{}{}
	}
	return l
}

// deliver enters a message that goes to the user.
func (l *ledger) deliver(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.done, k)
	l.open[k] = struct{}{}
}

// handled enters a message as handled. One that the server does not keep is in no book: it cannot come again.
func (l *ledger) handled(m Message) {
	if !m.transient {
		l.handle(m.key)
	}
}

// handle enters the key of a handled message, or of one that never goes to the user.
func (l *ledger) handle(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, k)
	l.done[k] = struct{}{}
}

// advance moves the known end of the history and forgets what no cursor needs any more.
func (l *ledger) advance(known mid) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	pos := l.position(key{})
	for k := range l.done {
		if k.mid.less(pos) {
			delete(l.done, k)
		}
	}
}

// forget lets go of handled messages that cannot come again.
func (l *ledger) forget(keys []key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		delete(l.done, k)
	}
}

// cursorAfter is the cursor of a user who has just handled the message with key k.
func (l *ledger) cursorAfter(k key) Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	pos := l.position(k)
	c := Cursor{pos: pos}
	for d := range l.done {
		if !d.mid.less(pos) {
			c.done = append(c.done, d)
		}
	}
	if _, open := l.open[k]; open && !k.mid.less(pos) {
		c.done = append(c.done, k)
	}
	return c.sorted()
}

// position is the smaller of what is known and the place just before the oldest open message but one.
func (l *ledger) position(but key) mid {
	pos := l.known
	for k := range l.open {
		if k == but || k.mid.isZero() {
			continue
		}
		if before := k.mid.prev(); before.less(pos) {
			pos = before
		}
	}
	return pos
}
