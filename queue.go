package b24pull

import (
	"context"
	"slices"
	"sync"
)

// queues are places that are taken in turn: so many at a key at once, and the others wait
// for them in the order in which they came.
type queues struct {
	places int // at each key
	most   int // that wait at a key, of either rank; 0 for as many as come

	mu sync.Mutex
	at map[string]*queue
}

type queue struct {
	taken   int
	waiting []*waiter
}

// A waiter's turn has come when its channel is closed.
type waiter struct {
	turn  chan struct{}
	first bool
}

// enter takes a place at a key. Who is to be first waits behind others that are, and before
// all that are not. It returns ErrBusy if too many wait, and the cause of ctx if that ends.
func (q *queues) enter(ctx context.Context, key string, first bool) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w, err := q.line(key, first)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.turn:
	case <-ctx.Done():
		if q.quit(key, w) {
			return nil, context.Cause(ctx)
		} // its turn has come just now
	}
	return sync.OnceFunc(func() { q.leave(key) }), nil
}

// line takes a place that is free, or one in the queue.
func (q *queues) line(key string, first bool) (*waiter, error) {
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
	w := &waiter{make(chan struct{}), first}
	place, alike := at.place(first)
	switch {
	case at.taken < q.places:
		at.taken++
		close(w.turn)
		return w, nil
	case q.most > 0 && alike >= q.most:
		return nil, ErrBusy
	}
	at.waiting = slices.Insert(at.waiting, place, w)
	return w, nil
}

// place is where somebody has to wait, and how many wait there who are alike.
func (at *queue) place(first bool) (place, alike int) {
	place = slices.IndexFunc(at.waiting, func(w *waiter) bool { return !w.first })
	switch {
	case place < 0:
		place = len(at.waiting)
	case !first:
		return len(at.waiting), len(at.waiting) - place
	}
	if first {
		alike = place
	}
	return place, alike
}

// quit takes a waiter out of its queue, and reports whether it was still there.
func (q *queues) quit(key string, w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.at[key]
	if at == nil {
		return false
	}
	place := slices.Index(at.waiting, w)
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
		close(at.waiting[0].turn)
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
