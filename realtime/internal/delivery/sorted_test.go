package delivery

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// element is one of a list, told from its equals by a mark. It counts how often
// it is compared.
type element struct{ value, mark int }

var comparisons int

func (e *element) rank() packedKey {
	comparisons++
	return rankOf(e.value)
}

func rankOf(value int) packedKey { return packedKey{high: uint64(value)} }

type elements = sortedList[element, *element]

// checkList compares a list with a slice, and looks at how it is kept.
func checkList(t *testing.T, list *elements, want []element) {
	t.Helper()
	var got []element
	for e := range list.from(slot{}) {
		got = append(got, *e)
	}
	if !slices.Equal(got, want) || list.len() != len(want) {
		t.Fatalf("%d elements, want %d", list.len(), len(want))
	}
	small := false
	for n, c := range list.chunks {
		size := len(c.live())
		if size == 0 || size > chunkSize || cap(c.buf) > 4*chunkSize {
			t.Fatalf("chunk %d of %d has %d elements and room for %d", n, len(list.chunks), size, cap(c.buf))
		}
		if small = small && size < chunkSize/4; small {
			t.Fatalf("chunks %d and %d are small", n-1, n)
		}
		small = size < chunkSize/4
	}
}

// TestSorted_List has a list do what a slice does.
func TestSorted_List(t *testing.T) {
	for seed := range wiretest.Seeds(t, resttest.Rounds(30)) {
		random := rand.New(rand.NewPCG(uint64(seed), 3))
		var list elements
		var model []element
		find := func(value int, behind bool) (int, bool) {
			i, found := slices.BinarySearchFunc(model, value, func(e element, v int) int {
				if c := cmp.Compare(e.value, v); c != 0 || !behind {
					return c
				}
				return -1
			})
			return i, found || behind && i > 0 && model[i-1].value == value
		}
		values := 1 + random.IntN(5000)
		for step := range 6000 {
			growing := step/1000%2 == 0
			value := element{random.IntN(values), step}
			i, equal := find(value.value, false)
			p, found := list.seek(rankOf(value.value), false)
			if at := list.at(p); found != equal || (at == nil) != (i == len(model)) || at != nil && *at != model[i] {
				t.Fatalf("seed %d: found %v, want %v", seed, found, equal)
			}
			switch kind := random.IntN(10); {
			case growing && kind < 7:
				i, _ := find(value.value, true)
				model = slices.Insert(model, i, value)
				list.add(rankOf(value.value), value)
			case kind < 4 && i < len(model):
				if got := list.remove(p); got != model[i] {
					t.Fatalf("seed %d: removed %v, want %v", seed, got, model[i])
				}
				model = slices.Delete(model, i, i+1)
			case kind < 9 && len(model) > 0:
				if got := list.pop(); got != model[0] {
					t.Fatalf("seed %d: popped %v, want %v", seed, got, model[0])
				}
				model = model[1:]
			case kind == 9 && random.IntN(200) == 0:
				list.cut(p)
				model = model[i:]
			}
			if step%97 == 0 {
				checkList(t, &list, model)
			}
		}
		checkList(t, &list, model)
	}
}

// TestSorted_ListHole: a list of which little is left, here and there, takes
// little room.
func TestSorted_ListHole(t *testing.T) {
	var list elements
	var model []element
	for n := range 100 * chunkSize {
		list.add(rankOf(n), element{n, 0})
	}
	for n := range 100 * chunkSize {
		if n%chunkSize == 0 {
			model = append(model, element{n, 0})
			continue
		}
		p, _ := list.seek(rankOf(n), false)
		list.remove(p)
	}
	checkList(t, &list, model)
	if len(list.chunks) > 10 {
		t.Errorf("%d chunks of %d elements", len(list.chunks), list.len())
	}
}

// TestSorted_ListWork: whatever the order in which elements come, one costs
// some comparisons, and moves within a chunk.
func TestSorted_ListWork(t *testing.T) {
	n := 1 << 16
	if testing.Short() {
		n = 1 << 13
	}
	for name, value := range map[string]func(i int) int{
		"ascending":  func(i int) int { return i },
		"descending": func(i int) int { return n - i },
		"equal":      func(int) int { return 0 },
		"random":     func(i int) int { return int(uint32(i) * 40503 % uint32(n)) },
	} {
		var list elements
		comparisons = 0
		for i := range n {
			list.add(rankOf(value(i)), element{value(i), i})
		}
		if each := comparisons / n; each > 20 {
			t.Errorf("%s: %d comparisons for each of %d elements", name, each, n)
		}
		var largest int
		for _, c := range list.chunks {
			largest = max(largest, len(c.buf))
		}
		if largest > 2*chunkSize {
			t.Errorf("%s: a chunk has %d elements: so many are moved for one", name, largest)
		}
		comparisons = 0
		for i := range n {
			p, found := list.seek(rankOf(value(i)), false)
			if !found {
				t.Fatalf("%s: %d is missing", name, i)
			}
			list.remove(p)
		}
		if each := comparisons / n; each > 20 || list.len() > 0 {
			t.Errorf("%s: %d comparisons to remove each, %d left", name, each, list.len())
		}
	}
}

// TestSorted_PackedKey: a key is packed without loss, and packed keys have the
// order of keys.
func TestSorted_PackedKey(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	some := func(most uint64) uint64 {
		switch random.IntN(4) {
		case 0:
			return 0
		case 1:
			return most
		case 2:
			return uint64(random.IntN(3))
		default:
			return random.Uint64N(most + 1)
		}
	}
	for range 100_000 {
		a := wire.Key{Mid: wire.Mid{Epoch: some(wire.MaxEpoch), Counter: some(wire.MaxCounter)}, Sum: uint32(some(1<<32 - 1))}
		b := wire.Key{Mid: wire.Mid{Epoch: some(wire.MaxEpoch), Counter: some(wire.MaxCounter)}, Sum: uint32(some(1<<32 - 1))}
		p, q := pack(a), pack(b)
		if p.key() != a || p.mid() != a.Mid {
			t.Fatalf("%v is packed as %v", a, p.key())
		}
		if p.compare(q) != a.Compare(b) {
			t.Fatalf("%v and %v: %d, packed %d", a, b, a.Compare(b), p.compare(q))
		}
	}
}

// TestSorted_Log: a keyLog keeps what it is given, in that order, but what is
// filtered out, in little more memory than that takes.
func TestSorted_Log(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var l keyLog
	var want []packedKey
	for n := range uint64(20_000) {
		k := packedKey{r.Uint64N(8), n}
		l.add(k)
		want = append(want, k)
		switch r.IntN(2000) {
		case 0:
			out := r.Uint64N(8)
			l.filter(func(k packedKey) bool { return k.high != out })
			want = slices.DeleteFunc(want, func(k packedKey) bool { return k.high == out })
		case 1:
			first := r.IntN(len(want) + 1)
			if got := l.takeFirst(first); !slices.Equal(got, want[:first]) {
				t.Fatalf("the first %d are others", first)
			}
			want = slices.Clone(want[first:])
		case 2:
			l.filter(func(packedKey) bool { return false })
			want = nil
		}
		if l.len() != len(want) {
			t.Fatalf("%d keys, want %d", l.len(), len(want))
		}
		if room := len(l.pieces) * logPiece; room > len(want)+logPiece {
			t.Fatalf("room for %d of %d", room, len(want))
		}
	}
	var got []packedKey
	l.filter(func(k packedKey) bool { got = append(got, k); return true })
	if !slices.Equal(got, want) || len(want) < 100 {
		t.Errorf("%d keys that are others, want %d", len(got), len(want))
	}
}
