package delivery

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// TestView_IsTheSet: cursors hold what a copy of the set would, and nothing that
// happens later changes one that has been handed out.
func TestView_IsTheSet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range resttest.Rounds(200) {
		l := NewAcks(Position{})
		l.Watermark = midAt(1 << 20)
		var given []Position
		var want [][]wire.Key
		var pending []wire.Key
		next := uint64(1)
		apart := 2 // how far from their turn messages are handled
		if round%2 == 1 {
			apart = 400
		}
		for range 3000 / (1 + round%10) {
			switch r.IntN(8) {
			case 0, 1, 2: // mostly in order
				k := wire.Key{Mid: midAt(next + r.Uint64N(3)), Sum: wire.FullSum}
				next += 2
				l.take([]wire.Key{k}, 0)
				pending = append(pending, k)
			case 3, 4:
				if len(pending) > 0 {
					i := r.IntN(min(apart, len(pending)))
					l.settle(pending[i])
					pending = slices.Delete(pending, i, i+1)
				}
			case 5:
				if r.IntN(50) == 0 {
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
				given, want = append(given, l.PositionAfter(Receipt{Key: k})), append(want, plain)
			}
		}
		for i := range given {
			if got := keysOf(given[i]); !slices.Equal(got, want[i]) {
				t.Fatalf("cursor %d of %d has become %v, was to be %v", i, len(given), got, want[i])
			}
		}
	}
}
