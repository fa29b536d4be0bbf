package publish

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/php"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A publication is the params of a call of publish.
type publication struct {
	Users    []int64  `json:"userList,omitempty"`
	Channels []string `json:"channelList,omitempty"`
	Body     rpcBody  `json:"body"`
	Expiry   uint32   `json:"expiry"`
}

// rpcBody is a message as its receivers read it, with its expiry.
type rpcBody struct {
	body
	Expiry uint32 `json:"expiry"`
}

// publishByCall publishes on version 5, by a call for each message, or for each
// hundred of its receivers.
func (p *Publisher) publishByCall(ctx context.Context, a *account, messages []checked) error {
	calls := make([][]publication, len(messages))
	s := &sending{p: p, account: a, messages: messages}
	if p.byChannel() {
		if err := s.resolve(ctx); err != nil {
			return err
		}
	}
	for i, m := range messages {
		to := receivers{users: m.users}
		if p.byChannel() {
			to.users = nil
			for _, r := range s.receivers[i] {
				to.channels = append(to.channels, publicText(r))
			}
		} else {
			for _, c := range m.channels {
				t, err := a.given(c)
				if err != nil {
					return &MessageError{Index: i, Err: err}
				}
				to.channels = append(to.channels, publicText(t.Receiver))
			}
		}
		var err error
		if calls[i], err = to.calls(m); err != nil {
			return &MessageError{Index: i, Err: err}
		}
	}
	for i, parts := range calls {
		accepted := 0
		for _, part := range parts {
			err := p.try(ctx, false, func() error {
				_, err := p.call(ctx, "publish", part)
				return err
			})
			if err != nil {
				var secrets []string
				for _, c := range part.Channels {
					secrets = append(secrets, strings.Split(c, ".")...)
				}
				return &Error{Index: i, Receivers: accepted, Err: p.closedOr(without(secrets, err))}
			}
			accepted += len(part.Users) + len(part.Channels)
		}
	}
	return nil
}

// byChannel reports whether users are named by their public channels: the push
// server takes users for those of the publisher's own kind.
func (p *Publisher) byChannel() bool {
	_, application := p.source.(*b24pull.Client)
	return application && p.opts.portal
}

// publicText is a public channel as calls name it.
func publicText(r wire.Receiver) string {
	return hex.EncodeToString(r.ID) + "." + hex.EncodeToString(r.Signature)
}

// receivers are those of a message of version 5.
type receivers struct {
	users    []int64
	channels []string
}

// calls parts a message into calls that the push server takes.
func (to receivers) calls(m checked) ([]publication, error) {
	own := rpcBody{m.message, m.expiry}
	data, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	for n := maxReceivers; n > 0; n /= 2 {
		parts, longest := to.part(own, len(data), n)
		if longest+callFrame <= rpc.MaxCallSize {
			return parts, nil
		}
	}
	return nil, errTooLong(len(m.body))
}

// callFrame is more than a call has beside its params.
const callFrame = 128

// part makes calls of n receivers at the most, with a body of so many bytes. It
// returns how long the longest one is.
func (to receivers) part(own rpcBody, size, n int) (parts []publication, longest int) {
	const frame = len(`{"userList":[],"channelList":[],"body":,"expiry":86400}`)
	users, channels := to.users, to.channels
	for len(users)+len(channels) > 0 {
		part := publication{Users: users[:min(n, len(users))], Body: own, Expiry: own.Expiry}
		users = users[len(part.Users):]
		part.Channels = channels[:min(n-len(part.Users), len(channels))]
		channels = channels[len(part.Channels):]
		length := size + frame + len(part.Users)*len(",9223372036854775807")
		for _, c := range part.Channels {
			length += len(c) + len(`"",`)
		}
		parts, longest = append(parts, part), max(longest, length)
	}
	return parts, longest
}

// call calls the push server, over the subscription's connection or one of the
// publisher's own: a subscription that is connected by long polling has none, and
// one that is paused may wait for the very handler that calls.
func (p *Publisher) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	if sub := p.opts.sub; sub != nil && sub.State() != realtime.StatePaused {
		result, err := sub.Call(ctx, method, params)
		if !errors.Is(err, realtime.ErrUnsupportedServer) {
			return result, err
		}
	}
	result, err := p.connector.call(ctx, method, params)
	return result, callError(ctx, err)
}

