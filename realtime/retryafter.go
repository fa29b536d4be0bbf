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

// note is told why an attempt ended.
func (d *deferrals) note(k *attempt, err error, now time.Time) {
	if wait := retryAfter(err); wait > 0 {
		*d.of(k.polls) = deferral{k.connection.endpoint.server, now.Add(wait)}
	}
}

// replays is until when the history of a connection is not to be read, by the
// way that it would be; zero or past: it may be.
func (d *deferrals) replays(s *connection, now time.Time) time.Time {
	return d.until(s, s.replaysByPoll(now))
}

// until is until when the server of a connection is not to be asked; zero or
// past: it may be.
func (d *deferrals) until(s *connection, polls bool) time.Time {
	if held := d.of(polls); held.server == s.endpoint.server {
		return held.until
	}
	return time.Time{}
}
