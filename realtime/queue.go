package realtime

import (
	"context"
	"sync"
)

// queue stands between the machine and the user: bounded in messages and in the
// bytes they pin, it never makes the machine wait. Room is taken by admit, when
// a message arrives, so that what was admitted can be held back for a while and
// still be pushed.
type queue struct {
	maxMessages int
	maxBytes    int

	mu       sync.Mutex
	items    ring
	messages int  // admitted and not yet popped
	bytes    int  // that they pin
	refused  bool // admit said no since the last room
	err      error
	closed   bool

	more chan struct{} // signals the user: there is something to pop
	room chan struct{} // signals the machine: after a refusal, half of the queue is free again
}

func newQueue(maxMessages, maxBytes int) *queue {
	return &queue{
		maxMessages: maxMessages,
		maxBytes:    maxBytes,
		more:        make(chan struct{}, 1),
		room:        make(chan struct{}, 1),
	}
}

// admit takes room for a message of size bytes. When it returns false the queue
// is full, and room will tell when it is not. A message is never refused by an
// empty queue, however large it is.
func (q *queue) admit(size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.messages > 0 && (q.messages >= q.maxMessages || q.bytes+size > q.maxBytes) {
		q.refused = true
		return false
	}
	q.messages++
	q.bytes += size
	return true
}

// grant takes room whether there is any or not.
func (q *queue) grant(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages++
	q.bytes += size
}

// drop gives back the room of an admitted message that will not be pushed.
func (q *queue) drop(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(size)
}

// push hands over an admitted message.
func (q *queue) push(m Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items.push(m)
	signal(q.more)
}

// finish makes pop return err once all that was pushed is popped.
func (q *queue) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed, q.err = true, err
	}
	signal(q.more)
}

// pop waits for the next message. It returns the error given to finish at the
// end, and the context's error at once when it is done.
func (q *queue) pop(ctx context.Context) (Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Message{}, err
		}
		if m, err, ok := q.tryPop(); ok {
			return m, err
		}
		select {
		case <-q.more:
		case <-ctx.Done():
		}
	}
}

func (q *queue) tryPop() (m Message, err error, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m, ok := q.items.pop(); ok {
		q.release(m.size)
		return m, nil, true
	}
	if q.closed {
		return Message{}, q.err, true
	}
	return Message{}, nil, false
}

func (q *queue) release(size int) {
	q.messages--
	q.bytes -= size
	if q.refused && q.messages <= q.maxMessages/2 && q.bytes <= q.maxBytes/2 {
		q.refused = false
		signal(q.room)
	}
}

// signal wakes the one who waits on a channel of capacity 1, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ring is a first-in, first-out buffer that grows as needed and lets go of what
// was popped.
type ring struct {
	buf  []Message
	head int
	n    int
}

func (r *ring) push(m Message) {
	if r.n == len(r.buf) {
		bigger := make([]Message, max(16, 2*r.n))
		copied := copy(bigger, r.buf[r.head:])
		copy(bigger[copied:], r.buf[:r.head])
		r.buf, r.head = bigger, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = m
	r.n++
}

func (r *ring) pop() (Message, bool) {
	if r.n == 0 {
		return Message{}, false
	}
	m := r.buf[r.head]
	r.buf[r.head] = Message{}
	r.head = (r.head + 1) % len(r.buf)
	if r.n--; r.n == 0 && len(r.buf) > 1024 {
		r.buf, r.head = nil, 0
	}
	return m, true
}