// callError makes the error of a call one that users know.
func callError(ctx context.Context, err error) error {
	var refused *wire.RPCError
	var unanswered *rpc.UnansweredError
	switch {
	case errors.As(err, &refused):
		return (*realtime.RPCError)(refused)
	case errors.As(err, &unanswered):
		if !unanswered.Sent && (errors.Is(err, ErrUnavailable) || b24pull.EndingOf(err) != b24pull.EndsNothing) {
			return unanswered.Err
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			unanswered.Err = fmt.Errorf("%w: %w", cause, unanswered.Err)
		}
		return (*realtime.UnansweredError)(unanswered)
	}
	return err
}

// lastSeen asks for presence on version 5.
func (p *Publisher) lastSeen(ctx context.Context, users []int64) (map[int64]Presence, error) {
	seen, err := p.seen(ctx, users, p.call)
	if err != nil {
		return nil, fmt.Errorf("publish: presence: %w", p.closedOr(err))
	}
	var absent []int64
	for _, u := range users {
		if _, ok := seen[u]; !ok {
			absent = append(absent, u)
		}
	}
	more, err := p.seenByPortal(ctx, absent)
	var refused *b24pull.APIError
	if err != nil && !(errors.As(err, &refused) && classOf(err) == b24pull.ClassFinal) {
		return nil, fmt.Errorf("publish: presence: %w", p.closedOr(err))
	}
	for _, u := range absent { // whom the portal may have seen, and the push server not
		seen[u] = Presence{LastSeen: more[u].LastSeen}
	}
	return seen, nil
}

// calling makes a call.
type calling func(ctx context.Context, method string, params any) (json.RawMessage, error)

// seen asks the push server when users were last online. Who never was is
// missing.
func (p *Publisher) seen(ctx context.Context, users []int64, call calling) (map[int64]Presence, error) {
	seen := make(map[int64]Presence, len(users))
	for part := range slices.Chunk(users, maxReceivers) {
		var answer json.RawMessage
		err := p.try(ctx, true, func() (err error) {
			answer, err = call(ctx, "getUsersLastSeen", map[string]any{"userList": part})
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := readSeen(answer, part, seen); err != nil {
			return nil, fmt.Errorf("the answer of getUsersLastSeen: %w", err)
		}
	}
	return seen, nil
}

// seenByPortal asks the portal for those whom its push server does not know.
// Where the source is none that can be asked nobody has been seen.
func (p *Publisher) seenByPortal(ctx context.Context, users []int64) (map[int64]Presence, error) {
	portal, ok := p.source.(interface {
		Call(ctx context.Context, method string, params, result any, opts ...b24pull.CallOption) (b24pull.Response, error)
	})
	seen := make(map[int64]Presence)
	if !ok || len(users) == 0 {
		return seen, nil
	}
	for part := range slices.Chunk(users, maxAsked) {
		var answer json.RawMessage
		params := map[string]any{"userIds": part, "sendToQueueSever": true} // spelled so
		if _, err := portal.Call(ctx, "pull.api.user.getlastseen", params, &answer, b24pull.Idempotent()); err != nil {
			return nil, err
		}
		if err := readSeen(answer, part, seen); err != nil {
			return nil, fmt.Errorf("the answer of pull.api.user.getLastSeen: %w", err)
		}
	}
	return seen, nil
}

// readSeen reads how many seconds ago users were seen, 0 for who is online; by
// user id, or nothing where nobody was.
func readSeen(answer json.RawMessage, users []int64, seen map[int64]Presence) error {
	var ago php.Map[string, json.RawMessage]
	if err := json.Unmarshal(answer, &ago); err != nil {
		return quote.Error(err)
	}
	now := time.Now()
	for _, u := range users {
		told, ok := ago[strconv.FormatInt(u, 10)]
		if !ok || phpjson.Blank(told) { // which is not 0
			continue
		}
		var seconds php.Int
		if err := json.Unmarshal(told, &seconds); err != nil {
			return quote.Error(err)
		}
		switch {
		case seconds < 0:
		case seconds == 0:
			seen[u] = Presence{Online: true}
		default:
			seen[u] = Presence{LastSeen: now.Add(-time.Duration(min(int64(seconds), maxAgo)) * time.Second)}
		}
	}
	return nil
}

// maxAgo is the longest that is believed, in seconds: a century.
const maxAgo = 100 * 365 * 24 * 3600

// heard tells the subscription which public channels are whose.
func (p *Publisher) heard(channels map[int64]b24pull.PublicChannel) {
	if p.opts.sub != nil {
		p.opts.sub.AddSenders(channels)
	}
}
