// Package notices bounds how often one is told of what a peer, or a handler,
// can cause in any number: the first of a kind at once, those that follow
// within a while together, as one that stands for all of them.
package notices

import "time"

// Every is how often one is told of a kind.
const Every = 10 * time.Second

// Notices sums up notices E of kinds K. Its fields are set before it is used,
// and it is used by one goroutine at a time.
type Notices[K comparable, E any] struct {
	Tell func(E)             // is told
	Sum  func(sum, more E) E // makes one notice of two of a kind

	kinds map[K]*kind[E]
}

// kind is what there is of a kind since it was last told of.
type kind[E any] struct {
	sum     E
	waiting bool      // there is a sum
	due     time.Time // when it may be told of again
}

// Add tells of a notice, now or later.
func (n *Notices[K, E]) Add(of K, e E, now time.Time) {
	k := n.kinds[of]
	if k == nil {
		if n.kinds == nil {
			n.kinds = make(map[K]*kind[E])
		}
		k = new(kind[E])
		n.kinds[of] = k
	}
	switch {
	case k.waiting:
		k.sum = n.Sum(k.sum, e)
	case now.Before(k.due):
		k.sum, k.waiting = e, true
	default:
		k.due = now.Add(Every)
		n.Tell(e)
	}
}

// Next is when a sum is to be told; zero: there is none.
func (n *Notices[K, E]) Next() (at time.Time) {
	for _, k := range n.kinds {
		if k.waiting && (at.IsZero() || k.due.Before(at)) {
			at = k.due
		}
	}
	return at
}

// Flush tells the sums that are due.
func (n *Notices[K, E]) Flush(now time.Time) {
	for _, k := range n.kinds {
		if k.waiting && !now.Before(k.due) {
			k.due = now.Add(Every)
			n.tell(k)
		}
	}
}

// FlushAll tells all sums there are, at the end.
func (n *Notices[K, E]) FlushAll() {
	for _, k := range n.kinds {
		if k.waiting {
			n.tell(k)
		}
	}
}

func (n *Notices[K, E]) tell(k *kind[E]) {
	var none E
	sum := k.sum
	k.sum, k.waiting = none, false
	n.Tell(sum)
}
