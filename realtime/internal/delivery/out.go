package delivery

// emit gives the user a message whose turn it is.
func (b *Dedup) emit(m Message) {
	if m.Key.Mid.Less(b.newest) {
		m.Late = true
	} else {
		b.newest = m.Key.Mid
	}
	m.Gap, b.gap = b.gap, nil
	b.out = append(b.out, m)
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
	if len(b.out) == 0 {
		return
	}
	if b.Meter != nil {
		b.Meter.Delivered(b.out...)
	}
	b.queue.push(b.out...)
	clear(b.out)
	if b.out = b.out[:0]; cap(b.out) > keptOut {
		b.out = nil
	}
}

// keptOut is for how many messages memory is kept.
const keptOut = 256
