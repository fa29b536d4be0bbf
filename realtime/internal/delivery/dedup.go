package delivery

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Dedup is what one subscription has seen, over all its connections: which
// messages, in which order they go to the user, and what is handled. Each
// connection of it, the channels in use and those they have replaced, has a
// history.
type Dedup struct {
	queue     *Queue
	acks      *Acks
	report    func(Event)
	Control   func(h *History, m Message) (ours, settled bool) // whether a message is no matter of the user, and settled; nil: none is
	Meter     Meter                                            // nil: nobody counts
	gap       *Gap                                             // to be told with the next message
	epochs    []uint64                                         // the sequences of mids that were seen last, the latest at the end
	Reorder   ReorderBuffer
	dating    dating
	newest    wire.Mid  // the greatest delivered
	deceived  time.Time // when something else than the server has answered last
	histories []*History
	out       *[]Message // to be given to the user; nil: nothing
	gathers   bool       // at once with others
	taken     []wire.Key // the same, not in the acks yet
	transient int        // how many that are not kept are not in the acks yet

	short   keySet    // of a cursor: keys with a part of their checksums, under which those messages are remembered
	begun   time.Time // what arrivals are counted from
	entered struct {  // what has been seen last, mostly with more
		at    time.Time
		since time.Duration // from begun on
	}
	seen   seenSet      // nanoseconds to when it first arrived; all from the low watermark on, and for a while what it passed
	above  keyLog       // seen and not below the low watermark, in the order of arrival
	passed []generation // seen, and no replay will bring them: below the low watermark, or never kept
}

const (
	// MaxRemembered bounds what is remembered: all of it takes some 20 MB. At
	// 800 messages a second those are the five minutes for which what the low
	// watermark has passed is remembered. The low watermark itself stands still
	// while replays fail.
	MaxRemembered = 1 << 18
	// forgetAtOnce is how much goes when that is exceeded, so that this is told
	// of now and then, not with each message.
	forgetAtOnce = MaxRemembered / 4
	// maxEpochs is how many sequences of mids are known of a server. One that
	// has been forgotten counts as another.
	maxEpochs = 16
	// generationTime and generationSize bound a generation.
	generationTime = time.Second
	generationSize = 4096
)

// generation is what the low watermark has passed at about the same time, or
// what came then and is not kept.
type generation struct {
	at   time.Time // of the first
	keys []packedKey
}

func NewDedup(from Position, l *Acks, q *Queue, now time.Time, report func(Event)) *Dedup {
	b := &Dedup{queue: q, acks: l, report: report, begun: now}
	b.Reorder.emit, b.Reorder.Patience = b.emit, HoldMax
	b.Reorder.most, b.Reorder.mostOf = min(maxReplayed, max(1, q.MaxMessages/3)), q.maxBytes/3
	for k := range from.Keys() {
		b.remember(k, false, now)
		if k.Short() {
			b.short.add(k)
		}
	}
	if !from.Tags && !from.IsZero() {
		b.epoch(from.Watermark)
		for k := range from.Keys() {
			b.epoch(k.Mid)
		}
	}
	return b
}

// AddHistory adds the history of a connection, known up to a position.
func (b *Dedup) AddHistory(to wire.Mid, anchored bool) *History {
	s := &History{Dedup: b, Settle: SettleTime, Progress: Progress{Watermark: to}, Highest: to, Anchored: anchored}
	b.histories = append(b.histories, s)
	b.recall(to)
	b.tellLowWatermark()
	return s
}

// First adds the history that a subscription begins with, from a position.
func (b *Dedup) First(from Position, anchored bool, now time.Time) *History {
	s := b.AddHistory(from.Watermark, anchored)
	s.placed = now
	return s
}

// Drop ends a history: no replay of it will come.
func (b *Dedup) Drop(s *History, now time.Time) {
	b.histories = slices.DeleteFunc(b.histories, func(other *History) bool { return other == s })
	if len(b.histories) > 0 {
		b.settleLowWatermark(now)
	}
	for e := range b.seen.list.from(slot{}) {
		e.at = stamp(time.Duration(e.arrived()), false) // its channels may have kept it, and no other
	}
}

// Remembered is how much is remembered, by kind.
type Remembered struct {
	Histories, Seen, Above, Passed, Generations, Moves, Pending, Acked int
}

