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
	tail  []*keyBlock // behind the head
	size  int         // of both
	valid bool        // they are those of the set

	shared bool // the tail has been handed out
	turn   int  // how often it was; blocks of this turn have not been
	reach  int  // how many blocks before its end a key belonged lately
	far    int  // the same, since the count began
	count  int  // of keys that far is of
}

// keyBlock is some keys of a view's tail, at least one. It is small: a cursor
// that one key follows costs a copy of a block, and one of the list of them.
type keyBlock struct {
	turn int // in which it was made
	n    int
	buf  [blockSize]packedKey
}

func (b *keyBlock) keys() []packedKey { return b.buf[:b.n] }

// newBlock makes a block of keys.
func newBlock(turn int, keys []packedKey) *keyBlock {
	b := &keyBlock{turn: turn}
	b.n = copy(b.buf[:], keys)
	return b
}

// insert puts a key into a block that is not full.
func (b *keyBlock) insert(at int, k packedKey) {
	copy(b.buf[at+1:b.n+1], b.buf[at:b.n])
	b.buf[at] = k
	b.n++
}

const (
	blockSize = 31   // of keys that a block has at the most: with it, it takes 512 bytes
	tailSlack = 8    // blocks that a tail has beyond what is needed
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
func (v *ackedView) insert(key wire.Key) {
	v.own()
	if n := len(v.head); n > 0 && key.Compare(v.head[n-1]) < 0 {
		v.pull(v.index(key))
	}
	k := pack(key)
	if len(v.tail) == 0 {
		v.tail = append(v.tail, newBlock(v.turn, []packedKey{k}))
		return
	}
	i := v.blockOf(k)
	b := v.tail[i]
	at, _ := slices.BinarySearchFunc(b.keys(), k, packedKey.compare)
	if i < len(v.tail)-1 || at < b.n {
		v.far = max(v.far, min(len(v.tail)-i, maxReach))
	}
	if b.n < blockSize {
		if b.turn != v.turn {
			b = newBlock(v.turn, b.keys())
			v.tail[i] = b
		}
		b.insert(at, k)
		return
	}
	cut := blockSize / 2
	if at == blockSize {
		cut = blockSize // keys come in order for a while
	}
	second := newBlock(v.turn, b.keys()[cut:])
	if cut < blockSize {
		b = newBlock(v.turn, b.keys()[:cut])
		v.tail[i] = b
	}
	if at >= cut {
		second.insert(at-cut, k)
	} else {
		b.insert(at, k)
	}
	v.tail = slices.Insert(v.tail, i+1, second)
}

// blockOf is the block of the tail that a key belongs to.
func (v *ackedView) blockOf(k packedKey) int {
	i, found := slices.BinarySearchFunc(v.tail, k, func(b *keyBlock, k packedKey) int { return b.buf[0].compare(k) })
	if found {
		return i
	}
	return max(i-1, 0)
}

// own makes the list of blocks one that nobody else has.
func (v *ackedView) own() {
	if v.shared {
		v.tail = append(make([]*keyBlock, 0, len(v.tail)+2), v.tail...)
		v.shared = false
		v.turn++
	}
}

// pull makes the keys of the head from an index on the first of the tail.
func (v *ackedView) pull(from int) {
	var blocks []*keyBlock
	for part := range slices.Chunk(v.head[from:], blockSize) {
		b := &keyBlock{turn: v.turn}
		for _, k := range part {
			b.insert(b.n, pack(k))
		}
		blocks = append(blocks, b)
	}
	v.tail = append(blocks, v.tail...)
	v.head = v.head[:from:from]
}

// fold appends the first blocks of a tail that is longer than what comes out of
// turn wants to the head.
func (v *ackedView) fold() {
	most := max(v.reach, v.far)
	if len(v.tail) <= most+most/8+tailSlack {
		return
	}
	n := len(v.tail) - most
	for _, b := range v.tail[:n] {
		for _, k := range b.keys() {
			v.head = append(v.head, k.key())
		}
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
	for gone > 0 && gone >= v.tail[0].n {
		gone -= v.tail[0].n
		v.tail = v.tail[1:]
	}
	if gone > 0 {
		v.tail[0] = newBlock(v.turn, v.tail[0].keys()[gone:])
	}
}

// from returns the keys from a position on, in two parts.
func (v *ackedView) from(pos wire.Mid) (head []wire.Key, tail []*keyBlock) {
	k := wire.Key{Mid: pos}
	if head = v.head[v.index(k):]; len(v.tail) == 0 {
		return head[:len(head):len(head)], nil
	}
	v.shared = true
	tail = v.tail
	if first := pack(k); len(head) == 0 && tail[0].buf[0].compare(first) < 0 { // mostly such keys are not in the set any more
		tail = slices.Clone(tail[v.blockOf(first):])
		at, _ := slices.BinarySearchFunc(tail[0].keys(), first, packedKey.compare)
		if at == tail[0].n {
			tail = tail[1:]
		} else {
			tail[0] = newBlock(0, tail[0].keys()[at:])
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
