package delivery

import "sync/atomic"

// A Budget bounds what several queues take together. Each has a share of its
// own, beside the budget, so that none waits for another to go on; what is
// beyond that comes out of the budget, and a queue gets no more of it than is
// left then. So the first that fills takes half at the most, and there is
// always something left.
type Budget struct {
	share int64
	bytes int64
	taken atomic.Int64
}

// NewBudget makes a budget of so many bytes, and of a share for each queue.
func NewBudget(bytes, share int) *Budget { return &Budget{bytes: int64(bytes), share: int64(share)} }

// Taken is how much of the budget is taken, the queues' own shares not counted.
func (b *Budget) Taken() int { return int(b.taken.Load()) }

// beyond is what of a queue's bytes is beyond its share.
func (b *Budget) beyond(bytes int64) int64 { return max(bytes-b.share, 0) }

// between is how much more of the budget a queue has with so many bytes than
// with less.
func (b *Budget) between(less, bytes int64) int64 { return b.beyond(bytes) - b.beyond(less) }

// take takes room for a queue that has had so much of the budget, and reports
// false if it is not to have more now.
func (b *Budget) take(more, had int64) bool {
	for more > 0 {
		taken := b.taken.Load()
		if had+more > b.bytes-taken {
			return false
		}
		if b.taken.CompareAndSwap(taken, taken+more) {
			break
		}
	}
	return true
}

// room is how many bytes a queue that has so many may have now.
func (b *Budget) room(bytes int64) int64 {
	had := b.beyond(bytes)
	return b.share + max((b.bytes-b.taken.Load()+had)/2, 0)
}
