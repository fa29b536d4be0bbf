package realtime

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A push server answers a poll with messages, or holds it until one comes. So
// an answer without a message, or a 304 that comes at once, is not the server's
// but of something that stands in its place: a web server, a login page, a
// cache. It says nothing of the history.

const (
	// heldAtLeast is how long a poll has to hang for a 304 with the headers of
	// a push server to be one's, and heldSurely the same for a 304 without
	// them. Servers hold polls for 40 s.
	heldAtLeast = 10 * time.Second
	heldSurely  = 35 * time.Second
	// promptly is within what time a poll is answered that is answered at once.
	promptly = time.Second
)

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

var (
	errNoMessage = errors.New("there is no message in it")
	errNotAsked  = errors.New("it holds messages that were not asked for, as an answer to something else does")
	errStale     = errors.New("it ends before a message that the server keeps, as an older answer does")
	errAtOnce    = errors.New("a push server says that nothing came only after it has held the poll")
	errUnmarked  = errors.New("it says that nothing came without the headers of a push server")
)

const (
	// startSize is how much of an answer is looked at for an error, and
	// startShown how much of that is told.
	startSize  = 2 << 10
	startShown = 100
)

// answerError makes the error of an answer with a header and its first bytes.
func (at address) answerError(status int, header http.Header, start []byte, why error) *AnswerError {
	return &AnswerError{
		Status:      status,
		ContentType: tellable(at.secrets, header.Get("Content-Type")),
		Start:       tellable(at.secrets, string(start)),
		Err:         why,
	}
}

// maybeSecret matches what may be a token, a session or an id of somebody's.
var maybeSecret = regexp.MustCompile(`[A-Za-z0-9+_~.%-]{20,}={0,2}`)

// tellable is a foreign text made fit for an error: one line, short, and
// without what may be secret.
func tellable(secrets redact.Redactor, text string) string {
	text = strings.ToValidUTF8(secrets.Text(text), " ")
	return secrets.Line(maybeSecret.ReplaceAllString(text, redact.Mask), startShown)
}

// nothing is what a 304 that came after some time says: errSilent if it is a
// push server's own word, or an error that wraps errSilent if it is none to
// rely upon.
func (c *pollConn) nothing(took time.Duration) error {
	marked := c.at.marked(c.answer.Header)
	switch {
	case marked && took >= heldAtLeast:
		return errSilent
	case !marked && took >= heldSurely:
		return fmt.Errorf("%w: %w", errSilent, c.reject(nil, errUnmarked))
	default:
		return c.reject(nil, errAtOnce)
	}
}

// tagETag matches the Etag of versions 1 and 2: that of a web server is in
// quotes.
var tagETag = regexp.MustCompile(`^W/\d+$`)

// marked reports whether a 304 has the headers of a push server's. The Expires
// of versions 1 and 2, which are an nginx, is that of many other web servers,
// too.
func (at address) marked(header http.Header) bool {
	if at.tags {
		return tagETag.MatchString(header.Get("Etag"))
	}
	_, named := header["Last-Message-Id"] // may be empty
	return named || strings.HasPrefix(header.Get("Expires"), "Thu, 01 Jan 1973")
}

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

// An answered is a conn that was asked for something, and knows how it was
// answered.
type answered interface {
	conn
	// reject makes the error of an answer that proves nothing.
	reject(start []byte, why error) *AnswerError
}

// judge looks at what an answer has come to: err is what its frame ended with.
func (p *poster) judge(c conn, err error) error {
	if !p.attempt.awaitsAnswer() || p.proved || err != nil && !errors.Is(err, wire.ErrFrame) {
		return err
	}
	why := errNoMessage
	if err != nil {
		why = fmt.Errorf("%w: %v", errNoMessage, err) // the frame is not garbled: it is none
	}
	if c, ok := c.(answered); ok {
		return c.reject(p.start, why)
	}
	return &AnswerError{Err: why}
}
