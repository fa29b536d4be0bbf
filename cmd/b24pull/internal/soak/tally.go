package soak

import (
	"fmt"
	"sync"
	"time"
)

// tally is the book of a run: what was published, and what the consumer has
// handled of it. Messages are numbered from 0. A consumer that is a process of
// its own has lives, numbered from 0: each ends by being killed.
type tally struct {
	unsaved time.Duration // so long before it is killed a consumer may have handled what comes again

	mu       sync.Mutex
	messages []message
	deaths   []time.Time // of the lives that are over
	life     int         // the last one that was heard of
	last     map[int]int // by publisher, the last kept message that this life has handled
	inHand   bool        // a handler is at work
	counts   counts
}

// message is what is known of one message.
type message struct {
	publisher int
	kept      bool
	handled   bool
	life      int       // that handled it last
	at        time.Time // the same
}

// counts is what has happened so far.
type counts struct {
	kept, transient               int // published
	arrivedKept, arrivedTransient int // of them, each counted once
	repeated, again               int // came more than once: that must not, and that may after a kill
	disordered                    int
	unknown                       int // of a number that was never published
	cuts, kills, killsInside      int
}

func newTally(unsaved time.Duration) *tally {
	return &tally{unsaved: unsaved, last: make(map[int]int)}
}

// published enters a message that is about to be sent, and returns its number.
// Each publisher enters its messages in the order in which it sends them.
func (t *tally) published(publisher int, kept bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages = append(t.messages, message{publisher: publisher, kept: kept})
	if kept {
		t.counts.kept++
	} else {
		t.counts.transient++
	}
	return len(t.messages) - 1
}

// begun enters that a handler has been given a message.
func (t *tally) begun(int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inHand = true
}

// handled enters that a consumer is done with a message.
func (t *tally) handled(life, n int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inHand = false
	if n < 0 || n >= len(t.messages) {
		t.counts.unknown++
		return
	}
	if life != t.life {
		t.life = life
		clear(t.last)
	}
	m := &t.messages[n]
	repeated := false
	switch {
	case !m.handled && m.kept:
		t.counts.arrivedKept++
	case !m.handled:
		t.counts.arrivedTransient++
	case t.mayRepeat(m, life):
		t.counts.again++
	default:
		t.counts.repeated++
		repeated = true
	}
	m.handled, m.life, m.at = true, life, at
	if m.kept && !repeated {
		t.order(m.publisher, n)
	}
}

// mayRepeat reports whether the life that handled a message was killed before it
// can have saved that.
func (t *tally) mayRepeat(m *message, life int) bool {
	return m.kept && m.life < life && m.life < len(t.deaths) && t.deaths[m.life].Sub(m.at) <= t.unsaved
}

func (t *tally) order(publisher, n int) {
	if last, ok := t.last[publisher]; ok && n < last {
		t.counts.disordered++
		return
	}
	t.last[publisher] = n
}

// killed enters the end of the present life.
func (t *tally) killed(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaths = append(t.deaths, at)
	t.counts.kills++
	if t.inHand {
		t.counts.killsInside++
	}
	t.inHand = false
}

// cut enters that connections were cut.
func (t *tally) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.cuts++
}

func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// missing are the numbers of the first so many kept messages that have not been
// handled.
func (t *tally) missing(limit int) (numbers []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, m := range t.messages {
		if m.kept && !m.handled && len(numbers) < limit {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// lost is what has not arrived although the server keeps it; during a run it
// may still come.
func (c counts) lost() int { return c.kept - c.arrivedKept }

// arrived is how many deliveries there were.
func (c counts) arrived() int { return c.arrivedKept + c.arrivedTransient + c.repeated + c.again }

// bad reports whether anything has happened that must not.
func (c counts) bad() bool { return c.lost() > 0 || c.repeated > 0 || c.unknown > 0 }

// String is the verdict. The messages that the server does not keep count only
// if they are repeated.
func (c counts) String() string {
	return fmt.Sprintf("lost %d, repeated %d, out of order %d of %d; cuts %d, kills %d", c.lost(), c.repeated, c.disordered, c.kept, c.cuts, c.kills)
}

// progress is a line for while it goes on.
func (c counts) progress() string {
	return fmt.Sprintf("published %d and %d not kept, arrived %d and %d, to come %d; repeated %d, again after a kill %d, out of order %d; cuts %d, kills %d (%d inside a handler)",
		c.kept, c.transient, c.arrivedKept, c.arrivedTransient, c.lost(), c.repeated, c.again, c.disordered, c.cuts, c.kills, c.killsInside)
}
