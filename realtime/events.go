package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// An Event is something that happened inside a subscription. It is one of
// [StateChange], [ReplayEnded], [Repeat], [Undecodable], [Renewal], [Gap] and
// [Forgotten]. Later releases add kinds: a switch over them needs a default.
//
// Of the latter five, which a server can cause in any number, the first of a
// kind is told at once. Those of the kind that follow within ten seconds are
// told together then, or at the end of the run: as the first of them, with
// their Count. A kind of Gap and Renewal are those of one Reason, with an Err
// or without. [Stats] counts each one when it happens.
type Event interface{ event() }

// StateChange tells that the subscription has entered another state, or that
// another transport has taken over while it was live.
type StateChange struct {
	From, To  State         // the same, StateLive or StateDegraded, only where the transport is another
	Attempt   int           // failed attempts since a connection last proved itself by lasting
	Delay     time.Duration // StateWaiting: how long until the next attempt
	Transport Transport     // of the connection, or of the next attempt; TransportAuto before the first config
	Cause     error         // what ended the state before, nil if nothing went wrong; holds no secret
}

// ReplayEnded tells that a replay of the server's history is over. Replays find
// what live delivery has missed.
type ReplayEnded struct {
	Complete bool  // false: broken off, or there was nothing to read
	Messages int   // messages the server showed, repeats included
	Found    int   // messages among them that had not come live
	Attempt  int   // 1, or more where others before it broke off
	Err      error // why it broke off, nil otherwise; holds no secret
}

// Repeat tells that a message came live a second time, or after a replay had
// found it, and was dropped. A message addressed to two of a connection's
// channels does. (That a replay shows again what came live is its purpose:
// these are counted by ReplayEnded.)
type Repeat struct {
	ID    string // of the message; of several, of the first
	Count int    // how many are told of: 1, or more where they are summed up
}

// String tells which message it was.
func (r Repeat) String() string {
	text := "repeat of message " + quote.Name(r.ID)
	if r.Count > 1 {
		text += fmt.Sprintf(" and %d more", r.Count-1)
	}
	return text
}

// LogValue is String for log/slog.
func (r Repeat) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Undecodable tells that a message, or the rest of a frame, could not be
// decoded and was passed over.
type Undecodable struct {
	Err   error // a *DecodeError if it was one message; of several, the first; holds no secret
	Count int   // how many are told of: 1, or more where they are summed up
}

// Renewal tells that a config has been fetched in place of the one in use, or
// could not be. The connection to the channels in use goes on meanwhile, and
// until that to new ones stands.
type Renewal struct {
	Reason  RenewReason
	Changed bool          // the new config has other channels, or another server
	Delay   time.Duration // with Err: until it is tried again
	Err     error         // why there is none; holds no secret
	Count   int           // how many are told of: 1, or more where they are summed up
}

// RenewReason is why a config is fetched anew.
type RenewReason uint8

const (
	_                    RenewReason = iota
	RenewDue                         // a channel, or the config, was about to end
	RenewChannelExpired              // the server said that a channel has been replaced (channel_expire)
	RenewConfigExpired               // the server said so (config_expire)
	RenewServerRestarted             // the server said that it restarts (server_restart)
	RenewRefused                     // the server has refused the channels
	RenewUnreachable                 // the server could not be reached, again and again
	RenewIncomplete                  // the config before lacked a channel that there was one of before
)

// String is the reason in lower case.
func (r RenewReason) String() string {
	switch r {
	case RenewDue:
		return "due"
	case RenewChannelExpired:
		return "channel expired"
	case RenewConfigExpired:
		return "config expired"
	case RenewServerRestarted:
		return "server restarted"
	case RenewRefused:
		return "refused"
	case RenewUnreachable:
		return "unreachable"
	case RenewIncomplete:
		return "incomplete"
	default:
		return "none"
	}
}

// Gap tells that messages may have been lost that no replay can bring. The
// observer is told, and the next message bears it; of several the gravest.
type Gap struct {
	Reason GapReason
	Err    error // what stood in the way, if anything; holds no secret
	Count  int   // how many are told of: 1, or more where the observer is told of them summed up
}

