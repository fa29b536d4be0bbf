package delivery

import (
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// HoldMax is how long a live message waits for a replay, whether that
	// answers or not, and holdFirst the same for the first replay of a
	// subscription that goes on from somewhere, which brings all that came
	// meanwhile. What the replay brings later is late.
	HoldMax   = 2 * time.Second
	HoldFirst = 10 * time.Second
	// maxReplayed is how many messages only the replay has may wait for live
	// ones to be merged with. They take a third of the queue at the most.
	maxReplayed = 1024
)

// ReorderBuffer merges the live messages with those of a replay. From a fresh
// connection or a ping on, until the replay that follows is in, live messages
// wait: the replay may bring older ones. This is for order only: nothing
// depends on it for being delivered.
type ReorderBuffer struct {
	emit     func(*Message)
	Patience time.Duration // how long a message waits for a replay

	holding       bool           // a replay is pending that may bring older messages than the next live one
	answering     bool           // a replay is bringing its answer, in mid order
	unordered     bool           // replays bring theirs channel by channel: it is whole only at its end
	Sorted        bool           // what comes live comes by polls, which overtake each other
	Partial       bool           // another connection is to be replayed as well: the answer is whole only with that one's
	Replaced      bool           // the replay is one of replaced channels: what it alone has may be about to come live over the new connection, among other messages
	lingers       bool           // what is replayed is of such a replay
	frontier      wire.Mid       // the last message that the replay has shown, or the greatest
	parked        parkedMessages // live, in the order of arrival
	replayed      parkedMessages // brought by the replay alone, in mid order
	replayedSize  int
	most, mostOf  int       // how many of them may wait, and how many bytes
	replayedUntil time.Time // how long it waits; zero: not known yet
}

// parkedMessage is a message that waits, and since when.
type parkedMessage struct {
	Message
	since time.Time
}

func (w *parkedMessage) rank() packedKey { return pack(wire.Key{Mid: w.Key.Mid}) }

// parkedMessages are messages that wait.
type parkedMessages = sortedList[parkedMessage, *parkedMessage]

// Hold makes live messages wait from now on.
func (o *ReorderBuffer) Hold() { o.holding = true }

// waits reports whether a live message has to.
func (o *ReorderBuffer) waits() bool { return o.holding || o.answering || o.lingers }

// park has a live message wait.
func (o *ReorderBuffer) park(m *Message, now time.Time) {
	if w := (parkedMessage{*m, now}); o.Sorted {
		at, _ := o.parked.seek(w.rank(), true)
		if next := o.parked.at(at); next != nil {
			w.since = next.since // which waits behind it, and no longer for that
		}
		o.parked.add(w.rank(), w)
	} else {
		o.parked.push(w)
	}
}

// begins tells that the replay answers, which may be by a live message: then
// there is nothing yet to say of others.
func (o *ReorderBuffer) begins() { o.answering = true }

// shown tells how far the replay has come.
func (o *ReorderBuffer) shown(pos wire.Mid) {
	o.begins()
	if !o.unordered && !o.Partial {
		o.frontier = pos
		o.merge()
		return
	}
	if o.frontier.Less(pos) {
		o.frontier = pos
	}
	o.emitReplayed(o.abounds)
}

// found takes a message that only the replay has; shown is to follow.
func (o *ReorderBuffer) found(m Message) {
	w := parkedMessage{Message: m}
	o.replayed.add(w.rank(), w)
	o.replayedSize += m.Size
}

// merge emits what can no longer be overtaken: waiting messages up to the
// frontier, each behind what the replay alone has before it. What only the
// replay has above the greatest waiting one stays: the server may be about to
// send messages that belong before it.
func (o *ReorderBuffer) merge() {
	for o.parked.len() > 0 {
		first := o.parked.first().Key.Mid
		o.emitReplayed(func(w *parkedMessage) bool { return w.Key.Mid.Less(first) && !o.frontier.Less(w.Key.Mid) })
		if o.frontier.Less(first) {
			break
		}
		o.emitFirst(&o.parked)
	}
	o.emitReplayed(o.abounds)
}

