package realtime

import (
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// dedup is what one subscription has seen, over all its connections: which
// messages, in which order they go to the user, and what is handled. Each
// connection of it, the channels in use and those they have replaced, has a
// history.
type dedup struct {
	queue         *queue
	acks          *acks
	report        func(Event)
	handleControl func(*history, Message) bool // takes a control command, or leaves it to other channels; nil: it is delivered
	stats         *counters                    // nil: nobody counts
	gap           *Gap                         // to be told with the next message
	epochs        []uint64                     // the sequences of mids that were seen last, the latest at the end
	reorder       reorderBuffer
	dating        dating
	newest        wire.Mid  // the greatest delivered
	deceived      time.Time // when something else than the server has answered last
	histories     []*history

	short  keySet              // of a cursor: keys with a part of their checksums, under which those messages are remembered
	begun  time.Time           // what arrivals are counted from
	seen   map[packedKey]int64 // nanoseconds to when it first arrived; all from the low watermark on, and for a while what it passed
	above  []packedKey         // seen and not below the low watermark, in the order of arrival
	passed []generation        // seen, and no replay will bring them: below the low watermark, or never kept
}

const (
	// maxRemembered bounds what is remembered: all of it takes some 20 MB. At
	// 800 messages a second those are the five minutes for which what the low
	// watermark has passed is remembered. The low watermark itself stands still
	// while replays fail.
	maxRemembered = 1 << 18
	// forgetAtOnce is how much goes when that is exceeded, so that this is told
	// of now and then, not with each message.
	forgetAtOnce = maxRemembered / 4
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

func newDedup(from Cursor, l *acks, q *queue, now time.Time, report func(Event)) *dedup {
	b := &dedup{queue: q, acks: l, report: report, begun: now, seen: make(map[packedKey]int64)}
	b.reorder.emit, b.reorder.patience = b.emit, holdMax
	for _, k := range from.acked {
		b.remember(k, now)
		if k.Short() {
			b.short.add(k)
		}
	}
	if !from.tags && !from.IsZero() {
		b.epoch(from.pos)
		for _, k := range from.acked {
			b.epoch(k.Mid)
		}
	}
	return b
}

// history adds the history of a connection, known up to a position.
func (b *dedup) history(known wire.Mid, anchored bool) *history {
	s := &history{dedup: b, settle: settleTime, watermark: known, highest: known, anchored: anchored}
	b.histories = append(b.histories, s)
	b.recall(known)
	b.tellLowWatermark()
	return s
}

// drop ends a history: no replay of it will come.
func (b *dedup) drop(s *history, now time.Time) {
	b.histories = slices.DeleteFunc(b.histories, func(other *history) bool { return other == s })
	if len(b.histories) > 0 {
		b.settleLowWatermark(now)
	}
}

// lowest is the history that is known up to the low watermark: every other is
// known so far, too.
func (b *dedup) lowest() *history {
	lowest := b.histories[0]
	for _, s := range b.histories[1:] {
		if s.watermark.Less(lowest.watermark) {
			lowest = s
		}
	}
	return lowest
}

func (b *dedup) lowWatermark() wire.Mid { return b.lowest().watermark }

// tellLowWatermark enters in the acks how far the history is known.
func (b *dedup) tellLowWatermark() {
	lowest := b.lowest()
	b.acks.advance(lowest.watermark, lowest.retentionProbe, lowest.replayedAt)
}

// remembered is the key under which a message is remembered: a cursor has
// brought some of them shortened.
func (b *dedup) remembered(k wire.Key) wire.Key {
	if b.short.len() > 0 {
		if short := k.Shorten(); b.short.has(short) {
			return short
		}
	}
	return k
}

// arrival is when a message first arrived; seen is false for one that is not
// remembered.
func (b *dedup) arrival(k wire.Key) (at time.Time, seen bool) {
	ns, seen := b.seen[pack(k)]
	return b.begun.Add(time.Duration(ns)), seen
}

// enter notes when a message arrived, and reports whether it was not
// remembered.
func (b *dedup) enter(k packedKey, now time.Time) bool {
	n := len(b.seen)
	b.seen[k] = int64(now.Sub(b.begun))
	return len(b.seen) > n
}

// recall takes back what the low watermark has passed and a connection that
// begins lower can bring again.
func (b *dedup) recall(from wire.Mid) {
	for i := range b.passed {
		g := &b.passed[i]
		g.keys = slices.DeleteFunc(g.keys, func(k packedKey) bool {
			back := !k.mid().Less(from) && !k.mid().IsZero()
			if back {
				b.above = append(b.above, k)
				b.acks.recall(k.key())
			}
			return back
		})
	}
}

// note remembers a message that has just been seen first. From here on no
// cursor passes it until it is handled.
func (b *dedup) note(m Message, now time.Time) {
	b.acks.take(m)
	if m.transient {
		b.rememberTransient(m.key, now)
		return
	}
	b.remember(m.key, now)
}

func (b *dedup) remember(k wire.Key, now time.Time) {
	if p := pack(k); b.enter(p, now) {
		b.above = append(b.above, p)
		b.bound()
	}
}

// rememberTransient remembers a message that no replay will bring, for as long
// as one that the low watermark has passed.
func (b *dedup) rememberTransient(k wire.Key, now time.Time) {
	if p := pack(k); b.enter(p, now) {
		b.pass(p, now)
		b.bound()
	}
	b.forget(now)
}

// pass has a key grow old.
func (b *dedup) pass(k packedKey, now time.Time) {
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
func (b *dedup) bound() {
	if len(b.seen) <= maxRemembered {
		return
	}
	gone := 0
	for ; gone < forgetAtOnce && len(b.passed) > 0; b.passed = b.passed[1:] {
		gone += b.unsee(b.passed[0].keys)
		b.passed[0] = generation{}
	}
	if more := forgetAtOnce - gone; more > 0 {
		oldest := b.above[:more]
		gone += b.unsee(oldest)
		b.acks.forget(oldest)
		b.above = slices.Delete(b.above, 0, more)
	}
	b.report(Forgotten{Messages: gone})
}

func (b *dedup) unsee(keys []packedKey) int {
	for _, k := range keys {
		delete(b.seen, k)
	}
	return len(keys)
}

// lose reports that messages may have been lost, to the observer and with the
// next message.
func (b *dedup) lose(g Gap) {
	g.Count = 1
	if b.gap == nil || g.Reason > b.gap.Reason {
		b.gap = &g
		b.acks.lost(b.gap)
	}
	b.report(g)
}

// anotherServer: positions begin anew, and are not to be compared with those
// before.
func (b *dedup) anotherServer() { b.newest, b.epochs = wire.Mid{}, nil }

// epoch notes the sequence that a mid belongs to, and reports whether it is
// another than those before.
func (b *dedup) epoch(pos wire.Mid) (changed bool) {
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

func (b *dedup) emit(m Message) {
	if m.key.Mid.Less(b.newest) {
		m.Late = true
	} else {
		b.newest = m.key.Mid
	}
	m.acks = b.acks
	m.Gap, b.gap = b.gap, nil
	if b.stats != nil {
		b.stats.delivered(m)
	}
	b.queue.push(m)
}

// isPassed reports whether a place is below the watermark of a connection:
// replays may not bring what stands there.
func (b *dedup) isPassed(pos wire.Mid) bool {
	return slices.ContainsFunc(b.histories, func(s *history) bool { return pos.IsZero() || pos.Less(s.watermark) })
}

// giveBack lets go of the live messages that still wait. Those become unseen
// that a later replay brings; the others are delivered now, since they cannot
// come again.
func (b *dedup) giveBack() {
	back := make(map[packedKey]bool)
	taken := b.reorder.takeParked()
	for w := range taken.from(slot{}) {
		if w.transient || b.isPassed(w.key.Mid) {
			b.emit(w.Message)
			continue
		}
		k := pack(w.key)
		back[k] = true
		delete(b.seen, k)
		b.acks.giveBack(w.Message)
		b.queue.drop(w.size)
		for _, s := range b.histories {
			if s.replay != nil && !s.replay.last.Less(w.key.Mid) {
				s.replay = nil // it has shown this one, and would not show it again
			}
		}
	}
	b.above = slices.DeleteFunc(b.above, func(k packedKey) bool { return back[k] })
}

// settleLowWatermark lets what is now below the low watermark grow old.
func (b *dedup) settleLowWatermark(now time.Time) {
	low := b.lowWatermark()
	b.above = slices.DeleteFunc(b.above, func(k packedKey) bool {
		below := k.mid().Less(low)
		if below {
			b.pass(k, now)
		}
		return below
	})
	b.tellLowWatermark()
}

// forgetUnkept lets go of what a replay that began at start would have moved
// the cursor to, or shown at all, if the server still kept it, as it may keep
// one: no later replay can bring it. Cursors do without it at once, and after
// some minutes it is not remembered either. Beside another connection nothing
// is let go of: it may bring it.
func (b *dedup) forgetUnkept(start time.Time, settle time.Duration, but wire.Mid) {
	if len(b.histories) > 1 {
		return
	}
	var gone []packedKey
	before := func(d time.Duration) int64 { return int64(start.Add(-d).Sub(b.begun)) }
	unkeptBefore, forgottenBefore := before(settle), before(rememberPassed)
	b.above = slices.DeleteFunc(b.above, func(k packedKey) bool {
		at := b.seen[k]
		if at >= unkeptBefore || k.mid() == b.histories[0].watermark || k.mid() == but {
			return false
		}
		gone = append(gone, k)
		old := at < forgottenBefore
		if old {
			delete(b.seen, k)
		}
		return old
	})
	b.acks.forget(gone)
}

// forget lets go of what the low watermark has passed long ago.
func (b *dedup) forget(now time.Time) {
	for len(b.passed) > 0 && now.Sub(b.passed[0].at) >= rememberPassed {
		b.unsee(b.passed[0].keys)
		b.passed[0] = generation{}
		b.passed = b.passed[1:]
	}
	if n := b.acks.takeDropped(); n > 0 {
		b.report(Forgotten{Messages: n})
	}
}
