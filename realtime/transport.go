package realtime

import (
	"context"
	"errors"
	"io"
)

// A transport opens connections to a push server. Transports carry bytes; they know neither states nor
// messages.
type transport interface {
	// open connects to a URL. The connection lives until it ends, is closed, or ctx is done.
	open(ctx context.Context, url string, sink sink) (conn, error)
}

// A conn is one connection. All methods but next can be called from any goroutine.
type conn interface {
	// next waits for the next frame. The frame must be read to its end before next is called again. At the end of
	// the connection it returns io.EOF if that was the expected one, or what went wrong.
	next() (io.Reader, error)
	// ping sends a ping whose pong the sink will be told of.
	ping() error
	// close ends the connection with a close code where the transport has them.
	close(code int)
}

// sink is told what happens on a connection beside its frames.
type sink interface {
	sent()   // the request is on its way: from now on the answer is the server's affair
	pinged() // a ping has been answered; called by next
	ponged() // a pong has arrived; called by next
}

// errSilent is returned by a poll that the server ended because there was nothing to send.
var errSilent = errors.New("nothing to read")

// Close codes a client sends.
const (
	closeNormal = 1000
	closeStuck  = 3005
)
