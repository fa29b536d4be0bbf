package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/retryafter"
)

// A transport opens connections to a push server. Transports carry bytes; they
// know neither states nor messages.
type transport interface {
	// open connects. The connection lives until it ends, is closed, or ctx is
	// done. No error tells a secret.
	open(ctx context.Context, at address, sink sink) (conn, error)
}

// An address is where to connect to, and what of it must not be told.
type address struct {
	url     string
	secrets redact.Redactor
	tags    bool // its polls are those of versions 1 and 2
	rpc     bool // over a websocket the server sends text pings, and wants messages confirmed
}

// fail says what failed, without the address: net/http and servers like to
// repeat it.
func (at address) fail(op string, err error) error {
	return fmt.Errorf("realtime: %s: %w", op, at.secrets.Error(err))
}

// reason is a server's text made fit for an error: one line, capped, and
// nothing at all if it is markup.
func (at address) reason(text []byte) string {
	const maxText = 120
	if bytes.ContainsAny(text, "<{") {
		return ""
	}
	return at.secrets.Line(string(text), maxText)
}

// maxRefusal is how much is read of the body of an answer that refuses.
const maxRefusal = 512

// refusal is the error of an answer that refuses; location is where it leads,
// if it is a redirect.
func (at address) refusal(answer *http.Response, location string) *StatusError {
	refused := &StatusError{Status: answer.StatusCode, RetryAfter: retryafter.Wait(answer.Header, time.Now())}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		if from, err := url.Parse(at.url); err == nil {
			from.Scheme = strings.Replace(from.Scheme, "ws", "http", 1)
			refused.Reason = at.secrets.Redirect(answer.StatusCode, from, location)
		}
		return refused
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	refused.Reason = at.reason(body)
	return refused
}

// A conn is one connection. All methods but next can be called from any
// goroutine.
type conn interface {
	// next waits for the next frame. The frame must be read to its end before
	// next is called again. At the end of the connection it returns io.EOF if
	// that was the expected one, or what went wrong.
	next() (io.Reader, error)
	// ping sends a ping whose pong the sink will be told of.
	ping() error
	// received is told the id of each message of a frame, before the frame's
	// end: some servers want it confirmed.
	received(id string)
	// close ends the connection with a close code where the transport has them.
	close(code int)
}

// sink is told what happens on a connection beside its frames.
type sink interface {
	sent()      // the request is on its way: from now on the answer is the server's affair
	pinged()    // a ping has been answered; called by next
	ponged()    // a pong has arrived; called by next
	heartbeat() // a sign of life has been answered, of a server that sends them every few seconds; called by next
}

// errSilent is returned by a poll that the server ended because there was
// nothing to send.
var errSilent = errors.New("nothing to read")

// Close codes that a client sends, as the official one has them.
const (
	closeNormal   = 1000
	closeReplaced = 3000 // there is another config
	closeStuck    = 3005 // a ping was not answered
)

// Close codes of push servers that are more than a lost connection. Those of a
// version 4 server are its own, 4010 and 4036 those of newer ones.
const (
	closeWrongChannel       = 4010 // the server does not know the channel
	closePublicIDRequired   = 4012 // it asks for a public channel id
	closeNoChannels         = 4017
	closeTooManyChannels    = 4018 // more than a hundred
	closeInvalidChannel     = 4019
	closeInvalidSignature   = 4021
	closeTooManyConnections = 4029 // a new connection of these channels ends the oldest
	closeWrongClientID      = 4036
)
