package delivery

import (
	"context"
	"sync"
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

	mu       sync.Mutex
	items    fifo.Queue[Message]
	messages int  // admitted and not yet popped
	bytes    int  // that they pin
	refused  bool // admit said no since the last room
	err      error
	closed   bool
	awaited  bool // somebody waits until half is free
	tired    bool // that has taken too long

	eased chan struct{} // signals him
	more  chan struct{} // signals the user: there is something to pop
	Room  chan struct{} // signals the machine: after a refusal, half of the queue is free again
}

func NewQueue(maxMessages, maxBytes int) *Queue {
	return &Queue{
		MaxMessages: maxMessages,
		maxBytes:    maxBytes,
		eased:       make(chan struct{}, 1),
		more:        make(chan struct{}, 1),
		Room:        make(chan struct{}, 1),
	}
}

// admit takes room for a message of size bytes. When it returns false the queue
// is full, and room will tell when it is not. A message is never refused by an
// empty queue, however large it is.
func (q *Queue) admit(size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.messages > 0 && (q.messages >= q.MaxMessages || q.bytes+size > q.maxBytes) {
		q.refused = true
		return false
	}
	q.messages++
	q.bytes += size
	return true
}

// grant takes room whether there is any or not.
func (q *Queue) grant(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages++
	q.bytes += size
}

// Ease waits while little room is left until half of it is, so that the user
// can catch up who is behind for a moment; not longer than some time, and not
// again before he has caught up, nor when stop is closed. For one at a time.
func (q *Queue) Ease(most time.Duration, stop <-chan struct{}) {
	q.mu.Lock()
	scarce := q.messages > q.MaxMessages*3/4 || q.bytes > q.maxBytes/4*3
	q.tired = q.tired && scarce
	q.awaited = scarce && !q.tired && !q.closed
	wait := q.awaited
	q.mu.Unlock()
	if !wait {
		return
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	tired := false
	select {
	case <-q.eased:
	case <-stop:
	case <-timer.C:
		tired = true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.awaited, q.tired = false, tired
	select {
	case <-q.eased: // in the same moment
	default:
	}
}

// Taken is the room that is taken, in messages and bytes.
func (q *Queue) Taken() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages, q.bytes
}

// drop gives back the room of an admitted message that will not be pushed.
func (q *Queue) drop(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(size)
}

// push hands over an admitted message.
func (q *Queue) push(m Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items.Push(m)
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
		if err := ctx.Err(); err != nil {
			return Message{}, err
		}
		if m, err, ok := q.TryPop(); ok {
			return m, err
		}
		select {
		case <-q.more:
		case <-ctx.Done():
		}
	}
}

func (q *Queue) TryPop() (m Message, err error, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m, ok := q.items.Pop(); ok {
		q.release(m.Size)
		return m, nil, true
	}
	if q.closed {
		return Message{}, q.err, true
	}
	return Message{}, nil, false
}

func (q *Queue) release(size int) {
	q.messages--
	q.bytes -= size
	if !q.refused && !q.awaited || q.messages > q.MaxMessages/2 || q.bytes > q.maxBytes/2 {
		return
	}
	if q.refused {
		q.refused = false
		signal(q.Room)
	}
	if q.awaited {
		q.awaited = false
		signal(q.eased)
	}
}

// signal wakes the one who waits on a channel of capacity 1, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
