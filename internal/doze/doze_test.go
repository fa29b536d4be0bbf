package doze

import (
	"sync"
	"testing"
)

func TestBed(t *testing.T) {
	risen := 0
	b := Bed{Rise: func() { risen++ }}
	nothing := func() bool { return true }

	b.Wake()
	if risen != 0 {
		t.Error("it is had run while it runs")
	}
	if !b.Sleep(nothing) {
		t.Error("it does not sleep")
	}
	b.Wake()
	b.Wake()
	if risen != 1 {
		t.Errorf("woken %d times, want once", risen)
	}
	if b.Sleep(func() bool { return false }) {
		t.Error("it sleeps although there is something to do")
	}
	b.Visit()
	if b.Sleep(nothing) {
		t.Error("it sleeps while somebody waits for it")
	}
	b.Leave()
	if !b.Sleep(nothing) {
		t.Error("it does not sleep when he has left")
	}
	b.Visit()
	if risen != 2 {
		t.Error("a visit does not wake it")
	}
	b.Leave()
	if b.Close(); !b.Sleep(nothing) {
		t.Error("it does not sleep when it is closed")
	}
	if b.Wake(); risen != 2 {
		t.Error("it is woken after it was closed")
	}
}

// TestBed_nothingMissed: whoever brings something to one that sleeps whenever it
// can gets rid of it.
func TestBed_nothingMissed(t *testing.T) {
	const visitors, visits = 4, 5000
	var b Bed
	door, got, done := make(chan int), 0, make(chan int)
	b.Rise = func() {
		go func() {
			for got < visitors*visits {
				select {
				case n := <-door:
					got += n
				default:
					if b.Sleep(func() bool { return true }) {
						return
					}
				}
			}
			done <- got
		}()
	}
	b.Rise()
	var all sync.WaitGroup
	for range visitors {
		all.Go(func() {
			for range visits {
				b.Visit()
				door <- 1
				b.Leave()
			}
		})
	}
	<-done // or else it is asleep, and the test does not end
	all.Wait()
}
