package oauth

import (
	"context"
	"slices"
	"sync"
)

// queues are places that are taken in turn: so many at a key at once, and the
// others wait for them in the order in which they came.
type queues struct {
	places int // at each key
	most   int // that wait at a key; 0 for as many as come

	mu sync.Mutex
	at map[string]*queue
}

type queue struct {
	taken   int
	waiting []chan struct{} // each is closed when its turn has come
}

// enter takes a place at a key. It returns ErrBusy if too many wait, and the
// cause of ctx if that ends.
func (q *queues) enter(ctx context.Context, key string) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	turn, err := q.line(key)
	if err != nil {
		return nil, err
	}
	select {
	case <-turn:
	case <-ctx.Done():
		if q.quit(key, turn) {
			return nil, context.Cause(ctx)
		} // its turn has come just now
	}
	return sync.OnceFunc(func() { q.leave(key) }), nil
}

// line takes a place that is free, or one in the queue.
func (q *queues) line(key string) (turn chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at == nil {
		q.at = make(map[string]*queue)
	}
	at := q.at[key]
	if at == nil {
		at = new(queue)
		q.at[key] = at
	}
	turn = make(chan struct{})
	switch {
	case at.taken < q.places:
		at.taken++
		close(turn)
	case q.most > 0 && len(at.waiting) >= q.most:
		return nil, ErrBusy
	default:
		at.waiting = append(at.waiting, turn)
	}
	return turn, nil
}

// quit takes who waits out of a queue, and reports whether he was still there.
func (q *queues) quit(key string, turn chan struct{}) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at[key]
	if at == nil {
		return false
	}
	place := slices.Index(at.waiting, turn)
	if place < 0 {
		return false
	}
	at.waiting = slices.Delete(at.waiting, place, place+1)
	return true
}

// leave gives a place to the next one.
func (q *queues) leave(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at[key]
	if len(at.waiting) > 0 {
		close(at.waiting[0])
		at.waiting = slices.Delete(at.waiting, 0, 1)
		return
	}
	if at.taken--; at.taken == 0 {
		delete(q.at, key)
	}
}

// busy reports whether somebody has a place at a key.
func (q *queues) busy(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.at[key] != nil
}
