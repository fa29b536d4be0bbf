package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Record is a message as a frame holds it.
type Record struct {
	ID      string  // the server's mid, 26 digits; empty where the server gives none
	Key     Key     // what tells it from every other
	Sender  Sender  // who published it
	Channel Channel // which channel it came through

	Body    []byte          // the message as it was published, without what a server adds; has the names, the params and the extra below
	Module  string          // in lower case
	Command string          // as the portal sent it
	Params  json.RawMessage // nil if the server sent none
	Extra   json.RawMessage // nil if none
	Time    time.Time       // when the server took it, UTC; zero if it sent none, or one that cannot be

	Transient bool          // the server has said that it does not keep it
	Kept      time.Duration // how long the server keeps it, if it says so
	Size      int           // bytes of memory that it pins
}

// Sender is who published a message.
type Sender struct {
	Type SenderType
	ID   string // public id of the sending client, hex
}

// Channel is the kind of channel that a message came through.
type Channel uint8

const (
	ChannelUnknown Channel = iota // the server did not say, or named one that is not known
	ChannelPrivate
	ChannelShared
)

// String is the name of the kind in lower case: the name of the channel in the
// portal's config.
func (c Channel) String() string {
	switch c {
	case ChannelPrivate:
		return "private"
	case ChannelShared:
		return "shared"
	default:
		return "unknown"
	}
}

// RecordError is a record that cannot be decoded.
type RecordError struct {
	ID     string // of the message, empty if it could not be read
	Err    error  // what is wrong with it
	Framed bool   // it stood in a push server's frame
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %q cannot be decoded: %v", e.ID, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// framed marks the error of a record that stood in the frame of a push server.
func framed(err error) error {
	if err == nil {
		return nil
	}
	var bad *RecordError
	if errors.As(err, &bad) {
		bad.Framed = true
	}
	return err
}
