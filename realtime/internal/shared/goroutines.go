package shared

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"sync"
)

// Goroutines are those that somebody waits for, so that they must not wait for
// him. The zero value has none.
type Goroutines struct {
	mu      sync.Mutex
	numbers []uint64
}

// Enter enters the goroutine that calls, until Leave is given the number that
// it returns.
func (g *Goroutines) Enter() uint64 {
	n := Goroutine()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.numbers = append(g.numbers, n)
	return n
}

// Leave takes back one Enter.
func (g *Goroutines) Leave(n uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.numbers, n); i >= 0 {
		g.numbers = slices.Delete(g.numbers, i, i+1)
	}
}

// Has reports whether a goroutine is one of them.
func (g *Goroutines) Has(n uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return n != 0 && slices.Contains(g.numbers, n)
}

// Goroutine is the number of the goroutine that calls, by which alone it can be
// told from others; 0 if it cannot be found out.
func Goroutine() uint64 {
	var head [40]byte // goroutine 123 [running]:
	text := head[:runtime.Stack(head[:], false)]
	number, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte("goroutine ")), []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return n
}