// Remembers says how much is remembered, for tests.
func (b *Dedup) Remembers() Remembered {
	r := Remembered{Histories: len(b.histories), Seen: b.seen.len(), Above: b.above.len(), Generations: len(b.passed)}
	for _, g := range b.passed {
		r.Passed += len(g.keys)
	}
	for _, s := range b.histories {
		r.Moves += len(s.moves)
	}
	b.acks.mu.Lock()
	defer b.acks.mu.Unlock()
	r.Pending, r.Acked = b.acks.pending.len(), b.acks.acked.len()
	return r
}

// lowest is the history that is known up to the low watermark: every other is
// known so far, too.
func (b *Dedup) lowest() *History {
	lowest := b.histories[0]
	for _, s := range b.histories[1:] {
		if s.Watermark.Less(lowest.Watermark) {
			lowest = s
		}
	}
	return lowest
}

func (b *Dedup) lowWatermark() wire.Mid { return b.lowest().Watermark }

// tellLowWatermark enters in the acks how far the history is known.
func (b *Dedup) tellLowWatermark() {
	lowest := b.lowest()
	b.book().advance(lowest.Progress)
}

// remembered is the key under which a message is remembered: a cursor has
// brought some of them shortened.
func (b *Dedup) remembered(k wire.Key) wire.Key {
	if b.short.len() > 0 {
		if short := k.Shorten(); b.short.has(short) {
			return short
		}
	}
	return k
}

// arrival is when a message first arrived; seen is false for one that is not
// remembered.
func (b *Dedup) arrival(k wire.Key) (at time.Time, seen bool) {
	ns, seen := b.seen.get(pack(k))
	if !seen {
		return b.begun, false
	}
	return b.begun.Add(time.Duration(ns)), true
}

// enter notes when a message arrived, and reports whether it was not
// remembered; lasts: the watermark can stand on it.
func (b *Dedup) enter(k packedKey, lasts bool, now time.Time) bool {
	if now != b.entered.at {
		b.entered.at, b.entered.since = now, now.Sub(b.begun)
	}
	return b.seen.put(seenKey{k, stamp(b.entered.since, lasts)})
}

// recall takes back what the low watermark has passed and a connection that
// begins lower can bring again.
func (b *Dedup) recall(from wire.Mid) {
	for i := range b.passed {
		g := &b.passed[i]
		g.keys = slices.DeleteFunc(g.keys, func(k packedKey) bool {
			back := !k.mid().Less(from) && !k.mid().IsZero()
			if back {
				b.above.add(k)
				b.book().recall(k.key())
			}
			return back
		})
	}
}

// note remembers a message that has just been seen first. From here on no
// cursor passes it until it is handled; of those that are taken together, from
// before one of them is given to the user.
func (b *Dedup) note(m *Message, now time.Time) {
	if m.Transient {
		b.transient++
	} else {
		b.taken = append(b.taken, m.Key)
	}
	if !b.gathers {
		b.book()
	}
	if m.Transient {
		b.rememberTransient(m.Key, now)
		return
	}
	b.remember(m.Key, m.lasts, now)
}

// book is the acks, with all in them that has been noted.
func (b *Dedup) book() *Acks {
	if len(b.taken) > 0 || b.transient > 0 {
		b.acks.take(b.taken, b.transient)
		b.taken, b.transient = b.taken[:0], 0
	}
	return b.acks
}

func (b *Dedup) remember(k wire.Key, lasts bool, now time.Time) {
	if p := pack(k); b.enter(p, lasts, now) {
		b.above.add(p)
		b.bound()
	}
}

// rememberTransient remembers a message that no replay will bring, for as long
// as one that the low watermark has passed.
func (b *Dedup) rememberTransient(k wire.Key, now time.Time) {
	if p := pack(k); b.enter(p, false, now) {
		b.pass(p, now)
		b.bound()
	}
	b.forget(now)
}

// pass has a key grow old.
func (b *Dedup) pass(k packedKey, now time.Time) {
	last := len(b.passed) - 1
	if last < 0 || now.Sub(b.passed[last].at) >= generationTime || len(b.passed[last].keys) >= generationSize {
		b.passed = append(b.passed, generation{at: now})
		last++
	}
	b.passed[last].keys = append(b.passed[last].keys, k)
}

// bound lets go of the oldest, where too much is remembered: first of what no
// replay should bring, then of what came first. It may come again, and that is
// told.
func (b *Dedup) bound() {
	if b.seen.len() <= MaxRemembered {
		return
	}
	gone := 0
	for ; gone < forgetAtOnce && len(b.passed) > 0; b.passed = b.passed[1:] {
		gone += b.unsee(b.passed[0].keys)
		b.passed[0] = generation{}
	}
	if more := forgetAtOnce - gone; more > 0 {
		oldest := b.above.takeFirst(more)
		gone += b.unsee(oldest)
		b.book().forget(oldest)
	}
	b.report(Forgotten{Messages: gone})
}

