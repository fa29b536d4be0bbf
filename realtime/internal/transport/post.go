package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/unfold"
)

// Posting makes requests to the address for publishing.
type Posting struct {
	Client *http.Client
	Header http.Header
	Wait   time.Duration // for an answer
}

// binaryBody is the Content-Type of protobuf, as the official clients send it.
const binaryBody = "application/octet-stream"

// Post sends a body and returns that of the answer, which must have a status of
// 200 and limit bytes at most. An answer that refuses is a *StatusError, one
// that is none of a push server's an *AnswerError, and none at all a
// *netfail.Error, which says whether the body was sent.
func (t *Posting) Post(ctx context.Context, at Address, body []byte, limit int) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.Wait, errNoAnswer)
	defer cancel()
	var location string
	var trace netfail.Trace
	req, err := http.NewRequestWithContext(redact.KeepLocation(trace.Watch(ctx), &location), http.MethodPost, at.URL, bytes.NewReader(body))
	if err != nil {
		return nil, at.fail("publishing", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, at.unanswered(ctx, netfail.NotSent, err)
	}
	maps.Copy(req.Header, t.Header)
	req.Header.Set("Content-Type", binaryBody)
	answer, err := t.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil && trace.Sent() != netfail.Sent {
			t.Client.CloseIdleConnections() // and give up dialing
		}
		return nil, at.unanswered(ctx, trace.Sent(), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, at.postRefusal(answer, location)
	}
	text, err := t.read(at, answer, limit)
	var unbelieved *AnswerError
	if err != nil && !errors.As(err, &unbelieved) {
		return nil, at.unanswered(ctx, netfail.Sent, err)
	}
	return text, err
}

var errNoAnswer = errors.New("no answer in time")

// unanswered is the error of a request without an answer.
func (at Address) unanswered(ctx context.Context, sent netfail.SentState, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	clean := at.fail("publishing", err)
	return &netfail.Error{Text: clean.Error(), Err: clean, Sent: sent}
}

// postRefusal is the error of an answer that refuses, or is some other success
// than a push server's.
func (at Address) postRefusal(answer *http.Response, location string) error {
	if answer.StatusCode < http.StatusMultipleChoices {
		return at.unbelieved(answer.StatusCode, answer.Header, nil, errors.New("a push server answers 200"))
	}
	return at.refusal(answer, location)
}

// read reads an answer of status 200.
func (t *Posting) read(at Address, answer *http.Response, limit int) ([]byte, error) {
	reject := func(start []byte, why error) error {
		return at.unbelieved(answer.StatusCode, answer.Header, start[:min(len(start), maxRefusal)], why)
	}
	in, err := unfold.Reader(strings.Join(answer.Header.Values("Content-Encoding"), ","), answer.Body)
	if err != nil {
		return nil, reject(nil, err)
	}
	text, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	switch media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); {
	case media == "text/html" || media == "application/xhtml+xml":
		return nil, reject(text, errors.New("it is a web page"))
	case err != nil:
		return nil, err
	case len(text) > limit:
		return nil, reject(text, fmt.Errorf("it has more than %d bytes", limit))
	}
	return text, nil
}

// Reject makes the error of an answer of status 200 that proves nothing.
func (at Address) Reject(start []byte, why error) error {
	return at.unbelieved(http.StatusOK, nil, start[:min(len(start), maxRefusal)], why)
}
