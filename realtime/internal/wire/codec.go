// Package wire turns the frames of a push server into records: the protobuf of
// version 4, the text of versions 1 to 3 and the JSON-RPC of version 5, a file
// or two each.
//
// A frame that holds a whole backlog is read as a stream, a message costs one
// allocation, and what a message holds is checked and found in one pass: its
// params are the user's to decode.
package wire

import (
	"errors"
	"io"
)

// MaxMessageSize is how long one message may be, in bytes. A push server takes
// no body over 1 MiB.
const MaxMessageSize = 4 << 20

// A Codec turns the frames of one protocol version into messages. A codec
// serves one attempt and one goroutine.
type Codec interface {
	// Decode reads one frame or poll body to its end and yields its messages
	// one by one, each until yield returns. A message that cannot be decoded is
	// yielded with an error, and the rest of the frame goes on. An error
	// returned means that the frame ended before its end: by the stream's own
	// error, or because it cannot be read any further (ErrFrame). Decode stops
	// early, without error, when yield returns false.
	Decode(frame io.Reader, yield func(*Record, error) bool) error
}

// ErrFrame marks a frame that cannot be read to its end because of what it
// holds.
var ErrFrame = errors.New("frame cannot be decoded")
