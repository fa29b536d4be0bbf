package delivery

import "sync"

// emit gives the user a message whose turn it is.
func (b *Dedup) emit(m *Message) {
	if b.out == nil {
		b.out = outs.Get().(*[]Message)
	}
	n := len(*b.out)
	*b.out = append(*b.out, *m)
	out := &(*b.out)[n]
	if m.Key.Mid.Less(b.newest) {
		out.Late = true
	} else {
		b.newest = m.Key.Mid
	}
	out.Gap, b.gap = b.gap, nil
	if !b.gathers {
		b.handOver()
	}
}

// Together runs f, which takes messages: what of them goes to the user does so
// at once, at its end.
func (b *Dedup) Together(f func()) {
	b.gathers = true
	defer func() {
		b.gathers = false
		b.handOver()
	}()
	f()
}

// handOver gives the user what is to go to him.
func (b *Dedup) handOver() {
	b.book()
	if b.out == nil {
		return
	}
	out := *b.out
	if b.Meter != nil {
		b.Meter.Delivered(out...)
	}
	b.queue.push(out...)
	clear(out)
	if *b.out = out[:0]; cap(out) <= keptOut {
		outs.Put(b.out)
	}
	b.out = nil
}

// outs are for what is to go to users.
var outs = sync.Pool{New: func() any { return new([]Message) }}

// keptOut is for how many messages memory is kept.
const keptOut = 1024
