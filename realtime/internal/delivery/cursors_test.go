package delivery

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// handlers handle messages of which many are remembered: so many of them run at
// a time, are done in any order, and are no farther apart than 16 messages for
// each.
type handlers struct {
	acks    *Acks
	many    int
	n       int
	waiting []wire.Key
	random  *rand.Rand
}

const (
	remembered = 60_000
	perSecond  = 5000
)

func newHandlers(many int) *handlers {
	h := &handlers{acks: NewAcks(Position{}), many: many, random: rand.New(rand.NewPCG(1, 2))}
	for range remembered {
		h.handle(0)
	}
	return h
}

// handle takes a message, and has one be handled; of each so many a cursor is
// taken.
func (h *handlers) handle(cursors int) {
	h.n++
	k := wire.Key{Mid: midAt(uint64(h.n)), Sum: wire.FullSum}
	h.acks.take([]wire.Key{k}, 0)
	if h.waiting = append(h.waiting, k); len(h.waiting) < h.many {
		return
	}
	i := h.random.IntN(h.many)
	if h.waiting[0].Mid.Counter+uint64(16*h.many) <= k.Mid.Counter {
		i = 0 // the others wait for it
	}
	k = h.waiting[i]
	h.waiting = slices.Delete(h.waiting, i, i+1)
	if cursors > 0 && h.n%cursors == 0 {
		h.acks.PositionAfter(Receipt{Key: k})
	}
	h.acks.Handled(Receipt{Key: k})
	if h.n%perSecond == 0 && h.n > remembered {
		h.acks.advance(Progress{Watermark: midAt(uint64(h.n - remembered)), ReplayedAt: time.Unix(int64(h.n), 0)})
	}
}

// BenchmarkCursor is what a handled message costs in the acks at 5,000 messages
// a second, with 60,000 that are handled beyond the position: alone, with
// Message.Cursor of each, and with a position for each save, once a second.
func BenchmarkCursor(b *testing.B) {
	for _, many := range []int{1, 16, 64, 256} {
		for _, taken := range []struct {
			name    string
			cursors int
		}{{"alone", 0}, {"cursor", 1}, {"saves", perSecond}} {
			b.Run(fmt.Sprintf("handlers=%d/%s", many, taken.name), func(b *testing.B) {
				b.ReportAllocs()
				for h := newHandlers(many); b.Loop(); {
					h.handle(taken.cursors)
				}
			})
		}
	}
}

// TestView_CopiesLittle: a cursor of each message copies little of the 60,000
// that are remembered, in whatever order they are handled.
func TestView_CopiesLittle(t *testing.T) {
	for _, many := range []int{1, 16, 64, 256} {
		if testing.Short() && many != 16 {
			continue
		}
		h := newHandlers(many)
		handled := func(n int) uint64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n {
				h.handle(1)
			}
			runtime.ReadMemStats(&after)
			return (after.TotalAlloc - before.TotalAlloc) / uint64(n)
		}
		handled(3 * perSecond) // how far apart they are is known then
		if bytes := handled(3 * perSecond); bytes > 2<<10 {
			t.Errorf("%d handlers: %d bytes for each cursor", many, bytes)
		}
	}
}
