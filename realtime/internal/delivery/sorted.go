package delivery

import (
	"iter"
	"slices"
	"sort"
)

// chunkSize is how many elements a chunk of a sorted list has at the most.
const chunkSize = 64

// sortedList is a list in order. It is kept in chunks, so that adding and
// removing cost the same everywhere in it, whatever the order in which elements
// come: some moves within a chunk. At its ends they cost nothing to speak of.
//
// The zero value is an empty list.
type sortedList[T any, P ranked[T]] struct {
	chunks []chunk[T] // none of them empty
	size   int
}

// ranked is a pointer to what has a place in an order. (Elements may be too
// large to be passed around.)
type ranked[T any] interface {
	*T
	rank() packedKey
}

// chunk is a piece of a list. What stood before its head has been removed.
type chunk[T any] struct {
	buf  []T
	head int
}

func (c *chunk[T]) live() []T { return c.buf[c.head:] }

// insert puts an element in.
func (c *chunk[T]) insert(index int, v T) {
	if index == 0 && c.head > 0 {
		c.head--
		c.buf[c.head] = v
		return
	}
	if len(c.buf) == cap(c.buf) && c.head > len(c.buf)/2 {
		c.compact()
	}
	c.buf = slices.Insert(c.buf, c.head+index, v)
}

// compact makes room of what has been removed before the head.
func (c *chunk[T]) compact() {
	c.buf, c.head = slices.Delete(c.buf, 0, c.head), 0
}

// remove takes an element out.
func (c *chunk[T]) remove(index int) (v T) {
	at := c.head + index
	v = c.buf[at]
	if index > 0 {
		c.buf = slices.Delete(c.buf, at, at+1)
		return v
	}
	clear(c.buf[at : at+1])
	c.head++
	return v
}

// split cuts the second half off.
func (c *chunk[T]) split() (second chunk[T]) {
	live := c.live()
	half := len(live) / 2
	second.buf = append(make([]T, 0, chunkSize), live[half:]...)
	clear(live[half:])
	c.buf = c.buf[:c.head+half]
	return second
}

// slot is where an element stands: the number of its chunk, and the index in
// that.
type slot struct{ chunk, index int }

func (s *sortedList[T, P]) len() int { return s.size }

// first returns the first element of a list that is not empty.
func (s *sortedList[T, P]) first() *T { return &s.chunks[0].live()[0] }

func (s *sortedList[T, P]) last() *T {
	live := s.chunks[len(s.chunks)-1].live()
	return &live[len(live)-1]
}

// at returns the element at a place, nil at the end of the list.
func (s *sortedList[T, P]) at(p slot) *T {
	if p.chunk == len(s.chunks) {
		return nil
	}
	return &s.chunks[p.chunk].live()[p.index]
}

// seek returns the place of the first element whose rank is not less, and
// reports whether it is the same. With behind it is the first element whose
// rank is greater.
func (s *sortedList[T, P]) seek(rank packedKey, behind bool) (p slot, found bool) {
	if s.size == 0 {
		return slot{len(s.chunks), 0}, false
	}
	if c := P(s.last()).rank().compare(rank); c < 0 || behind && c == 0 {
		return slot{len(s.chunks), 0}, c == 0
	}
	if c := P(s.first()).rank().compare(rank); c > 0 || c == 0 && !behind {
		return slot{}, c == 0
	}
	stands := func(e *T) bool { // before the place
		c := P(e).rank().compare(rank)
		found = found || c == 0
		return c < 0 || behind && c == 0
	}
	n := sort.Search(len(s.chunks), func(i int) bool {
		live := s.chunks[i].live()
		return !stands(&live[len(live)-1])
	})
	live := s.chunks[n].live()
	i := sort.Search(len(live), func(i int) bool { return !stands(&live[i]) })
	return slot{n, i}, found
}

// push appends an element, whatever its place in the order would be.
func (s *sortedList[T, P]) push(v T) {
	s.size++
	n := len(s.chunks)
	if n > 0 {
		if last := &s.chunks[n-1]; len(last.live()) < chunkSize {
			last.insert(len(last.live()), v)
			return
		}
	}
	var c chunk[T]
	switch {
	case n > 0:
		c.buf = make([]T, 0, chunkSize)
	case cap(s.chunks) > 0: // the last one that there was
		c.buf = s.chunks[:1][0].buf[:0]
	}
	c.buf = append(c.buf, v)
	s.chunks = append(s.chunks, c)
}

// add puts an element of a rank behind all that are not greater.
func (s *sortedList[T, P]) add(rank packedKey, v T) {
	p, _ := s.seek(rank, true)
	s.insert(p, v)
}

func (s *sortedList[T, P]) insert(p slot, v T) {
	if p.chunk == len(s.chunks) {
		s.push(v)
		return
	}
	s.size++
	c := &s.chunks[p.chunk]
	if len(c.live()) >= chunkSize {
		second := c.split()
		first := len(c.live())
		s.chunks = slices.Insert(s.chunks, p.chunk+1, second)
		if c = &s.chunks[p.chunk]; p.index > first {
			c, p.index = &s.chunks[p.chunk+1], p.index-first
		}
	}
	c.insert(p.index, v)
}

// remove takes out the element at a place.
func (s *sortedList[T, P]) remove(p slot) (v T) {
	v = s.chunks[p.chunk].remove(p.index)
	s.size--
	s.shrink(p.chunk)
	return v
}

// pop takes out the first element of a list that is not empty.
func (s *sortedList[T, P]) pop() T { return s.remove(slot{}) }

// shrink lets go of a chunk that is empty, and joins one that has become small
// with a small one beside it.
func (s *sortedList[T, P]) shrink(n int) {
	size := len(s.chunks[n].live())
	switch {
	case size == 0:
		empty := s.chunks[n].buf[:0]
		if n == 0 && len(s.chunks) > 1 { // others need not move
			s.chunks[0] = chunk[T]{}
			s.chunks = s.chunks[1:]
			break
		}
		s.chunks = slices.Delete(s.chunks, n, n+1)
		if len(s.chunks) == 0 && cap(empty) <= 2*chunkSize {
			s.chunks[:1][0].buf = empty // for the next
		}
	case size < chunkSize/4:
		s.join(n)
		s.join(n - 1)
	}
}

// join makes one chunk of two, where both are small.
func (s *sortedList[T, P]) join(n int) {
	if n < 0 || n+1 >= len(s.chunks) {
		return
	}
	c, next := &s.chunks[n], s.chunks[n+1].live()
	if len(c.live())+len(next) <= chunkSize/2 {
		c.compact()
		c.buf = append(c.buf, next...)
		s.chunks = slices.Delete(s.chunks, n+1, n+2)
	}
}

// cut removes what stands before a place.
func (s *sortedList[T, P]) cut(p slot) {
	for _, c := range s.chunks[:p.chunk] {
		s.size -= len(c.live())
	}
	clear(s.chunks[:p.chunk])
	s.chunks = s.chunks[p.chunk:]
	for range p.index {
		s.pop()
	}
}

// from goes through the elements from a place on.
func (s *sortedList[T, P]) from(p slot) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for n := p.chunk; n < len(s.chunks); n++ {
			live := s.chunks[n].live()
			if n == p.chunk {
				live = live[p.index:]
			}
			for i := range live {
				if !yield(&live[i]) {
					return
				}
			}
		}
	}
}
