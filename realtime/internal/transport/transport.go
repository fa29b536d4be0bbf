// Package transport carries bytes between a subscription and a push server: by
// websockets and by long polling, over one HTTP client. It knows neither
// states nor messages, and none of its errors tells a secret.
package transport

import (
	"context"
	"io"
)

// A Transport opens connections to a push server.
type Transport interface {
	// Open connects. The connection lives until it ends, is closed, or ctx is
	// done. No error tells a secret.
	Open(ctx context.Context, at Address, sink Sink) (Conn, error)
}

// A Conn is one connection. All methods but Next can be called from any
// goroutine.
type Conn interface {
	// Next waits for the next frame. What of the one before has not been read is
	// passed over. At the end of the connection it returns io.EOF if that was
	// the expected one, or what went wrong.
	Next() (io.Reader, error)
	// Ping sends a ping whose pong the sink will be told of.
	Ping() error
	// Received is told the id of each message of a frame, before the frame's
	// end: some servers want it confirmed.
	Received(id string)
	// Close ends the connection with a close code where the transport has them.
	Close(code int)
}

// An Answered is a Conn that was asked for something, and knows how it was
// answered.
type Answered interface {
	Conn
	// Reject makes the error of an answer that proves nothing.
	Reject(start []byte, why error) error
}

// A Busy is a Conn that may have received more than was read.
type Busy interface {
	Conn
	// BeforeWaiting has f be called when all was read that has come, before
	// more is waited for; by Next, and by the reading of a frame.
	BeforeWaiting(f func())
}

// A Patient is a Conn that can be waited for in little of a stack. Its methods
// are for the goroutine that calls Next, between two frames, also where one has
// been left before its end.
type Patient interface {
	Conn
	// Quiet reports whether all has been read that has come.
	Quiet() bool
	// Await waits, and reports whether Next is to be called. If not, there was
	// something that is no frame of Next's.
	Await() bool
}

// A Duplex is a Conn that frames can be sent over: a websocket.
type Duplex interface {
	Conn
	// Send sends a text frame. If it fails, the peer has not got all of it.
	Send(text []byte) error
}

// A Sink is told what happens on a connection beside its frames.
type Sink interface {
	Sent()      // the request is on its way: from now on the answer is the server's affair
	Pinged()    // a ping has been answered; called by Next
	Ponged()    // a pong has arrived; called by Next
	Heartbeat() // a sign of life has been answered, of a server that sends them every few seconds; called by Next
}
