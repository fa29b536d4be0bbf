package realtime

import (
	"github.com/b24pull/b24pull/realtime/internal/wire"
	"time"
)

const (
	// holdMax is how long a live message waits for a read, whether that answers
	// or not, and holdFirst the same for the first read of a subscription that
	// goes on from somewhere, which brings all that came meanwhile. What the
	// read brings later is late.
	holdMax   = 2 * time.Second
	holdFirst = 10 * time.Second
	// tailMax is how many messages only the read has may wait for live ones to
	// be merged with.
	tailMax = 1024
)

// orderer merges the live messages with those of a read. From a fresh
// connection or a ping on, until the read that follows is in, live messages
// wait: the read may bring older ones. This is for order only: nothing depends
// on it for being delivered.
type orderer struct {
	emit     func(Message)
	patience time.Duration // how long a message waits for a read

	holding   bool      // a read is owed that may bring older messages than the next live one
	answering bool      // a read is bringing its answer, in mid order
	unordered bool      // reads bring theirs channel by channel: it is whole only at its end
	sorted    bool      // what comes live comes by polls, which overtake each other
	partial   bool      // another stream is to be read as well: the answer is whole only with that one's
	replaced  bool      // the read is one of replaced channels: what it alone has may be about to come live over the new connection, among other messages
	lingers   bool      // the tail is of such a read
	frontier  wire.Mid  // the last message that read has shown, or the greatest
	waiting   parked    // live, in the order of arrival
	tail      parked    // brought by the read alone, in mid order
	tailUntil time.Time // how long it waits; zero: not known yet
}

// waiting is a message that waits, and since when.
type waiting struct {
	Message
	since time.Time
}

func (w *waiting) rank() packedKey { return pack(wire.Key{Mid: w.key.Mid}) }

// parked are messages that wait.
type parked = sortedList[waiting, *waiting]

// hold makes live messages wait from now on.
func (o *orderer) hold() { o.holding = true }

func (o *orderer) live(m Message, now time.Time) {
	if !o.holding && !o.answering && !o.lingers {
		o.emit(m)
		return
	}
	if w := (waiting{m, now}); o.sorted {
		at, _ := o.waiting.seek(w.rank(), true)
		if next := o.waiting.at(at); next != nil {
			w.since = next.since // which waits behind it, and no longer for that
		}
		o.waiting.add(w.rank(), w)
	} else {
		o.waiting.push(w)
	}
}

// begins tells that the read answers, which may be by a live message: then
// there is nothing yet to say of others.
func (o *orderer) begins() { o.answering = true }

// shown tells how far the read has come.
func (o *orderer) shown(pos wire.Mid) {
	o.begins()
	if !o.unordered && !o.partial {
		o.frontier = pos
		o.merge()
		return
	}
	if o.frontier.Less(pos) {
		o.frontier = pos
	}
	o.emitTail(func(*waiting) bool { return o.tail.len() > tailMax })
}

// found takes a message that only the read has; shown is to follow.
func (o *orderer) found(m Message) {
	w := waiting{Message: m}
	o.tail.add(w.rank(), w)
}

// merge emits what can no longer be overtaken: waiting messages up to the
// frontier, each behind what the read alone has before it. What only the read
// has above the greatest waiting one stays: the server may be about to send
// messages that belong before it.
func (o *orderer) merge() {
	for o.waiting.len() > 0 {
		first := o.waiting.first().key.Mid
		o.emitTail(func(w *waiting) bool { return w.key.Mid.Less(first) && !o.frontier.Less(w.key.Mid) })
		if o.frontier.Less(first) {
			break
		}
		o.emit(o.waiting.pop().Message)
	}
	o.emitTail(func(*waiting) bool { return o.tail.len() > tailMax })
}

func (o *orderer) emitTail(while func(*waiting) bool) {
	for o.tail.len() > 0 && while(o.tail.first()) {
		o.emit(o.tail.pop().Message)
	}
}

// end is called when a read is over. While another one is owed, live messages
// beyond this one's answer go on waiting.
func (o *orderer) end(owed bool) {
	if owed && (o.partial || o.frontier.IsZero()) {
		o.holding = o.holding || o.partial
		o.expectAnother()
		return
	}
	o.partial = false
	o.merge()
	o.lingers = o.replaced && o.tail.len() > 0
	if !o.lingers {
		o.emitTail(always)
	}
	o.expectAnother()
	if !owed {
		o.pass()
	}
}

// pass stops the waiting for a read, while the tail may linger.
func (o *orderer) pass() {
	if !o.lingers {
		o.release()
		return
	}
	o.holding, o.partial, o.patience = false, false, holdMax
}

// expectAnother is called when a read is over whose answer, a single message,
// may have overtaken others: it waits for the read that is begun next, and so
// does what comes live.
func (o *orderer) expectAnother() {
	o.answering = false
	o.frontier = wire.Mid{}
	o.holding = o.holding || o.tail.len()+o.waiting.len() > 0
}

// release stops the waiting.
func (o *orderer) release() {
	o.lingers, o.holding, o.partial, o.patience = false, false, false, holdMax
	if !o.answering {
		o.emitWaiting(always)
		o.emitTail(always)
	}
}

// expire emits what has waited long enough for a read, and returns when the
// next one will have; the zero time if none waits.
func (o *orderer) expire(now time.Time) (next time.Time) {
	o.emitWaiting(func(w *waiting) bool { return !now.Before(w.since.Add(o.patience)) })
	over := o.tail.len() > 0 && !o.tailUntil.IsZero() && !now.Before(o.tailUntil)
	switch {
	case o.lingers && !o.holding && (over || o.tail.len() == 0):
		o.release()
	case over:
		o.emitTail(always)
	}
	switch {
	case o.tail.len() == 0:
		o.tailUntil, o.lingers = time.Time{}, false
	case o.tailUntil.IsZero():
		o.tailUntil = now.Add(o.patience)
	}
	if o.waiting.len() > 0 {
		next = o.waiting.first().since.Add(o.patience)
	}
	if o.tail.len() > 0 && (next.IsZero() || o.tailUntil.Before(next)) {
		next = o.tailUntil
	}
	return next
}

func always(*waiting) bool { return true }

// emitWaiting emits what waits, each behind what a read has brought before it.
func (o *orderer) emitWaiting(while func(*waiting) bool) {
	for o.waiting.len() > 0 && while(o.waiting.first()) {
		first := o.waiting.first().key.Mid
		o.emitTail(func(w *waiting) bool { return w.key.Mid.Less(first) })
		o.emit(o.waiting.pop().Message)
	}
}

// takeWaiting removes what waits.
func (o *orderer) takeWaiting() parked {
	taken := o.waiting
	o.waiting = parked{}
	return taken
}
