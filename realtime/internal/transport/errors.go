package transport

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
)

// ErrSilent is returned by a poll that the server ended because there was
// nothing to send.
var ErrSilent = errors.New("nothing to read")

// ErrNoUpgrade is returned where an HTTP client makes a websocket impossible,
// whatever the server.
var ErrNoUpgrade = errors.New("the Transport of the HTTP client returns no connection for a websocket; have an *http.Transport make its requests and return the answer's Body as it is, or give WithDialer, or WithTransport(TransportLongPolling)")

// StatusError is an HTTP answer that refuses.
type StatusError struct {
	Status     int           // HTTP status
	Reason     string        // the server's own words, if it sent a short text; of a redirect, where it leads
	RetryAfter time.Duration // what the answer wants to be waited for; 0 if it does not say
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("realtime: the push server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Reason != "" {
		text += ": " + quote.Text(e.Reason, quote.TextLimit)
	}
	return text
}

// CloseError is a websocket closed by the server.
type CloseError struct {
	Code   int    // close code
	Reason string // the server's own words
}

func (e *CloseError) Error() string {
	text := fmt.Sprintf("realtime: the push server closed the connection with code %d", e.Code)
	if e.Reason != "" {
		text += ": " + quote.Text(e.Reason, quote.TextLimit)
	}
	return text
}

// AnswerError is an answer that is not a push server's, although its HTTP
// status says that all is well.
type AnswerError struct {
	Status      int    // HTTP status; 101 where a websocket was asked for the history
	ContentType string // the answer's Content-Type; empty if it had none
	Start       string // its first bytes in one line, without what may be secret
	Err         error  // why it is not taken for a push server's
}

func (e *AnswerError) Error() string {
	text := fmt.Sprintf("realtime: not a push server's answer: %v: HTTP %d", quote.Error(e.Err), e.Status)
	if e.ContentType != "" {
		text += " " + quote.Name(e.ContentType)
	}
	if e.Start != "" {
		text += " " + strconv.Quote(quote.Name(e.Start))
	}
	return text
}

func (e *AnswerError) Unwrap() error { return e.Err }
