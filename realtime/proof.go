package realtime

import (
	"errors"
	"fmt"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A push server answers a poll with messages, or holds it until one comes. So
// an answer without a message, or a 304 that comes at once, is not the server's
// but of something that stands in its place: a web server, a login page, a
// cache. It says nothing of the history.

// promptly is within what time a poll is answered that is answered at once.
const promptly = time.Second

// AnswerError is an answer to a poll, or to a replay of the history, that is
// not a push server's, although its HTTP status says that all is well.
// Something stands in the place of the server, or between. It is no word of
// what the server keeps.
type AnswerError struct {
	Status      int    // HTTP status; 101 where a websocket was asked for the history
	ContentType string // the answer's Content-Type; empty if it had none
	Start       string // its first bytes in one line, without what may be secret
	Err         error  // why it is not taken for a push server's
}

func (e *AnswerError) Error() string { return (*transport.AnswerError)(e).Error() }

func (e *AnswerError) Unwrap() error { return e.Err }

var (
	errNoMessage = errors.New("there is no message in it")
	errNotAsked  = errors.New("it holds messages that were not asked for, as an answer to something else does")
	errStale     = errors.New("it ends before a message that the server keeps, as an older answer does")
)

// proves reports whether what a codec has yielded can only come from a push
// server: it has a place in the history. That of a message that is too long to
// be looked at is not known.
func proves(r *wire.Record, err error) bool {
	if !r.Key.Mid.IsZero() {
		return true
	}
	var bad *wire.RecordError
	return errors.As(err, &bad) && bad.Framed && isTooLong(err)
}

func isTooLong(err error) bool {
	var tooLong *wire.TooLongError
	return errors.As(err, &tooLong)
}

// judge looks at what an answer has come to: err is what its frame ended with.
func (p *poster) judge(c transport.Conn, err error) error {
	if !p.attempt.awaitsAnswer() || p.proved || err != nil && !errors.Is(err, wire.ErrFrame) {
		return err
	}
	why := errNoMessage
	if err != nil {
		why = fmt.Errorf("%w: %v", errNoMessage, err) // the frame is not garbled: it is none
	}
	if c, ok := c.(transport.Answered); ok {
		return ownError(c.Reject(p.start, why))
	}
	return &AnswerError{Err: why}
}
