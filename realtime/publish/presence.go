package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// Presence is whether a user is connected to the push server.
type Presence struct {
	Online   bool
	LastSeen time.Time // when the user was last online, by our clock; zero for who is online now, where it is not known, and on version 4, which does not say
}

// statsLimit is how many bytes the statistics of 100 channels may have; they
// have some 2,400.
const statsLimit = 64 << 10

// Online asks whether users are online; each of them is in the map.
//
// Version 4 knows of channels: a user is online whose public channel somebody
// listens to. Where the push server runs as several processes, as they are
// shipped, that is true for 130 seconds longer than the connection lasts, and
// only for the channel that the connection names first, which is the private
// one with this package and the official clients. A user without a public
// channel is not online. When somebody was last seen is not known there.
//
// Version 5 knows of users. Whom its push server has never seen the portal is
// asked for, by pull.api.user.getLastSeen, if the source can be asked; a portal
// that refuses that leaves LastSeen zero. To ask, the publisher has to be
// connected, so its own user is online.
//
// Errors are those of [Publisher.Publish], but no [*MessageError].
func (p *Publisher) Online(ctx context.Context, users ...int64) (map[int64]Presence, error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	for _, u := range users {
		if u <= 0 {
			return nil, fmt.Errorf("publish: Online: user %d: want a positive id", u)
		}
	}
	if len(users) == 0 {
		return map[int64]Presence{}, nil
	}
	a, err := p.accounts.get(ctx)
	if err != nil {
		return nil, err
	}
	users = unique(users, func(u int64) int64 { return u })
	if a.dialect == wire.DialectRPC {
		return p.lastSeen(ctx, users)
	}
	online, err := p.channelsOnline(ctx, a, users)
	var refused *RefusedError
	if errors.As(err, &refused) && refused.outdated() && p.accounts.mayRenew(a) {
		p.users.forget(users)
		if a, err = p.accounts.other(ctx, a); err == nil {
			online, err = p.channelsOnline(ctx, a, users)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("publish: presence: %w", p.closedOr(err))
	}
	return online, nil
}

// channelsOnline asks by channel statistics.
func (p *Publisher) channelsOnline(ctx context.Context, a *account, users []int64) (map[int64]Presence, error) {
	found, err := p.users.find(ctx, a, users)
	if err != nil {
		return nil, err
	}
	online := make(map[int64]Presence, len(users))
	var asked []int64
	for _, u := range users {
		online[u] = Presence{}
		if _, ok := found[u]; ok {
			asked = append(asked, u)
		}
	}
	for part := range slices.Chunk(asked, maxReceivers) {
		var channels []wire.Receiver
		for _, u := range part {
			channels = append(channels, found[u].Receiver)
		}
		var is map[string]bool
		err := p.try(ctx, true, func() (err error) {
			is, err = p.channelStats(ctx, a, channels)
			return err
		})
		if err != nil {
			return nil, without(secretsOf(channels), err)
		}
		for _, u := range part {
			online[u] = Presence{Online: is[string(found[u].ID)]}
		}
	}
	return online, nil
}

// channelStats makes one request. The answer names each channel by its id.
func (p *Publisher) channelStats(ctx context.Context, a *account, channels []wire.Receiver) (map[string]bool, error) {
	answer, err := p.post(ctx, a, wire.AppendChannelStats(nil, channels), statsLimit)
	if err != nil {
		return nil, err
	}
	stats, err := wire.ParseChannelStats(answer)
	if err != nil {
		return nil, ownError(a.post.Reject(answer, err))
	}
	is := make(map[string]bool, len(stats))
	for _, s := range stats {
		is[string(s.ID)] = s.Online
	}
	for _, c := range channels {
		if _, told := is[string(c.ID)]; !told {
			return nil, ownError(a.post.Reject(nil, errors.New("a channel that was asked for is not in it")))
		}
	}
	return is, nil
}
