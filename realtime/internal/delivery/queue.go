package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/fifo"
)

// Queue stands between the machine and the user: bounded in messages and in the
// bytes they pin, it never makes the machine wait. Room is taken by admit, when
// a message arrives, so that what was admitted can be held back for a while and
// still be pushed.
type Queue struct {
	MaxMessages int
	maxBytes    int
	budget      *Budget // shared with other queues; nil: none is

	taken *piece // by the user, who pops one at a time; his alone; nil: none

	messages atomic.Int64 // admitted and not yet popped
	bytes    atomic.Int64 // that they pin
	held     atomic.Int64 // these and what the messages themselves take, where there is a budget
	wanted   atomic.Bool  // somebody is to be told when half is free

	mu      sync.Mutex
	pieces  fifo.Queue[*piece]
	last    *piece // of these, where there is room in it; nil: in none
	refused bool   // admit said no since the last room
	lacks   int    // the size of what was refused
	err     error
	closed  bool
	eased   chan struct{} // closed when half is free; nil: nobody waits
	scarce  atomic.Bool   // that has taken too long

	more chan struct{} // signals the user: there is something to pop
	Room chan struct{} // signals the machine: after a refusal, half of the queue is free again

	// Roomy is called after each signal of Room, if it is not nil. It is to be
	// set before the first message.
	Roomy func()
}

func NewQueue(maxMessages, maxBytes int) *Queue {
	return &Queue{
		MaxMessages: maxMessages,
		maxBytes:    maxBytes,
		more:        make(chan struct{}, 1),
		Room:        make(chan struct{}, 1),
	}
}

// Join has the queue take what it holds out of a budget that it shares with
// others. It is empty then.
func (q *Queue) Join(b *Budget) { q.budget = b }

// Quit gives back what the queue has taken of the budget. Nobody uses the queue
// any more.
func (q *Queue) Quit() {
	if q.budget != nil {
		q.budget.taken.Add(-q.budget.beyond(q.held.Load()))
		q.budget = nil
	}
}

// admit takes room for a message of size bytes. When it returns false the queue
// is full, and room will tell when it is not. A message is never refused by an
// empty queue, however large it is.
func (q *Queue) admit(size int) bool {
	n, bytes, held := q.messages.Load(), q.bytes.Load(), q.held.Load()
	full := n > 0 && (n >= int64(q.MaxMessages) || bytes+int64(size) > int64(q.maxBytes))
	var more int64 // of the budget; less than that if the user takes messages meanwhile
	if b := q.budget; b != nil && !full {
		more = b.between(held, held+holding(size))
		switch {
		case held == 0:
			b.taken.Add(more)
		case !b.take(more, b.beyond(held)):
			full = true
		}
	}
	if full {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.refused, q.lacks = true, size
		q.tell()
		return false
	}
	if spare := more - q.hold(size); spare > 0 {
		q.budget.taken.Add(-spare)
	}
	return true
}

// grant takes room whether there is any or not.
func (q *Queue) grant(size int) {
	if more := q.hold(size); more > 0 {
		q.budget.taken.Add(more)
	}
}

// hold counts a message more, and returns what it takes of the budget.
func (q *Queue) hold(size int) int64 {
	q.messages.Add(1)
	q.bytes.Add(int64(size))
	if q.budget == nil {
		return 0
	}
	after := q.held.Add(holding(size))
	return q.budget.between(after-holding(size), after)
}

// holding is how many bytes of a budget a message takes that pins so many.
func holding(size int) int64 { return int64(size) + messageBytes }

// messageBytes is about what a message takes of a queue itself, whatever it
// pins.
const messageBytes = 256

// Ease waits while little room is left until half of it is, so that the user
// can catch up who is behind for a moment; not longer than some time, and not
// again before he has caught up, nor when stop is closed.
func (q *Queue) Ease(most time.Duration, stop <-chan struct{}) {
	if !q.over(3, 4) {
		q.scarce.Store(false)
		return
	}
	if q.scarce.Load() {
		return
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-q.half():
	case <-stop:
	case <-timer.C:
		q.scarce.Store(true)
	}
}

// IsScarce reports whether little room is left.
func (q *Queue) IsScarce() bool { return q.over(3, 4) }

// AwaitRoom waits until half of the room is free, for as long as that takes, or
// stop is closed.
func (q *Queue) AwaitRoom(stop <-chan struct{}) {
	select {
	case <-q.half():
	case <-stop:
	}
}

// Portion bounds what is brought together to a small part of the room: three
// such may be under way when little is left.
func (q *Queue) Portion(messages, bytes int) (int, int) {
	return min(messages, max(1, q.MaxMessages/16)), min(bytes, q.maxBytes/16)
}

