// Package fifo has a first-in, first-out queue.
package fifo

// Queue is a first-in, first-out queue. It grows as needed, and holds on to
// nothing that was popped. The zero value is an empty one.
type Queue[T any] struct {
	buf  []T
	head int
	n    int
}

// keptEmpty is how large the buffer of an empty queue may be.
const keptEmpty = 1024

// Len is how many elements there are.
func (q *Queue[T]) Len() int { return q.n }

// Push appends an element.
func (q *Queue[T]) Push(v T) {
	if q.n == len(q.buf) {
		bigger := make([]T, max(16, 2*q.n))
		copied := copy(bigger, q.buf[q.head:])
		copy(bigger[copied:], q.buf[:q.head])
		q.buf, q.head = bigger, 0
	}
	last := q.head + q.n
	if last >= len(q.buf) {
		last -= len(q.buf)
	}
	q.buf[last] = v
	q.n++
}

// First returns the first element of a queue that is not empty, until the next
// Push or Pop.
func (q *Queue[T]) First() *T { return &q.buf[q.head] }

// Pop removes the first element; ok is false if there is none.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	var none T
	first := &q.buf[q.head]
	v, *first = *first, none
	if q.head++; q.head == len(q.buf) {
		q.head = 0
	}
	if q.n--; q.n == 0 && len(q.buf) > keptEmpty {
		q.buf, q.head = nil, 0
	}
	return v, true
}
