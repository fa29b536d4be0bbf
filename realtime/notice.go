package realtime

import (
	"log/slog"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
)

// noticeEvery is how often an event of a kind is told that a peer can cause in
// any number; what comes in between is summed up.
const noticeEvery = 10 * time.Second

// notices tell the observer and the log of events that a peer can cause in any
// number: the first of a kind at once, those that follow within noticeEvery
// together, as one event that says how many they are.
type notices struct {
	tell func(Event)
	kept map[noticeKind]*notice
}

// noticeKind is what events have to have in common to be summed up.
type noticeKind struct {
	kind    byte
	reason  uint8
	changed bool
	failed  bool
}

// notice is the sum of the events of a kind since the last was told.
type notice struct {
	sum Event     // the first of them, with their count; nil: there was none
	due time.Time // when a kind may be told of again
}

// add takes an event, and reports whether it was one to be summed up. Any other
// is not its affair.
func (n *notices) add(e Event, now time.Time) bool {
	kind, ok := kindOfNotice(e)
	if !ok {
		return false
	}
	kept := n.kept[kind]
	if kept == nil {
		if n.kept == nil {
			n.kept = make(map[noticeKind]*notice)
		}
		kept = new(notice)
		n.kept[kind] = kept
	}
	switch {
	case kept.sum != nil:
		kept.sum = summed(kept.sum, e)
	case now.Before(kept.due):
		kept.sum = e
	default:
		kept.due = now.Add(noticeEvery)
		n.tell(e)
	}
	return true
}

// next is when a sum is to be told; zero: there is none.
func (n *notices) next() (at time.Time) {
	for _, kept := range n.kept {
		if kept.sum != nil && (at.IsZero() || kept.due.Before(at)) {
			at = kept.due
		}
	}
	return at
}

// flush tells the sums that are due.
func (n *notices) flush(now time.Time) {
	for _, kept := range n.kept {
		if sum := kept.sum; sum != nil && !now.Before(kept.due) {
			kept.sum, kept.due = nil, now.Add(noticeEvery)
			n.tell(sum)
		}
	}
}

// flushAll tells what there is, at the end.
func (n *notices) flushAll() {
	for _, kept := range n.kept {
		if sum := kept.sum; sum != nil {
			kept.sum = nil
			n.tell(sum)
		}
	}
}

func kindOfNotice(e Event) (kind noticeKind, ok bool) {
	switch e := e.(type) {
	case Repeat:
		return noticeKind{kind: 'r'}, true
	case Undecodable:
		return noticeKind{kind: 'u'}, true
	case Forgotten:
		return noticeKind{kind: 'f'}, true
	case Gap:
		return noticeKind{kind: 'g', reason: uint8(e.Reason)}, true
	case Renewal:
		return noticeKind{kind: 'n', reason: uint8(e.Reason), changed: e.Changed, failed: e.Err != nil}, true
	}
	return noticeKind{}, false
}

// summed is an event that stands for another of its kind as well.
func summed(sum, e Event) Event {
	switch s := sum.(type) {
	case Repeat:
		s.Count += e.(Repeat).Count
		return s
	case Undecodable:
		s.Count += e.(Undecodable).Count
		return s
	case Forgotten:
		s.Messages += e.(Forgotten).Messages
		return s
	case Gap:
		s.Count += e.(Gap).Count
		return s
	case Renewal:
		s.Count += e.(Renewal).Count
		return s
	}
	return sum
}

// logEvent logs what is worth it; states and replays have lines of their own.
func logEvent(log *slog.Logger, e Event) {
	switch e := e.(type) {
	case Undecodable:
		log.Warn("undecodable", "count", e.Count, "err", e.Err)
	case Gap:
		log.Warn("gap", "reason", e.Reason.String(), "count", e.Count, "err", e.Err)
	case Forgotten:
		log.Warn("forgotten", "messages", e.Messages)
	case Renewal:
		if e.Err != nil {
			log.Warn("renewal", "reason", e.Reason.String(), "count", e.Count, "delay", e.Delay, "err", e.Err)
			return
		}
		log.Info("renewal", "reason", e.Reason.String(), "count", e.Count, "changed", e.Changed)
	}
}

// skips log of messages that were skipped because their handler fails: the
// first at once, those that follow within noticeEvery with the first after it,
// or at the end. Several handlers may fail at a time.
type skips struct {
	mu    sync.Mutex
	due   time.Time
	count int // not told of yet
}

func (k *skips) note(log *slog.Logger, m Message, attempt int) {
	if count := k.take(time.Now()); count > 0 {
		log.Warn("message skipped", "id", quote.Name(m.ID), "module", quote.Name(m.Module), "command", quote.Name(m.Command), "attempt", attempt, "count", count)
	}
}

// take returns how many are to be told of now; 0: nothing is.
func (k *skips) take(now time.Time) (count int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count++; now.Before(k.due) {
		return 0
	}
	count, k.count = k.count, 0
	k.due = now.Add(noticeEvery)
	return count
}

// flush tells of what is left.
func (k *skips) flush(log *slog.Logger) {
	k.mu.Lock()
	count := k.count
	k.count = 0
	k.mu.Unlock()
	if count > 0 {
		log.Warn("messages skipped", "count", count)
	}
}
