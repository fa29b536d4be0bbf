package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// postWait is how long an answer of the push server is waited for.
const postWait = 30 * time.Second

// publishByPost publishes on version 4.
func (p *Publisher) publishByPost(ctx context.Context, a *account, messages []checked) error {
	s := &sending{p: p, account: a, messages: messages}
	if err := s.resolve(ctx); err != nil {
		return err
	}
	for at := (progress{}); at.message < len(messages); {
		next, err := s.send(ctx, at)
		if err != nil {
			return &Error{Index: at.message, Receivers: at.receiver, Err: p.closedOr(err)}
		}
		at = next
	}
	return nil
}

// A sending is a call of Publish on version 4.
type sending struct {
	p         *Publisher
	account   *account
	messages  []checked
	receivers [][]wire.Receiver // of each message: users, then channels
	renewed   bool
}

// A progress is how far a sending has come: all before it has been accepted.
type progress struct{ message, receiver int }

// resolve looks up the receivers of all messages.
func (s *sending) resolve(ctx context.Context) error {
	found, err := s.p.users.find(ctx, s.account, s.users())
	if err != nil {
		return err
	}
	first := s.receivers == nil
	s.receivers = make([][]wire.Receiver, len(s.messages))
	for i, m := range s.messages {
		var all []wire.Receiver
		var missing []int64
		for _, u := range m.users {
			if t, ok := found[u]; ok {
				all = append(all, t.Receiver)
			} else {
				missing = append(missing, u)
			}
		}
		if len(missing) > 0 {
			return &MessageError{Index: i, Err: unknown(missing)}
		}
		named := make(map[string]bool)
		for _, r := range all {
			named[string(r.ID)] = first
		}
		var channels []b24pull.PublicChannel
		for _, c := range m.channels {
			t, err := s.account.given(c)
			if err != nil {
				return &MessageError{Index: i, Err: err}
			}
			if named[string(t.ID)] {
				continue
			}
			all, channels = append(all, t.Receiver), append(channels, c)
		}
		s.messages[i].channels = channels // the next time it is the same receivers
		for _, r := range all {
			if size := s.publication(m, []wire.Receiver{r}).Size() + wire.RequestFrame; size > maxRequest {
				return tooLong(i, size)
			}
		}
		s.receivers[i] = all
	}
	return nil
}

// users are all that are named.
func (s *sending) users() []int64 {
	var all []int64
	for _, m := range s.messages {
		all = append(all, m.users...)
	}
	return unique(all, func(u int64) int64 { return u })
}

func (s *sending) publication(m checked, to []wire.Receiver) *wire.Publication {
	return &wire.Publication{Receivers: to, Body: m.body, Expiry: m.expiry}
}

// fill makes the next request: as many messages from a place on as a push
// server takes in one.
func (s *sending) fill(at progress) (request []wire.Publication, next progress) {
	size := wire.RequestFrame
	for at.message < len(s.messages) && len(request) < maxMessages {
		rest := s.receivers[at.message][at.receiver:]
		part := s.publication(s.messages[at.message], rest[:min(len(rest), maxReceivers)])
		for len(request) == 0 && size+part.Size() > maxRequest {
			part.Receivers = part.Receivers[:len(part.Receivers)/2]
		}
		if size += part.Size(); size > maxRequest {
			break
		}
		request = append(request, *part)
		if at.receiver += len(part.Receivers); at.receiver == len(s.receivers[at.message]) {
			at = progress{message: at.message + 1}
		}
	}
	return request, at
}

// send makes the next request, and once more with other channels if the push
// server refuses those. It returns how far that has brought the sending.
func (s *sending) send(ctx context.Context, at progress) (progress, error) {
	for {
		request, next := s.fill(at)
		err := s.p.try(ctx, false, func() error { return s.p.publish(ctx, s.account, request) })
		var refused *RefusedError
		if err == nil || !errors.As(err, &refused) || !refused.outdated() || s.renewed || !s.p.accounts.mayRenew(s.account) {
			return next, err
		}
		s.renewed = true
		s.p.users.forget(s.users())
		if s.account, err = s.p.accounts.other(ctx, s.account); err != nil {
			return at, unrenewed{refused, err}
		}
		if err := s.resolve(ctx); err != nil {
			return at, unrenewed{refused, err}
		}
	}
}

// publish makes one request.
func (p *Publisher) publish(ctx context.Context, a *account, request []wire.Publication) error {
	size := wire.RequestFrame
	for i := range request {
		size += request[i].Size()
	}
	answer, err := p.post(ctx, a, wire.AppendPublish(make([]byte, 0, size), request), 1<<10)
	if err == nil && len(answer) > 0 {
		err = ownError(a.post.Reject(answer, errNotEmpty))
	}
	if err == nil {
		return nil
	}
	var secrets []string
	for _, m := range request {
		secrets = append(secrets, secretsOf(m.Receivers)...)
	}
	return without(secrets, err)
}

var errNotEmpty = errors.New("a push server accepts with an empty answer")

// post makes one request to the address for publishing.
func (p *Publisher) post(ctx context.Context, a *account, body []byte, limit int) ([]byte, error) {
	posting := transport.Posting{Client: p.poster, Header: p.header, Wait: postWait}
	answer, err := posting.Post(ctx, a.post, body, limit)
	return answer, ownError(err)
}

// secretsOf are the ids and signatures of receivers.
func secretsOf(receivers []wire.Receiver) (secrets []string) {
	for _, r := range receivers {
		secrets = append(secrets, hex.EncodeToString(r.ID), hex.EncodeToString(r.Signature), string(r.ID), string(r.Signature))
	}
	return secrets
}

// without takes the secrets of a request out of what an error tells of an
// answer, which may repeat them.
func without(secrets []string, err error) error {
	var told *string
	var refused *RefusedError
	var odd unbelieved
	var answered *realtime.RPCError
	switch {
	case errors.As(err, &refused):
		told = &refused.Reason
	case errors.As(err, &odd):
		told = &odd.Start
	case errors.As(err, &answered):
		told = &answered.Message
	}
	if told == nil || *told == "" {
		return err
	}
	*told = redact.Redactor{}.With(secrets...).Line(*told, quote.TextLimit)
	return err
}