func (o *ReorderBuffer) emitReplayed(while func(*parkedMessage) bool) {
	for o.replayed.len() > 0 && while(o.replayed.first()) {
		o.replayedSize -= o.replayed.first().Size
		o.emitFirst(&o.replayed)
	}
}

// abounds reports whether more waits of what only the replay has than may.
func (o *ReorderBuffer) abounds(*parkedMessage) bool {
	return o.replayed.len() > o.most || o.replayedSize > o.mostOf
}

// end is called when a replay is over. While another one is pending, live
// messages beyond this one's answer go on waiting.
func (o *ReorderBuffer) end(pending bool) {
	if pending && (o.Partial || o.frontier.IsZero()) {
		o.holding = o.holding || o.Partial
		o.expectAnother()
		return
	}
	o.Partial = false
	o.merge()
	o.lingers = o.Replaced && o.replayed.len() > 0
	if !o.lingers {
		o.emitReplayed(always)
	}
	o.expectAnother()
	if !pending {
		o.Pass()
	}
}

// Pass stops the waiting for a replay, while what is replayed may linger.
func (o *ReorderBuffer) Pass() {
	if !o.lingers {
		o.Release()
		return
	}
	o.holding, o.Partial, o.Patience = false, false, HoldMax
}

// expectAnother is called when a replay is over whose answer, a single message,
// may have overtaken others: it waits for the replay that is begun next, and so
// does what comes live.
func (o *ReorderBuffer) expectAnother() {
	o.answering = false
	o.frontier = wire.Mid{}
	o.holding = o.holding || o.replayed.len()+o.parked.len() > 0
}

// Release stops the waiting.
func (o *ReorderBuffer) Release() {
	o.lingers, o.holding, o.Partial, o.Patience = false, false, false, HoldMax
	if !o.answering {
		o.emitParked(always)
		o.emitReplayed(always)
	}
}

// Flush emits all that waits, at the end.
func (o *ReorderBuffer) Flush() {
	o.answering = false
	o.Release()
}

// Expire emits what has waited long enough for a replay, and returns when the
// next one will have; the zero time if none waits.
func (o *ReorderBuffer) Expire(now time.Time) (next time.Time) {
	o.emitParked(func(w *parkedMessage) bool { return !now.Before(w.since.Add(o.Patience)) })
	over := o.replayed.len() > 0 && !o.replayedUntil.IsZero() && !now.Before(o.replayedUntil)
	switch {
	case o.lingers && !o.holding && (over || o.replayed.len() == 0):
		o.Release()
	case over:
		o.emitReplayed(always)
	}
	switch {
	case o.replayed.len() == 0:
		o.replayedUntil, o.lingers = time.Time{}, false
	case o.replayedUntil.IsZero():
		o.replayedUntil = now.Add(o.Patience)
	}
	if o.parked.len() > 0 {
		next = o.parked.first().since.Add(o.Patience)
	}
	if o.replayed.len() > 0 && (next.IsZero() || o.replayedUntil.Before(next)) {
		next = o.replayedUntil
	}
	return next
}

// emitFirst emits the first of what waits.
func (o *ReorderBuffer) emitFirst(of *parkedMessages) {
	o.emit(&of.first().Message)
	of.pop()
}

func always(*parkedMessage) bool { return true }

// emitParked emits what waits, each behind what a replay has brought before it.
func (o *ReorderBuffer) emitParked(while func(*parkedMessage) bool) {
	for o.parked.len() > 0 && while(o.parked.first()) {
		first := o.parked.first().Key.Mid
		o.emitReplayed(func(w *parkedMessage) bool { return w.Key.Mid.Less(first) })
		o.emitFirst(&o.parked)
	}
}

// takeParked removes what waits.
func (o *ReorderBuffer) takeParked() parkedMessages {
	taken := o.parked
	o.parked = parkedMessages{}
	return taken
}
