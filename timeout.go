package b24pull

import (
	"context"
	"errors"
	"fmt"

	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/underway"
)

// limited bounds a request by the client's timeout. method is what the error
// begins with, from says who did not answer.
func (c *Client) limited(ctx context.Context, method string, from func() string, step func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := step(limited)
	if !tooLate(ctx, limited, err) {
		return err
	}
	return c.noAnswer("b24pull: "+method+": ", " from "+from(), err)
}

// tokenWithin bounds the getting of a token by the client's timeout, which does
// not run while a refresh waits for its turn among other requests.
func (c *Client) tokenWithin(ctx context.Context, step func(context.Context) error) error {
	told := func(waits bool) {
		if waits {
			underway.Waits(ctx, turnAmongRequests)
		} else {
			underway.Waits(ctx, "the token source")
		}
	}
	told(false)
	limited, cancel := gate.WithTimeout(ctx, c.timeout, told)
	defer cancel()
	err := step(limited)
	if !tooLate(ctx, limited, err) {
		return err
	}
	return c.noAnswer("", "", err) // what it was is said elsewhere
}

// tooLate reports whether a step has failed by its own time.
func tooLate(ctx, limited context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil
}

func (c *Client) noAnswer(method, from string, err error) error {
	late := context.DeadlineExceeded
	var broken *netfail.Error
	sent := netfail.SentUnknown
	if errors.As(err, &broken) {
		sent = broken.Sent
	}
	return &netfail.Error{Text: fmt.Sprintf("%sno answer%s within %v: %v", method, from, c.timeout, late), Err: late, Sent: sent}
}

// turnAmongRequests is what is waited for at a gate.
const turnAmongRequests = "its turn among requests to all portals"
