package delivery

import (
	"slices"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// ackedView is a set of keys as a slice in order, of which cursors hold parts:
// what has been handed out is not written to any more. So a cursor costs no
// copy as long as keys come in order, which they mostly do.
type ackedView struct {
	keys  []wire.Key
	valid bool // keys are those of the set
	lent  bool // the place behind them has been handed out, too, with the key that is to come
}

// fill makes the view one of a set.
func (v *ackedView) fill(of *keySet) {
	if !v.valid {
		*v = ackedView{keys: of.from(wire.Mid{}), valid: true}
	}
}

// add takes a key that is new to the set.
func (v *ackedView) add(k wire.Key) {
	n := len(v.keys)
	switch {
	case !v.valid:
	case n > 0 && k.Compare(v.keys[n-1]) < 0:
		*v = ackedView{}
	case v.lent && v.keys[:n+1][n] == k:
		v.keys, v.lent = v.keys[:n+1], false
	case v.lent:
		v.keys, v.lent = append(slices.Clip(v.keys), k), false
	default:
		v.keys = append(v.keys, k)
	}
}

// spoil says that the set has lost a key.
func (v *ackedView) spoil() { *v = ackedView{} }

// shorten says that the set has lost all but its last keys.
func (v *ackedView) shorten(n int) {
	if gone := len(v.keys) - n; v.valid && gone > 0 {
		v.keys = v.keys[gone:]
	}
}

// from returns the keys from a position on.
func (v *ackedView) from(pos wire.Mid) []wire.Key {
	keys := v.keys[v.index(wire.Key{Mid: pos}):]
	return keys[:len(keys):len(keys)]
}

// with is from with one key more, which the set does not have and may be about
// to get.
func (v *ackedView) with(k wire.Key, pos wire.Mid) []wire.Key {
	n := len(v.keys)
	if n > 0 && k.Compare(v.keys[n-1]) < 0 {
		keys := v.from(pos)
		i, _ := slices.BinarySearchFunc(keys, k, wire.Key.Compare)
		return slices.Insert(keys, i, k) // a copy: there is no room in it
	}
	if !v.lent || v.keys[:n+1][n] != k {
		keys := v.keys
		if v.lent {
			keys = slices.Clip(keys)
		}
		v.keys, v.lent = append(keys, k)[:n], true
	}
	keys := v.keys[:n+1]
	keys = keys[v.index(wire.Key{Mid: pos}):]
	return keys[:len(keys):len(keys)]
}

// index is where keys stand that are not less.
func (v *ackedView) index(k wire.Key) int {
	if len(v.keys) > 0 && k.Compare(v.keys[0]) <= 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(v.keys, k, wire.Key.Compare)
	return i
}
