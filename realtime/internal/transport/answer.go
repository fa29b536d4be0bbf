package transport

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/redact"
)

// A push server holds a poll until a message comes. So a 304 that comes at once
// is not the server's but of something that stands in its place.

const (
	// HeldAtLeast is how long a poll has to hang for a 304 with the headers of
	// a push server to be one's, and heldSurely the same for a 304 without
	// them. Servers hold polls for 40 s.
	HeldAtLeast = 10 * time.Second
	heldSurely  = 35 * time.Second
)

var (
	errAtOnce   = errors.New("a push server says that nothing came only after it has held the poll")
	errUnmarked = errors.New("it says that nothing came without the headers of a push server")
)

// startShown is how much of the beginning of an answer an error tells.
const startShown = 100

// unbelieved makes the error of an answer with a header and its first bytes.
func (at Address) unbelieved(status int, header http.Header, start []byte, why error) *AnswerError {
	return &AnswerError{
		Status:      status,
		ContentType: tellable(at.Secrets, header.Get("Content-Type")),
		Start:       tellable(at.Secrets, string(start)),
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

// nothing is what a 304 that came after some time says: ErrSilent if it is a
// push server's own word, or an error that wraps ErrSilent if it is none to
// rely upon.
func (c *pollConn) nothing(took time.Duration) error {
	marked := c.at.marked(c.answer.Header)
	switch {
	case marked && took >= HeldAtLeast:
		return ErrSilent
	case !marked && took >= heldSurely:
		return fmt.Errorf("%w: %w", ErrSilent, c.Reject(nil, errUnmarked))
	default:
		return c.Reject(nil, errAtOnce)
	}
}

// tagETag matches the Etag of versions 1 and 2: that of a web server is in
// quotes.
var tagETag = regexp.MustCompile(`^W/\d+$`)

// marked reports whether a 304 has the headers of a push server's. The Expires
// of versions 1 and 2, which are an nginx, is that of many other web servers,
// too.
func (at Address) marked(header http.Header) bool {
	if at.Tags {
		return tagETag.MatchString(header.Get("Etag"))
	}
	_, named := header["Last-Message-Id"] // may be empty
	return named || strings.HasPrefix(header.Get("Expires"), "Thu, 01 Jan 1973")
}
