package delivery

import (
	"sync"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Batch is messages that have come together, and what could not be decoded
// among them.
type Batch []Decoded

// Decoded is a message as the codec yields it.
type Decoded struct {
	Message Message
	Err     error
}

// MaxBatch is how many messages a batch has room for, and fewMessages for how
// many it has at first: most have one.
const (
	MaxBatch    = 256
	fewMessages = 16
)

var (
	batches     = sync.Pool{New: func() any { b := make(Batch, 0, fewMessages); return &b }}
	longBatches = sync.Pool{New: func() any { b := make(Batch, 0, MaxBatch); return &b }}
)

// NewBatch returns an empty batch.
func NewBatch() *Batch { return batches.Get().(*Batch) }

// Add adds what has been decoded, and returns the batch, which may be another.
func (b *Batch) Add(r *wire.Record, err error) *Batch {
	n := len(*b)
	if n == fewMessages && cap(*b) == fewMessages {
		long := longBatches.Get().(*Batch)
		*long = append(*long, *b...)
		b.Recycle()
		b = long
	}
	*b = append(*b, Decoded{})
	d := &(*b)[n]
	d.Message.Record, d.Err = *r, err
	return b
}

// Recycle takes back a batch that has been gone through.
func (b *Batch) Recycle() {
	clear(*b)
	*b = (*b)[:0]
	switch cap(*b) {
	case fewMessages:
		batches.Put(b)
	case MaxBatch:
		longBatches.Put(b)
	}
}
