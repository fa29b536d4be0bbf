package realtime

import "cmp"

// packedKey is a key in 16 bytes, in the order of keys: a mid's epoch has 34
// bits and its counter 54.
type packedKey struct{ high, low uint64 }

func (k key) pack() packedKey {
	return packedKey{k.mid.epoch<<30 | k.mid.counter>>24, k.mid.counter&(1<<24-1)<<32 | uint64(k.sum)}
}

func (p packedKey) key() key {
	return key{p.mid(), uint32(p.low)}
}

func (p packedKey) mid() mid {
	return mid{p.high >> 30, p.high&(1<<30-1)<<24 | p.low>>32}
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

func (s *keySet) find(k key) (place, bool) {
	return s.list.seek(k.pack(), false)
}

func (s *keySet) has(k key) bool {
	_, found := s.find(k)
	return found
}

func (s *keySet) add(k key) {
	if p, found := s.find(k); !found {
		s.list.insert(p, k.pack())
	}
}

func (s *keySet) remove(k key) {
	if p, found := s.find(k); found {
		s.list.remove(p)
	}
}

// cut removes what is below pos.
func (s *keySet) cut(pos mid) {
	p, _ := s.find(key{mid: pos})
	s.list.cut(p)
}

// drop removes the first n.
func (s *keySet) drop(n int) {
	for range n {
		s.list.pop()
	}
}

// from returns the keys from pos on.
func (s *keySet) from(pos mid) []key {
	p, _ := s.find(key{mid: pos})
	if s.list.at(p) == nil {
		return nil
	}
	keys := make([]key, 0, s.len()+1) // what is below has mostly been cut, and one may be added
	for k := range s.list.from(p) {
		keys = append(keys, k.key())
	}
	return keys
}

// next returns the first key with a mid but one; ok is false if there is none.
func (s *keySet) next(but key) (k key, ok bool) {
	p, _ := s.find(key{mid: mid{0, 1}})
	for at := range s.list.from(p) {
		if k = at.key(); k != but {
			return k, true
		}
	}
	return key{}, false
}

// clone returns a copy of the set.
func (s *keySet) clone() (c keySet) {
	for k := range s.list.from(place{}) {
		c.list.push(*k)
	}
	return c
}

// keySetOf is a set of keys.
func keySetOf(keys []key) (s keySet) {
	for _, k := range keys {
		s.add(k)
	}
	return s
}
