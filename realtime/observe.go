package realtime

import (
	"log/slog"
	"time"
)

// An Event is something that happened inside a subscription. It is one of [StateChange], [ReadEnded],
// [Repeat] and [Undecodable]. Later releases add kinds: a switch over them needs a default.
type Event interface{ event() }

// StateChange tells that the subscription has entered another state.
type StateChange struct {
	From, To State         // never the same
	Attempt  int           // failed attempts since a connection last proved itself by lasting
	Delay    time.Duration // StateWaiting: how long until the next attempt
	Cause    error         // what ended the state before, nil if nothing went wrong; holds no secret
}

// ReadEnded tells that a read of the server's history is over. Reads find what live delivery has missed.
type ReadEnded struct {
	Complete bool  // false: broken off, or there was nothing to read
	Messages int   // messages the server showed, repeats included
	Found    int   // messages among them that had not come live
	Err      error // why it broke off, nil otherwise; holds no secret
}

// Repeat tells that a message came live a second time, or after a read had found it, and was dropped. A message
// addressed to two of a connection's channels does. (That a read shows again what came live is its purpose: these
// are counted by ReadEnded.)
type Repeat struct {
	ID string // of the message
}

// Undecodable tells that a message, or the rest of a frame, could not be decoded and was passed over.
type Undecodable struct {
	Err error // a *DecodeError if it was one message; holds no secret
}

func (StateChange) event() {}
func (ReadEnded) event()   {}
func (Repeat) event()      {}
func (Undecodable) event() {}

// logChange logs at Info what breaks the connection and what mends it, at Error what ends the subscription.
func (l *loop) logChange(c StateChange) {
	level := slog.LevelDebug
	switch {
	case c.To == StateClosed && c.Cause != nil && l.ctx.Err() == nil:
		level = slog.LevelError
	case c.Cause != nil && c.To != StateClosed, c.To == StateLive, c.To == StatePaused:
		level = slog.LevelInfo
	}
	l.log.Log(l.ctx, level, "state", "from", c.From.String(), "to", c.To.String(), "attempt", c.Attempt, "delay", c.Delay, "cause", c.Cause)
}

// logRead warns when reads fail again and again: then nothing vouches for what is delivered.
func (l *loop) logRead(r ReadEnded) {
	level := slog.LevelDebug
	if r.Err != nil && l.status.readAttempt+1 >= patience {
		level = slog.LevelWarn
	}
	l.log.Log(l.ctx, level, "read", "complete", r.Complete, "messages", r.Messages, "found", r.Found, "attempt", l.status.readAttempt+1, "err", r.Err)
}
