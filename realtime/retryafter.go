package realtime

import (
	"errors"
	"time"

	"github.com/b24pull/b24pull"
)

// retryAfter is how long a server's answer wants to be waited for, if an error
// is one that says so.
func retryAfter(err error) time.Duration {
	var status *StatusError
	var refused *b24pull.APIError
	var token *b24pull.TokenError
	switch {
	case errors.As(err, &status):
		return status.RetryAfter
	case errors.As(err, &token):
		return token.RetryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// reserve makes a delay as long as a server wants that has refused with err.
// What it wants is spread, so that those it has refused together do not come
// back together.
func reserve(delay time.Duration, err error) time.Duration {
	if d := retryAfter(err); d > 0 {
		return max(delay, spread(d))
	}
	return delay
}

// deferrals are until when a server is to be left alone, over websockets and
// over polls.
type deferrals struct{ sockets, polls deferral }

type deferral struct {
	server string
	until  time.Time
}

func (d *deferrals) of(polls bool) *deferral {
	if polls {
		return &d.polls
	}
	return &d.sockets
}

// note is told why a link ended.
func (d *deferrals) note(k *link, err error, now time.Time) {
	if wait := retryAfter(err); wait > 0 {
		*d.of(k.polls) = deferral{k.stream.endpoint.server, now.Add(wait)}
	}
}

// reads is until when the history of a stream is not to be read, by the way
// that it would be; zero or past: it may be.
func (d *deferrals) reads(s *stream, now time.Time) time.Time { return d.until(s, s.readsByPoll(now)) }

// until is until when the server of a stream is not to be asked; zero or past:
// it may be.
func (d *deferrals) until(s *stream, polls bool) time.Time {
	if held := d.of(polls); held.server == s.endpoint.server {
		return held.until
	}
	return time.Time{}
}
