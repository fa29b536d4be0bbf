package delivery

import "time"

// An Event is something to be reported: a [Repeat], a [Gap] or [Forgotten].
type Event interface{ event() }

// Repeat is a message that came live and had been seen.
type Repeat struct{ ID string }

// Forgotten tells that so many messages are not remembered any more: they may
// come again.
type Forgotten struct{ Messages int }

// Gap tells that messages may have been lost that no replay can bring.
type Gap struct {
	Reason Reason
	Err    error // what stood in the way, if anything
}

// Reason is what a gap comes of. A graver one is greater.
type Reason uint8

const (
	_ Reason = iota
	Paused
	Unread
	ChannelReplaced
	Expired
	ServerChanged
)

func (Repeat) event()    {}
func (Forgotten) event() {}
func (Gap) event()       {}

// A Meter takes measurements.
type Meter interface {
	Arrived(extra []byte, now time.Time) // a live message, of which that is the extra
	Delivered(messages ...Message)       // go to the user
}