// half returns what is closed when half of the room is free, or nobody takes
// anything any more.
func (q *Queue) half() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.eased == nil {
		q.eased = make(chan struct{})
	}
	eased := q.eased
	if q.closed {
		close(eased)
		q.eased = nil
		return eased
	}
	q.tell()
	return eased
}

// Taken is the room that is taken, in messages and bytes.
func (q *Queue) Taken() (messages, bytes int) {
	return int(q.messages.Load()), int(q.bytes.Load())
}

// over reports whether more than a part of the room is taken.
func (q *Queue) over(part, of int64) bool {
	if q.budget != nil {
		if held := q.held.Load(); held > q.budget.room(held)*part/of {
			return true
		}
	}
	return q.messages.Load() > int64(q.MaxMessages)*part/of || q.bytes.Load() > int64(q.maxBytes)*part/of
}

// lacking reports whether there is no room yet for what was refused.
func (q *Queue) lacking() bool {
	held := q.held.Load()
	return q.budget != nil && held > 0 && held+holding(q.lacks) > q.budget.room(held)
}

// drop gives back the room of an admitted message that will not be pushed.
func (q *Queue) drop(size int) { q.release(size) }

// push hands over admitted messages.
func (q *Queue) push(messages ...Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(messages) > 0 {
		if q.last == nil {
			q.last = pieces.Get().(*piece)
			q.pieces.Push(q.last)
		}
		n := copy(q.last.messages[q.last.end:], messages)
		messages = messages[n:]
		if q.last.end += n; q.last.end == pieceSize {
			q.last = nil
		}
	}
	signal(q.more)
}

// Finish makes pop return err once all that was pushed is popped.
func (q *Queue) Finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed, q.err = true, err
	}
	signal(q.more)
}

// Pop waits for the next message. It returns the error given to finish at the
// end, and the context's error at once when it is done.
func (q *Queue) Pop(ctx context.Context) (Message, error) {
	for {
		if err := q.Await(ctx); err != nil {
			return Message{}, err
		}
		if m, err, ok := q.TryPop(); ok {
			return m, err
		}
	}
}

// Await waits until TryPop returns something, or the context is done. It takes
// little of a stack, in which idle goroutines stand.
func (q *Queue) Await(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil || q.taken != nil || q.waiting() {
			return err
		}
		select {
		case <-q.more:
		case <-ctx.Done():
		}
	}
}

// waiting reports whether take has something to return.
func (q *Queue) waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pieces.Len() > 0 || q.closed
}

// A piece is some messages that follow each other. The user takes them
// together.
type piece struct {
	messages   [pieceSize]Message
	begin, end int // what has not been popped; none only where it is pushed to
}

const pieceSize = 32

// pieces are those that no queue needs.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// TryPop is Pop for one who does not wait.
func (q *Queue) TryPop() (m Message, err error, ok bool) {
	if q.taken == nil {
		if err, ok := q.take(); q.taken == nil {
			return Message{}, err, ok
		}
	}
	p := q.taken
	first := &p.messages[p.begin]
	m, *first = *first, Message{}
	if p.begin++; p.begin == p.end {
		p.begin, p.end = 0, 0
		pieces.Put(p)
		q.taken = nil
	}
	q.release(m.Size)
	return m, nil, true
}

// take takes the next messages. ok is false if there is none yet.
func (q *Queue) take() (err error, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p, ok := q.pieces.Pop()
	if !ok {
		return q.err, q.closed
	}
	if q.taken = p; p == q.last {
		q.last = nil
	}
	return nil, true
}

func (q *Queue) release(size int) {
	q.messages.Add(-1)
	q.bytes.Add(int64(-size))
	if b := q.budget; b != nil {
		after := q.held.Add(-holding(size))
		if more := b.between(after, after+holding(size)); more > 0 {
			b.taken.Add(-more)
		}
	}
	if q.wanted.Load() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.tell()
	}
}

// tell tells those who wait if half of the room is free. It is to be called
// when one has begun to wait, too: the user takes no lock unless one does. The
// caller holds q.mu.
func (q *Queue) tell() {
	q.wanted.Store(q.refused || q.eased != nil)
	if q.over(1, 2) {
		return
	}
	if q.refused && !q.lacking() {
		q.refused = false
		signal(q.Room)
		if q.Roomy != nil {
			q.Roomy()
		}
	}
	if q.eased != nil {
		close(q.eased)
		q.eased = nil
	}
	q.wanted.Store(q.refused)
}

// signal wakes the one who waits on a channel of capacity 1, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
