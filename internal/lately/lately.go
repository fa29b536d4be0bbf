// Package lately has a map that forgets what it was told of the longest ago.
package lately

// A Map keeps values by key, up to a number, and forgets the older half of them
// where there would be more. The zero value is empty. It is not for several
// goroutines.
type Map[V any] struct{ newer, older map[string]V }

// Get returns the value of a key, and reports whether there is one.
func (m *Map[V]) Get(key string) (V, bool) {
	if v, ok := m.newer[key]; ok {
		return v, true
	}
	v, ok := m.older[key]
	return v, ok
}

// Put sets the value of a key, which is the newest then. At most so many are
// kept, two or more.
func (m *Map[V]) Put(key string, v V, most int) {
	if _, known := m.newer[key]; !known && len(m.newer) >= most/2 {
		m.older, m.newer = m.newer, nil
	}
	if m.newer == nil {
		m.newer = make(map[string]V)
	}
	m.newer[key] = v
}

// Delete forgets a key.
func (m *Map[V]) Delete(key string) {
	delete(m.newer, key)
	delete(m.older, key)
}

// Len is how many keys are kept, those counted twice that were put again.
func (m *Map[V]) Len() int { return len(m.newer) + len(m.older) }
