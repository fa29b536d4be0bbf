package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/enum"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

// An Event is something that happened inside a subscription. It is one of
// [StateChange], [ReplayEnded], [Repeat], [Undecodable], [Renewal], [Gap],
// [Forgotten], [HandlerFailed], [Saved] and [SaveFailed]. Later releases add
// kinds: a switch over them needs a default.
//
// Of all but the first two, which a server or a handler can cause in any
// number, the first of a kind is told at once. Those of the kind that follow
// within ten seconds are told together then, or at the end of the run: as the
// first of them, with their Count. A kind of Gap and Renewal are those of one
// Reason, with an Err or without, one of HandlerFailed those of one Action.
// [Stats] counts each one when it happens.
type Event interface{ event() }

// State is where a subscription stands.
type State uint8

const (
	StateIdle        State = iota // not run yet
	StateConfiguring              // asking the source for the config
	StateConnecting               // opening the live connection
	StateLive                     // connected; messages arrive
	StateDegraded                 // connected and messages arrive, but the server's history cannot be read: what live delivery misses is missing
	StateWaiting                  // disconnected; the next attempt is due after a delay
	StatePaused                   // disconnected, because the queue is full
	StateClosed                   // over, for good
)

var states = []string{"idle", "configuring", "connecting", "live", "degraded", "waiting", "paused", "closed"}

// String is the name of the state in lower case.
func (s State) String() string { return enum.Name(states, s) }

// MarshalText gives the text of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// stateBox shows the state to other goroutines.
type stateBox struct{ v atomic.Uint32 }

func (b *stateBox) set(s State) { b.v.Store(uint32(s)) }
func (b *stateBox) get() State  { return State(b.v.Load()) }

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

var renewReasons = []string{"none", "due", "channel expired", "config expired", "server restarted", "refused", "unreachable", "incomplete"}

// String is the reason in lower case.
func (r RenewReason) String() string { return enum.Name(renewReasons, r) }

// MarshalText gives the text of String.
func (r RenewReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

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

var gapReasons = []string{"none", "paused", "unread", "channel replaced", "expired", "server changed"}

// String is the reason in lower case.
func (r GapReason) String() string { return enum.Name(gapReasons, r) }

// MarshalText gives the text of String.
func (r GapReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (r *GapReason) UnmarshalText(text []byte) error {
	if err := enum.Parse(gapReasons, text, r); err != nil {
		return fmt.Errorf("realtime: reason of a gap: %w", err)
	}
	return nil
}

// gapJSON is the JSON form of a Gap.
type gapJSON struct {
	Reason GapReason `json:"reason"`
	Count  int       `json:"count"`
	Error  string    `json:"error,omitempty"`
}

// MarshalJSON gives the form in which a Gap stands in that of a [Message]: with
// the text of its error.
func (g Gap) MarshalJSON() ([]byte, error) {
	j := gapJSON{Reason: g.Reason, Count: g.Count}
	if g.Err != nil {
		j.Error = quote.Error(g.Err).Error()
	}
	return json.Marshal(j)
}

// UnmarshalJSON takes what MarshalJSON gives.
func (g *Gap) UnmarshalJSON(data []byte) error {
	var j gapJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if *g = (Gap{Reason: j.Reason, Count: j.Count}); j.Error != "" {
		g.Err = errors.New(j.Error)
	}
	return nil
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

// HandlerFailed tells that a handler of Run has returned an error, and what
// becomes of the message. It may come after StateClosed: what was received is
// still handled by [Subscription.Drain].
type HandlerFailed struct {
	Err     *HandlerError // with the message; of several, the first
	Attempt int           // how often the handler had been called for the message
	Action  FailureAction // what becomes of it
	Delay   time.Duration // ActionRetry: until the handler is called again
	Count   int           // how many are told of: 1, or more where they are summed up
}

// Saved tells that the [CursorStore] has saved a cursor. The last one of a run
// comes after StateClosed.
type Saved struct {
	Took  time.Duration // the save; of several, the longest
	Count int           // how many are told of: 1, or more where they are summed up
}

// SaveFailed tells that a cursor could not be saved: what has been handled
// since the last one that was comes again if the process ends. A save that is
// given up since the run ends is none, if the last one of the run follows it.
type SaveFailed struct {
	Err     error // of the [CursorStore]; of several, the first
	Attempt int   // saves in a row that have failed; of several, the most
	Last    bool  // it was the last one of the run: it is not tried again
	Count   int   // how many are told of: 1, or more where they are summed up
}

func (Forgotten) event()     {}
func (Renewal) event()       {}
func (Gap) event()           {}
func (StateChange) event()   {}
func (ReplayEnded) event()   {}
func (Repeat) event()        {}
func (Undecodable) event()   {}
func (HandlerFailed) event() {}
func (Saved) event()         {}
func (SaveFailed) event()    {}

// noticeKind is what events have to have in common to be summed up.
type noticeKind struct {
	kind    byte
	reason  uint8
	changed bool
	failed  bool
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
	case HandlerFailed:
		return noticeKind{kind: 'h', reason: uint8(e.Action)}, true
	case Saved:
		return noticeKind{kind: 's'}, true
	case SaveFailed:
		return noticeKind{kind: 's', changed: e.Last, failed: true}, true
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
	case HandlerFailed:
		s.Count += e.(HandlerFailed).Count
		return s
	case Saved:
		more := e.(Saved)
		return Saved{max(s.Took, more.Took), s.Count + more.Count}
	case SaveFailed:
		more := e.(SaveFailed)
		s.Attempt, s.Count = max(s.Attempt, more.Attempt), s.Count+more.Count
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
	case HandlerFailed:
		logFailure(ctx, log, e)
	case Saved:
		log.Debug("cursor saved", "count", e.Count, "took", e.Took)
	case SaveFailed:
		level := slog.LevelWarn
		if e.Last {
			level = slog.LevelError
		}
		log.Log(ctx, level, "cursor not saved", "attempt", e.Attempt, "count", e.Count, "err", redact.Redactor{}.Error(e.Err))
	}
}

// logFailure logs the failure of a handler, whose error may be anything.
func logFailure(ctx context.Context, log *slog.Logger, e HandlerFailed) {
	m := &e.Err.Message
	level, text := slog.LevelWarn, "message skipped"
	switch e.Action {
	case ActionRetry:
		text = "handler failed and is called again"
	case ActionStop:
		level, text = slog.LevelError, "handler failed and the run ends"
	}
	about := []any{"id", quote.Name(m.ID), "module", quote.Name(m.Module), "command", quote.Name(m.Command), "attempt", e.Attempt}
	if e.Action == ActionRetry {
		about = append(about, "delay", e.Delay)
	}
	log.Log(ctx, level, text, append(about, "err", redact.Redactor{}.Error(e.Err.Err), "count", e.Count)...)
}
