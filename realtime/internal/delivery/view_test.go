package delivery

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestView_IsTheSet: cursors hold what a copy of the set would, and nothing that
// happens later changes one that has been handed out.
func TestView_IsTheSet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		l := NewAcks(Position{})
		l.Watermark = midAt(1 << 20)
		var given, want [][]wire.Key
		var pending []wire.Key
		next := uint64(1)
		for range 300 {
			switch r.IntN(8) {
			case 0, 1, 2: // mostly in order
				k := wire.Key{Mid: midAt(next + r.Uint64N(3)), Sum: wire.FullSum}
				next += 2
				l.take([]wire.Key{k}, 0)
				pending = append(pending, k)
			case 3, 4:
				if len(pending) > 0 {
					i := r.IntN(min(2, len(pending)))
					l.settle(pending[i])
					pending = slices.Delete(pending, i, i+1)
				}
			case 5:
				if r.IntN(10) == 0 {
					l.forget([]packedKey{pack(wire.Key{Mid: midAt(r.Uint64N(next)), Sum: wire.FullSum})})
				}
				if r.IntN(10) == 0 {
					l.advance(Progress{Watermark: midAt(r.Uint64N(next))})
				}
			default:
				k := wire.Key{}
				if len(pending) > 0 && r.IntN(2) == 0 {
					k = pending[r.IntN(min(3, len(pending)))]
				}
				pos := l.handledTo(k)
				plain := l.acked.from(pos)
				if l.pending.has(k) && !k.Mid.Less(pos) {
					plain = append(plain, k)
					slices.SortFunc(plain, wire.Key.Compare)
				}
				given, want = append(given, l.PositionAfter(Receipt{Key: k}).Acked), append(want, plain)
			}
		}
		for i := range given {
			if !slices.Equal(given[i], want[i]) {
				t.Fatalf("cursor %d of %d has become %v, was to be %v", i, len(given), given[i], want[i])
			}
		}
	}
}

// BenchmarkCursor takes a cursor for each message, with many handled beyond the
// position.
func BenchmarkCursor(b *testing.B) {
	b.ReportAllocs()
	l := NewAcks(Position{})
	n := uint64(1)
	handle := func() {
		n++
		m := Message{Record: wire.Record{Key: wire.Key{Mid: midAt(n), Sum: wire.FullSum}}}
		l.take([]wire.Key{m.Key}, 0)
		if l.PositionAfter(m.Receipt()); n%50_000 == 0 {
			l.advance(Progress{Watermark: midAt(n - 25_000), ReplayedAt: time.Unix(int64(n), 0)})
		}
		l.Handled(m.Receipt())
	}
	for range 25_000 {
		handle()
	}
	for b.Loop() {
		handle()
	}
}
