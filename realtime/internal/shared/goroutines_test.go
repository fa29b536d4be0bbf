package shared

import "testing"

// TestGoroutine: each goroutine has a number of its own, and keeps it.
func TestGoroutine(t *testing.T) {
	own, other := Goroutine(), make(chan uint64)
	go func() { other <- Goroutine() }()
	if o := <-other; own == 0 || o == 0 || o == own || own != Goroutine() {
		t.Errorf("%d and %d", own, o)
	}
}

// TestGoroutines: one is among them until it has left as often as it entered.
func TestGoroutines(t *testing.T) {
	var g Goroutines
	n := g.Enter()
	if g.Enter() != n {
		t.Fatal("another number")
	}
	other := make(chan bool)
	go func() { other <- g.Has(Goroutine()) }()
	if !g.Has(n) || <-other || g.Has(0) {
		t.Error("who is among them, and who is not")
	}
	g.Leave(n)
	if !g.Has(n) {
		t.Error("it has left once, and had entered twice")
	}
	g.Leave(n)
	g.Leave(n)
	if g.Has(n) {
		t.Error("it has left")
	}
}
