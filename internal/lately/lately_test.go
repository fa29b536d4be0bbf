package lately

import (
	"fmt"
	"testing"
)

// TestMap: what was put lately is there, and never more than the most.
func TestMap(t *testing.T) {
	const most = 10
	var m Map[int]
	for n := range 1000 {
		m.Put(fmt.Sprint(n), n, most)
		for back := range min(n+1, most/2) {
			if v, ok := m.Get(fmt.Sprint(n - back)); !ok || v != n-back {
				t.Fatalf("%d of %d: got %d, %t", n-back, n, v, ok)
			}
		}
		if m.Len() > most {
			t.Fatalf("%d keys", m.Len())
		}
	}
	if _, ok := m.Get("0"); ok {
		t.Error("the first one is still there")
	}
}

// TestMap_Again: a key that is put again has the newer value, and stays.
func TestMap_Again(t *testing.T) {
	var m Map[string]
	m.Put("a", "old", 4)
	for _, key := range []string{"b", "c", "a", "d"} {
		m.Put(key, "new", 4)
		if v, ok := m.Get("a"); !ok || v == "old" && key == "a" {
			t.Fatalf("after %s: %q, %t", key, v, ok)
		}
	}
	m.Delete("a")
	if v, ok := m.Get("a"); ok {
		t.Errorf("got %q", v)
	}
}
