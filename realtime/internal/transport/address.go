package transport

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/retryafter"
)

// An Address is where to connect to, and what of it must not be told.
type Address struct {
	URL     string
	Secrets redact.Redactor
	Tags    bool // its polls are those of versions 1 and 2
	RPC     bool // over a websocket the server sends text pings, and wants messages confirmed
}

// fail says what failed and which host it was, without the rest of the address:
// net/http and servers like to repeat it.
func (at Address) fail(op string, err error) error {
	clean := at.Secrets.Error(err)
	if host := at.host(); host != "" && !strings.Contains(clean.Error(), host) {
		op += ": " + host
	}
	return fmt.Errorf("realtime: %s: %w", op, clean)
}

// host is the host and the port, "" where the URL is none.
func (at Address) host() string {
	u, err := url.Parse(at.URL)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return at.Secrets.Text(quote.Name(addr.HostPort(u)))
}

// reason is a server's text made fit for an error: one line, capped, and
// nothing at all if it is markup.
func (at Address) reason(text []byte) string {
	const maxText = 120
	if bytes.ContainsAny(text, "<{") {
		return ""
	}
	return at.Secrets.Line(string(text), maxText)
}

// maxRefusal is how much is read of the body of an answer that refuses.
const maxRefusal = 512

// refusal is the error of an answer that refuses; location is where it leads,
// if it is a redirect.
func (at Address) refusal(answer *http.Response, location string) *StatusError {
	refused := &StatusError{Status: answer.StatusCode, RetryAfter: retryafter.Wait(answer.Header, time.Now())}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		if from, err := url.Parse(at.URL); err == nil {
			from.Scheme = strings.Replace(from.Scheme, "ws", "http", 1)
			refused.Reason = at.Secrets.Redirect(answer.StatusCode, from, location)
		}
		return refused
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	refused.Reason = at.reason(body)
	return refused
}
