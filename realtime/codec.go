package realtime

import "io"

// maxMessageSize is how long one message may be, in bytes. A push server takes
// no body over 1 MiB.
const maxMessageSize = 4 << 20

// A codec turns the frames of one protocol version into messages. A codec
// serves one link and one goroutine.
type codec interface {
	// decode reads one frame or poll body to its end and yields its messages
	// one by one. A message that cannot be decoded is yielded with an error,
	// and the rest of the frame goes on. An error returned means that the frame
	// ended before its end: by the stream's own error, or because it cannot be
	// read any further (errFrame). decode stops early, without error, when
	// yield returns false.
	decode(frame io.Reader, yield func(Message, error) bool) error
}
