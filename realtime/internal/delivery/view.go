package delivery

import (
	"slices"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// ackedView is a set of keys in order, of which cursors hold parts: what has
// been handed out is not written to any more. So a cursor costs no copy of what
// is remembered. Keys that come in order are appended to the head. Where they do
// not, as with handlers that run at a time, they go into the tail, which is so
// long that what comes out of turn mostly belongs there.
type ackedView struct {
	head  []wire.Key
	tail  []keyBlock // behind the head
	size  int        // of both
	valid bool       // they are those of the set

	shared bool // the tail has been handed out
	turn   int  // how often it was; blocks of this turn have not been
	reach  int  // how many blocks before its end a key belonged lately
	far    int  // the same, since the count began
	count  int  // of keys that far is of
}

// keyBlock is some keys of a view's tail.
type keyBlock struct {
	keys []wire.Key // at least one
	turn int        // in which it was made
}

const (
	blockSize = 32   // of keys that a block has at the most
	tailSlack = 4    // blocks that a tail has beyond what is needed
	maxReach  = 128  // blocks: what belongs before them comes too seldom
	reachOver = 4096 // keys after which what was needed before is forgotten
)

// fill makes the view one of a set.
func (v *ackedView) fill(of *keySet) {
	if !v.valid {
		keys := of.from(wire.Mid{})
		*v = ackedView{head: keys, size: len(keys), valid: true, turn: v.turn, reach: v.reach, far: v.far, count: v.count}
	}
}

// add takes a key that is new to the set.
func (v *ackedView) add(k wire.Key) {
	if !v.valid {
		return
	}
	v.size++
	if v.count++; v.count > reachOver {
		v.reach, v.far, v.count = v.far, 0, 0
	}
	if n := len(v.head); len(v.tail) == 0 && (n == 0 || k.Compare(v.head[n-1]) > 0) {
		v.head = append(v.head, k)
		return
	}
	v.insert(k)
	v.fold()
}

// insert puts a key into the tail.
func (v *ackedView) insert(k wire.Key) {
	v.own()
	if n := len(v.head); n > 0 && k.Compare(v.head[n-1]) < 0 {
		v.pull(v.index(k))
	}
	i := v.blockOf(k)
	b := &v.tail[i]
	at, _ := slices.BinarySearchFunc(b.keys, k, wire.Key.Compare)
	if i < len(v.tail)-1 || at < len(b.keys) {
		v.far = max(v.far, min(len(v.tail)-i, maxReach))
	}
	if b.turn != v.turn {
		*b = keyBlock{append(make([]wire.Key, 0, blockSize), b.keys...), v.turn}
	}
	if len(b.keys) < blockSize {
		b.keys = slices.Insert(b.keys, at, k)
		return
	}
	second := keyBlock{make([]wire.Key, 0, blockSize), v.turn}
	cut := blockSize / 2
	if at == blockSize {
		cut = blockSize // keys come in order for a while
	}
	second.keys = append(second.keys, b.keys[cut:]...)
	if b.keys = b.keys[:cut]; at >= cut {
		second.keys = slices.Insert(second.keys, at-cut, k)
	} else {
		b.keys = slices.Insert(b.keys, at, k)
	}
	v.tail = slices.Insert(v.tail, i+1, second)
}

// blockOf is the block of the tail that a key belongs to.
func (v *ackedView) blockOf(k wire.Key) int {
	i, found := slices.BinarySearchFunc(v.tail, k, func(b keyBlock, k wire.Key) int { return b.keys[0].Compare(k) })
	if found {
		return i
	}
	return max(i-1, 0)
}

// own makes the list of blocks one that nobody else has.
func (v *ackedView) own() {
	if v.shared {
		v.tail = append(make([]keyBlock, 0, len(v.tail)+2), v.tail...)
		v.shared = false
		v.turn++
	}
}

// pull makes the keys of the head from an index on the first of the tail.
func (v *ackedView) pull(from int) {
	var blocks []keyBlock
	for part := range slices.Chunk(v.head[from:], blockSize) {
		blocks = append(blocks, keyBlock{part, v.turn - 1})
	}
	v.tail = append(blocks, v.tail...)
	v.head = v.head[:from:from]
}

// fold appends the first blocks of a tail that is longer than what comes out of
// turn wants to the head.
func (v *ackedView) fold() {
	most := max(v.reach, v.far)
	if len(v.tail) <= 2*most+tailSlack {
		return
	}
	n := len(v.tail) - most
	for _, b := range v.tail[:n] {
		v.head = append(v.head, b.keys...)
	}
	if v.tail = v.tail[n:]; most == 0 {
		v.tail = nil
	}
}

// spoil says that the set has lost a key.
func (v *ackedView) spoil() {
	v.head, v.tail, v.size, v.valid, v.shared = nil, nil, 0, false, false
}

// shorten says that the set has lost all but its last keys.
func (v *ackedView) shorten(n int) {
	gone := v.size - n
	if !v.valid || gone <= 0 {
		return
	}
	v.size = n
	ofHead := min(gone, len(v.head))
	v.head = v.head[ofHead:]
	if gone -= ofHead; gone == 0 {
		return
	}
	v.own()
	for gone > 0 && gone >= len(v.tail[0].keys) {
		gone -= len(v.tail[0].keys)
		v.tail = v.tail[1:]
	}
	if gone > 0 {
		v.tail[0].keys = v.tail[0].keys[gone:]
	}
}

// from returns the keys from a position on, in two parts.
func (v *ackedView) from(pos wire.Mid) (head []wire.Key, tail []keyBlock) {
	k := wire.Key{Mid: pos}
	if head = v.head[v.index(k):]; len(v.tail) == 0 {
		return head[:len(head):len(head)], nil
	}
	v.shared = true
	tail = v.tail
	if i := v.blockOf(k); len(head) == 0 && tail[0].keys[0].Compare(k) < 0 { // mostly such keys are not in the set any more
		tail = slices.Clone(tail[i:])
		at, _ := slices.BinarySearchFunc(tail[0].keys, k, wire.Key.Compare)
		if tail[0].keys = tail[0].keys[at:]; len(tail[0].keys) == 0 {
			tail = tail[1:]
		}
	}
	return head[:len(head):len(head)], tail[:len(tail):len(tail)]
}

// index is where keys of the head stand that are not less.
func (v *ackedView) index(k wire.Key) int {
	if len(v.head) > 0 && k.Compare(v.head[0]) <= 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(v.head, k, wire.Key.Compare)
	return i
}
