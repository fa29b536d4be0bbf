package publish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Publish publishes messages, in their order. All of them are looked at, and on
// version 4 all of their receivers looked up, before the first is sent. On
// version 4 what one request brings can overtake what the one before brought,
// since the push server answers before it stores; within a request the order
// stands.
//
// Without an error the push server has answered each request as it answers what
// it takes, which says nothing of any receiver. On version 4 that is after it
// has checked the messages and before it stores them: should it fail then, they
// are lost. Whether somebody is connected, or ever will be before a message
// expires, is not known either.
//
// A call that the push server would not take as it is becomes several requests,
// one after the other: of 100 messages, 100 receivers of each, and 1 MiB at the
// most.
//
// Errors: a [*MessageError] for a message that cannot be sent, and for users
// who have no public channel; an error that is [ErrUnavailable]; those of the
// source and of the directory; in all these cases nothing has been sent. Then
// an [*Error], which says how far the call has come, around a [*RefusedError],
// a [*realtime.AnswerError] or what kept an answer from coming;
// [b24pull.ClassOf] tells what it means. What a push server of version 4 refuses
// for a channel that has been replaced is sent once more with channels that have
// been asked for anew; what has surely not been carried out is sent again up to
// three times, within about a minute; see [WithRepeat].
func (p *Publisher) Publish(ctx context.Context, messages ...Message) error {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	all := make([]checked, len(messages))
	for i := range messages {
		var err error
		if all[i], err = messages[i].check(); err != nil {
			return &MessageError{Index: i, Err: err}
		}
	}
	if len(all) == 0 {
		return nil
	}
	a, err := p.accounts.get(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		for _, c := range all[i].channels {
			if _, err := a.given(c); err != nil {
				return &MessageError{Index: i, Err: err}
			}
		}
	}
	if a.dialect == wire.DialectRPC {
		return p.publishByCall(ctx, a, all)
	}
	return p.publishByPost(ctx, a, all)
}

const (
	// maxTries is how often a request is made at most, and firstPause the
	// pause before the second time; each is twice the one before.
	maxTries   = 4
	firstPause = 500 * time.Millisecond
	// longestPause is the longest Retry-After that is waited for.
	longestPause = 30 * time.Second
)

// try makes a request as often as that is safe; twice is, if it is harmless.
func (p *Publisher) try(ctx context.Context, harmless bool, request func() error) error {
	for made := 1; ; made++ {
		err := request()
		if err == nil {
			return nil
		}
		wait, again := p.pause(made, harmless || p.opts.repeat, err)
		if !again || !sleep.Within(ctx, wait) {
			return err
		}
	}
}

// pause reports whether to repeat a request after an error, and when.
func (p *Publisher) pause(made int, twice bool, err error) (time.Duration, bool) {
	if made >= maxTries {
		return 0, false
	}
	var asked time.Duration
	switch classOf(err) {
	case b24pull.ClassThrottled:
	case b24pull.ClassNotSent:
		if unanswered := (*realtime.UnansweredError)(nil); errors.As(err, &unanswered) {
			return 0, false // it has waited for a connection
		}
	case b24pull.ClassUnavailable:
		if !twice {
			return 0, false
		}
	default:
		return 0, false
	}
	if refused, ok := err.(*RefusedError); ok {
		asked = refused.RetryAfter
	}
	wait := max(firstPause<<(made-1), asked)
	return wait + rand.N(wait/5+1), asked <= longestPause
}

// tooLong is the error of a message that no request can hold.
func tooLong(index, size int) error {
	return &MessageError{Index: index, Err: errTooLong(size)}
}

// closedOr is ErrClosed where the publisher has been closed.
func (p *Publisher) closedOr(err error) error {
	if p.life.Err() != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
