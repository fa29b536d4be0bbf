package delivery

import (
	"iter"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Message is a message on its way to the user.
type Message struct {
	wire.Record
	Replayed bool // found in the server's history, not received live
	Late     bool // its turn has passed: a message with a greater ID came before it
	lasts    bool // the watermark can stand on it
	Gap      *Gap // messages may have been lost before this one; nil otherwise
}

// Receipt is what it takes to say that a message has been handled.
func (m *Message) Receipt() Receipt { return Receipt{m.Key, m.Transient, m.Gap} }

// Receipt stands for a message where it is handled. The zero receipt is of
// none.
type Receipt struct {
	Key       wire.Key
	Transient bool
	Gap       *Gap
}

// Progress is how far a history is known.
type Progress struct {
	Watermark      wire.Mid  // everything kept up to here has been seen
	RetentionProbe wire.Mid  // a message at the watermark, or above, that the channels keep: when it is not there any more, others may have expired, too; zero: none is known
	ReplayedAt     time.Time // when the last whole replay began that came to its end; zero: unknown
}

// Position is how far everything has been handled, and what was handled beyond.
type Position struct {
	Progress             // of the watermark of a position: everything up to it has been handled
	Acked    []wire.Key  // the message at the watermark, if there is one, and what was handled beyond, in order
	further  []*keyBlock // what follows
	last     wire.Key    // what has been handled last, if it is none of these; zero: it is
	Tags     bool        // positions are times and tags, not mids
	Bound    Binding     // what the position is of
}

// Keys are those of the message at the watermark, if there is one, and of what
// was handled beyond, in order.
func (p *Position) Keys() iter.Seq[wire.Key] {
	return func(yield func(wire.Key) bool) {
		last := p.last
		each := func(k wire.Key) bool {
			if last != (wire.Key{}) && last.Compare(k) < 0 {
				if !yield(last) {
					return false
				}
				last = wire.Key{}
			}
			return yield(k)
		}
		goOn := true
		for i := 0; goOn && i < len(p.Acked); i++ {
			goOn = each(p.Acked[i])
		}
		for _, b := range p.further {
			for i := 0; goOn && i < b.n; i++ {
				goOn = each(b.buf[i].key())
			}
		}
		if goOn && last != (wire.Key{}) {
			yield(last)
		}
	}
}

// IsZero reports whether p is no position.
func (p *Position) IsZero() bool {
	return p.Watermark.IsZero() && len(p.Acked) == 0 && len(p.further) == 0 && p.last == (wire.Key{}) && p.Bound == Binding{}
}

// Binding says what a position is of, in checksums. Zero: unknown.
type Binding struct {
	Portal   uint32
	Server   uint32
	Channels uint32
}
