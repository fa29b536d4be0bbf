// Package doze has what waits for long do so without a goroutine, whose stack
// has grown with what it did before.
package doze

import "sync"

// A Bed is where something lies that runs in one goroutine at a time, or in
// none while it is asleep.
type Bed struct {
	// Rise is called to have it run, in a goroutine, when it is woken. It must
	// not wait.
	Rise func()

	mu     sync.Mutex
	asleep bool
	closed bool
	guests int
}

// Wake has it run if it is asleep. What it is to find is to be there before.
func (b *Bed) Wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake()
}

func (b *Bed) wake() {
	if b.asleep && !b.closed {
		b.asleep = false
		b.Rise()
	}
}

// Visit is Wake, and keeps it from falling asleep until Leave.
func (b *Bed) Visit() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guests++
	b.wake()
}

// Leave ends a visit.
func (b *Bed) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guests--
}

// Sleep puts it to sleep, if nobody visits it and there is nothing that it was
// to be woken for. Whose goroutine calls it ends if it reports true, and touches
// nothing any more: another one may run already.
func (b *Bed) Sleep(nothing func() bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = b.guests == 0 && nothing()
	return b.asleep
}

// Close has it not run any more, once it is asleep.
func (b *Bed) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
