package delivery

import (
	"cmp"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// packedKey is a key in 16 bytes, in the order of keys: a mid's epoch has 34
// bits and its counter 54.
type packedKey struct{ high, low uint64 }

func pack(k wire.Key) packedKey {
	return packedKey{k.Mid.Epoch<<30 | k.Mid.Counter>>24, k.Mid.Counter&(1<<24-1)<<32 | uint64(k.Sum)}
}

func (p packedKey) key() wire.Key {
	return wire.Key{Mid: p.mid(), Sum: uint32(p.low)}
}

func (p packedKey) mid() wire.Mid {
	return wire.Mid{Epoch: p.high >> 30, Counter: p.high&(1<<30-1)<<24 | p.low>>32}
}

func (p *packedKey) rank() packedKey { return *p }

func (p packedKey) compare(o packedKey) int {
	if p.high != o.high {
		return cmp.Compare(p.high, o.high)
	}
	return cmp.Compare(p.low, o.low)
}

// keySet is a set of keys in the order of their mids. Keys mostly come in that
// order, and go from the front.
type keySet struct {
	list sortedList[packedKey, *packedKey]
}

func (s *keySet) len() int { return s.list.len() }

func (s *keySet) find(k wire.Key) (slot, bool) {
	return s.list.seek(pack(k), false)
}

func (s *keySet) has(k wire.Key) bool {
	_, found := s.find(k)
	return found
}

// add reports whether the key was not there.
func (s *keySet) add(k wire.Key) bool {
	p, found := s.find(k)
	if !found {
		s.list.insert(p, pack(k))
	}
	return !found
}

// remove reports whether the key was there.
func (s *keySet) remove(k wire.Key) (found bool) {
	p, found := s.find(k)
	if found {
		s.list.remove(p)
	}
	return found
}

// cut removes what is below pos.
func (s *keySet) cut(pos wire.Mid) {
	p, _ := s.find(wire.Key{Mid: pos})
	s.list.cut(p)
}

// drop removes the first n.
func (s *keySet) drop(n int) {
	for range n {
		s.list.pop()
	}
}

// from returns the keys from pos on.
func (s *keySet) from(pos wire.Mid) []wire.Key {
	p, _ := s.find(wire.Key{Mid: pos})
	if s.list.at(p) == nil {
		return nil
	}
	keys := make([]wire.Key, 0, s.len()+1) // what is below has mostly been cut, and one may be added
	for k := range s.list.from(p) {
		keys = append(keys, k.key())
	}
	return keys
}

// next returns the first key with a mid but one; ok is false if there is none.
func (s *keySet) next(but wire.Key) (k wire.Key, ok bool) {
	p, _ := s.find(wire.Key{Mid: wire.Mid{Epoch: 0, Counter: 1}})
	for at := range s.list.from(p) {
		if k = at.key(); k != but {
			return k, true
		}
	}
	return wire.Key{}, false
}

// clone returns a copy of the set.
func (s *keySet) clone() (c keySet) {
	for k := range s.list.from(slot{}) {
		c.list.push(*k)
	}
	return c
}

// keySetOf are the keys of a position.
func keySetOf(p *Position) (s keySet) {
	for k := range p.Keys() {
		s.add(k)
	}
	return s
}

// seenKey is a key, and when what it is of arrived.
type seenKey struct {
	packedKey
	at stamped
}

// stamped is when a message arrived, in nanoseconds; its last bit says whether
// the watermark can stand on it.
type stamped int64

func stamp(at time.Duration, lasts bool) stamped {
	if lasts {
		return stamped(at) | 1
	}
	return stamped(at) &^ 1
}

func (k *seenKey) arrived() int64 { return int64(k.at &^ 1) }
func (k *seenKey) lasts() bool    { return k.at&1 != 0 }

// seenSet is when what has been seen arrived first, by key. Most that is
// looked for is greater than all that there is.
type seenSet struct {
	list sortedList[seenKey, *seenKey]
}

func (s *seenSet) len() int { return s.list.len() }

// get returns when it arrived; ok is false if it has not been seen.
func (s *seenSet) get(k packedKey) (at int64, ok bool) {
	p, ok := s.list.seek(k, false)
	if ok {
		at = s.list.at(p).arrived()
	}
	return at, ok
}

// put enters when it arrived, and reports whether it had not been seen.
func (s *seenSet) put(k seenKey) bool {
	p, found := s.list.seek(k.packedKey, false)
	if found {
		s.list.at(p).at = k.at
	} else {
		s.list.insert(p, k)
	}
	return !found
}

func (s *seenSet) remove(k packedKey) {
	if p, found := s.list.seek(k, false); found {
		s.list.remove(p)
	}
}

// keyLog is keys in the order in which they were added. It is kept in pieces,
// so that none is copied for others to find room.
type keyLog struct {
	pieces [][]packedKey // full but for the last
	spare  []packedKey   // for the next; nil: none
}

// logPiece is how many keys a piece has.
const logPiece = 512

func (l *keyLog) len() int {
	n := len(l.pieces)
	if n == 0 {
		return 0
	}
	return (n-1)*logPiece + len(l.pieces[n-1])
}

func (l *keyLog) add(k packedKey) {
	n := len(l.pieces)
	if n > 0 && len(l.pieces[n-1]) < logPiece {
		l.pieces[n-1] = append(l.pieces[n-1], k)
		return
	}
	piece := l.spare
	if l.spare = nil; piece == nil {
		piece = make([]packedKey, 0, min(logPiece, 2<<(4*min(n, 2)))) // most logs are short
	}
	l.pieces = append(l.pieces, append(piece, k))
}

// filter lets go of the keys of which keep is false. It asks for each in order.
func (l *keyLog) filter(keep func(packedKey) bool) {
	kept := 0
	for _, piece := range l.pieces {
		for _, k := range piece {
			if keep(k) {
				l.pieces[kept/logPiece][kept%logPiece] = k
				kept++
			}
		}
	}
	l.shorten(kept)
}

// shorten lets go of all but the first keys.
func (l *keyLog) shorten(n int) {
	full := (n + logPiece - 1) / logPiece
	if full < len(l.pieces) {
		if last := l.pieces[full]; cap(last) >= logPiece {
			l.spare = last[:0]
		}
		clear(l.pieces[full:])
		l.pieces = l.pieces[:full]
	}
	if full > 0 {
		l.pieces[full-1] = l.pieces[full-1][:n-(full-1)*logPiece]
	}
}

// takeFirst takes out so many keys.
func (l *keyLog) takeFirst(n int) []packedKey {
	first := make([]packedKey, 0, n)
	l.filter(func(k packedKey) bool {
		if len(first) == n {
			return true
		}
		first = append(first, k)
		return false
	})
	return first
}