func (b *Dedup) unsee(keys []packedKey) int {
	for _, k := range keys {
		b.seen.remove(k)
	}
	return len(keys)
}

// Lose reports that messages may have been lost, to the observer and with the
// next message.
func (b *Dedup) Lose(g Gap) {
	if b.gap == nil || g.Reason > b.gap.Reason {
		b.gap = &g
		b.book().lost(b.gap)
	}
	b.report(g)
}

// AnotherServer: positions begin anew, and are not to be compared with those
// before.
func (b *Dedup) AnotherServer() { b.newest, b.epochs = wire.Mid{}, nil }

// epoch notes the sequence that a mid belongs to, and reports whether it is
// another than those before.
func (b *Dedup) epoch(pos wire.Mid) (changed bool) {
	n := len(b.epochs)
	switch {
	case pos.IsZero(), n > 0 && b.epochs[n-1] == pos.Epoch:
		return false
	case n == 0:
		b.epochs = append(b.epochs, pos.Epoch)
		return false
	}
	i := slices.Index(b.epochs, pos.Epoch)
	if changed = i < 0; changed {
		i = 0 // the oldest gives way
	}
	if n >= maxEpochs || !changed {
		b.epochs = slices.Delete(b.epochs, i, i+1)
	}
	b.epochs = append(b.epochs, pos.Epoch)
	return changed
}

// isPassed reports whether a place is below the watermark of a connection:
// replays may not bring what stands there.
func (b *Dedup) isPassed(pos wire.Mid) bool {
	return slices.ContainsFunc(b.histories, func(s *History) bool { return pos.IsZero() || pos.Less(s.Watermark) })
}

// GiveBack lets go of the live messages that still wait. Those become unseen
// that a later replay brings; the others are delivered now, since they cannot
// come again.
func (b *Dedup) GiveBack() {
	back := make(map[packedKey]bool)
	taken := b.Reorder.takeParked()
	for w := range taken.from(slot{}) {
		if w.Transient || b.isPassed(w.Key.Mid) {
			b.emit(&w.Message)
			continue
		}
		k := pack(w.Key)
		back[k] = true
		b.seen.remove(k)
		b.book().giveBack(w.Message)
		b.queue.drop(w.Size)
		for _, s := range b.histories {
			if c := s.Replay; c != nil && (!c.last.Less(w.Key.Mid) || w.Key.Mid.Less(c.above)) {
				s.Replay = nil // it has shown this one, or begins above it, and would not show it again
			}
		}
	}
	b.above.filter(func(k packedKey) bool { return !back[k] })
}

// settleLowWatermark lets what is now below the low watermark grow old.
func (b *Dedup) settleLowWatermark(now time.Time) {
	low := b.lowWatermark()
	b.above.filter(func(k packedKey) bool {
		below := k.mid().Less(low)
		if below {
			b.pass(k, now)
		}
		return !below
	})
	b.tellLowWatermark()
}

// forgetUnkept lets go of what a replay that began at start would have moved
// the cursor to, or shown at all, if the server still kept it, as it may keep
// one: no later replay can bring it. Cursors do without it at once, and after
// some minutes it is not remembered either. Beside another connection nothing
// is let go of: it may bring it.
func (b *Dedup) forgetUnkept(start time.Time, settle time.Duration, but wire.Mid) {
	if len(b.histories) > 1 {
		return
	}
	var gone []packedKey
	before := func(d time.Duration) int64 { return int64(start.Add(-d).Sub(b.begun)) }
	unkeptBefore, forgottenBefore := before(settle), before(rememberPassed)
	b.above.filter(func(k packedKey) bool {
		at, _ := b.seen.get(k)
		if at >= unkeptBefore || k.mid() == b.histories[0].Watermark || k.mid() == but {
			return true
		}
		gone = append(gone, k)
		old := at < forgottenBefore
		if old {
			b.seen.remove(k)
		}
		return !old
	})
	b.book().forget(gone)
}

// forget lets go of what the low watermark has passed long ago.
func (b *Dedup) forget(now time.Time) {
	for len(b.passed) > 0 && now.Sub(b.passed[0].at) >= rememberPassed {
		b.unsee(b.passed[0].keys)
		b.passed[0] = generation{}
		b.passed = b.passed[1:]
	}
	if n := b.acks.takeDropped(); n > 0 {
		b.report(Forgotten{Messages: n})
	}
}