// GapReason is what a Gap comes of. A graver one is greater.
type GapReason uint8

const (
	_                  GapReason = iota
	GapPaused                    // the queue was full: what the server does not keep is lost until it is connected again
	GapUnread                    // the history could not be read while there was a connection (StateDegraded): what live delivery misses meanwhile comes late if the server still keeps it when the history can be read again, or not at all
	GapChannelReplaced           // a channel was replaced, and its end, or the new one's beginning, could not be read
	GapExpired                   // after a time without connection the server does not keep any more what was read before, nor perhaps what followed
	GapServerChanged             // there is another server, or it has lost its data: the history is another one
)

// String is the reason in lower case.
func (r GapReason) String() string {
	switch r {
	case GapPaused:
		return "paused"
	case GapUnread:
		return "unread"
	case GapChannelReplaced:
		return "channel replaced"
	case GapServerChanged:
		return "server changed"
	case GapExpired:
		return "expired"
	default:
		return "none"
	}
}

// gapOf makes a Gap of one that delivery has found.
func gapOf(g *delivery.Gap) *Gap {
	if g == nil {
		return nil
	}
	return &Gap{Reason: GapReason(g.Reason), Err: g.Err, Count: 1} // numbered alike
}

// Forgotten tells that so much has come that it is not remembered any more
// which messages have been seen: so many of them may come again. It takes
// 262,144 messages within five minutes, or since replays fail.
type Forgotten struct{ Messages int }

func (Forgotten) event()   {}
func (Renewal) event()     {}
func (Gap) event()         {}
func (StateChange) event() {}
func (ReplayEnded) event() {}
func (Repeat) event()      {}
func (Undecodable) event() {}

// noticeEvery is how often an event of a kind is told that a peer can cause in
// any number; what comes in between is summed up.
const noticeEvery = 10 * time.Second

// notices tell the observer and the log of events that a peer can cause in any
// number: the first of a kind at once, those that follow within noticeEvery
// together, as one event that says how many they are.
type notices struct {
	tell func(Event)
	sums map[noticeKind]*notice
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
	kept := n.sums[kind]
	if kept == nil {
		if n.sums == nil {
			n.sums = make(map[noticeKind]*notice)
		}
		kept = new(notice)
		n.sums[kind] = kept
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
	for _, kept := range n.sums {
		if kept.sum != nil && (at.IsZero() || kept.due.Before(at)) {
			at = kept.due
		}
	}
	return at
}

// flush tells the sums that are due.
func (n *notices) flush(now time.Time) {
	for _, kept := range n.sums {
		if sum := kept.sum; sum != nil && !now.Before(kept.due) {
			kept.sum, kept.due = nil, now.Add(noticeEvery)
			n.tell(sum)
		}
	}
}

// flushAll tells what there is, at the end.
func (n *notices) flushAll() {
	for _, kept := range n.sums {
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

// logEvent logs an event: at Info what breaks the connection and what mends it,
// at Warn what may have been lost or cannot be read, at Error what ends the
// subscription, unless ctx has. Replays are logged at Warn where they fail
// again and again: then nothing vouches for what is delivered.
func logEvent(ctx context.Context, log *slog.Logger, e Event) {
	switch e := e.(type) {
	case StateChange:
		level := slog.LevelDebug
		switch {
		case e.To == StateClosed && e.Cause != nil && ctx.Err() == nil:
			level = slog.LevelError
		case e.To == StateDegraded:
			level = slog.LevelWarn
		case e.Cause != nil && e.To != StateClosed, e.To == StateLive, e.To == StatePaused:
			level = slog.LevelInfo
		}
		log.Log(ctx, level, "state", "from", e.From.String(), "to", e.To.String(), "attempt", e.Attempt, "delay", e.Delay, "transport", e.Transport.String(), "cause", e.Cause)
	case ReplayEnded:
		level := slog.LevelDebug
		if e.Err != nil && e.Attempt >= patience {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "replay", "complete", e.Complete, "messages", e.Messages, "found", e.Found, "attempt", e.Attempt, "err", e.Err)
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
