package publish

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// An account is a config, boiled down to what it takes to publish.
type account struct {
	cfg     *b24pull.Config
	dialect wire.Dialect
	until   time.Time // by our clock
	endless bool      // the config does not say when it ends
	post    transport.Address
	socket  transport.Address
	why     error // why it cannot be published from; nil if it can

	// public are the channels that the config names, by user.
	public func() map[int64]b24pull.PublicChannel
}

const (
	// unknownLife is how long a config is used that does not say when it ends.
	unknownLife = time.Hour
	// uselessLife is how long a config is believed that lets nobody publish: an
	// administrator may turn it on.
	uselessLife = time.Minute
	// spare is how long before its end a config or a channel is taken for ended.
	spare = 5 * time.Second
)

func (p *Publisher) newAccount(cfg *b24pull.Config) *account {
	a := &account{cfg: cfg, until: time.Now().Add(unknownLife)}
	a.why = a.look(p)
	ends := []time.Time{cfg.Expires}
	if c := cfg.Channels.Private; c != nil {
		ends = append(ends, c.End)
	}
	a.endless = true
	for _, end := range ends {
		if end = a.ours(end); !end.IsZero() && (a.endless || end.Before(a.until)) {
			a.until, a.endless = end, false
		}
	}
	if a.why != nil {
		a.until = time.Now().Add(uselessLife)
	}
	a.public = sync.OnceValue(func() map[int64]b24pull.PublicChannel {
		channels, _ := cfg.PublicChannels()
		return channels
	})
	return a
}

// ours is an end by our clock, with some time to spare.
func (a *account) ours(end time.Time) time.Time {
	if end.IsZero() {
		return end
	}
	return end.Add(-a.cfg.ClockShift() - spare)
}

// look makes the addresses. Its error says why clients cannot publish.
func (a *account) look(p *Publisher) error {
	s := &a.cfg.Server
	var ok bool
	a.dialect, ok = wire.DialectOf(s.Version)
	switch {
	case !ok || a.dialect < wire.DialectProtobuf:
		return fmt.Errorf("%w: its push server is of version %d, and clients can publish from version 4 on", ErrUnavailable, s.Version)
	case !s.PublishEnabled:
		return fmt.Errorf("%w: its push server does not let clients publish (publish_enabled)", ErrUnavailable)
	}
	if err := config.CheckLengths(a.cfg); err != nil {
		return err
	}
	secrets := config.Secrets(a.cfg).With(transport.HeaderSecrets(p.opts.header)...)
	if a.dialect == wire.DialectRPC {
		return a.lookRPC(secrets)
	}
	base, bad := config.Base(false, "publish", s.PublishSecure, s.Publish, "https", "http")
	own := a.cfg.Channels.Private
	switch {
	case base == "":
		return config.Because(fmt.Errorf("%w: its push server has no address for publishing", ErrUnavailable), bad)
	case own == nil || own.ID == "":
		return fmt.Errorf("%w: the user has no private channel to publish from", ErrUnavailable)
	case !hasPublicID(string(own.ID)):
		return fmt.Errorf("%w: the user's private channel has no public id to publish from", ErrUnavailable)
	}
	query := "CHANNEL_ID=" + url.QueryEscape(string(own.ID))
	if a.cfg.ClientID != "" {
		query += "&clientId=" + url.QueryEscape(a.cfg.ClientID)
	}
	a.post = transport.Address{URL: config.WithQuery(base, query), Secrets: secrets}
	return nil
}

// hasPublicID reports whether a channel's id is private:public.signature.
func hasPublicID(id string) bool {
	_, public, both := strings.Cut(id, ":")
	public, _, signed := strings.Cut(public, ".")
	return both && signed && public != ""
}

// accounts keeps the account until its end, and fetches one for all who wait.
type accounts struct {
	p *Publisher

	mu       sync.Mutex
	now      *account // nil: none yet
	fetching *fetch   // under way; nil: none
	renewals pace.Pace
}

// A fetch is a config asked for.
type fetch struct {
	done    chan struct{}
	account *account
	err     error
}

func (b *accounts) init(p *Publisher) {
	b.p = p
	b.renewals = pace.Pace{Burst: 5, Every: 10 * time.Second}
}

// get returns the account to publish from.
func (b *accounts) get(ctx context.Context) (*account, error) { return b.other(ctx, nil) }

// other returns an account other than one that the push server has refused.
func (b *accounts) other(ctx context.Context, refused *account) (*account, error) {
	f, a, err := b.current(refused)
	if f == nil {
		return a, err
	}
	select {
	case <-f.done:
		return f.account, f.err
	case <-ctx.Done():
		return nil, waited(ctx, "the config")
	}
}

// current returns the account that is in use, or a fetch to be waited for.
func (b *accounts) current(refused *account) (*fetch, *account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p.life.Err() != nil {
		return nil, nil, ErrClosed
	}
	if a := b.now; a != nil && a != refused && time.Now().Before(a.until) {
		return nil, a, a.why
	}
	if b.fetching != nil {
		return b.fetching, nil, nil
	}
	f := &fetch{done: make(chan struct{})}
	// a config that has neither ended nor been refused may be the same again
	cache := b.now == nil || b.now.why != nil || b.now.endless && b.now != refused
	if !b.p.begin(func() { b.fetch(f, cache) }) {
		return nil, nil, ErrClosed
	}
	b.fetching = f
	return f, nil, nil
}

// mayRenew reports whether there may be another account than one that the push
// server has refused: there is one already, or it is being fetched, or it may
// be. A server that refuses everything has the config fetched every few seconds
// at the most.
func (b *accounts) mayRenew(refused *account) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != refused || b.fetching != nil {
		return true
	}
	now := time.Now()
	if b.renewals.Next().After(now) {
		return false
	}
	b.renewals.Note(now)
	return true
}

func (b *accounts) fetch(f *fetch, cache bool) {
	cfg, err := b.p.source.GetApplicationConfig(b.p.life, cache)
	if err == nil && cfg == nil {
		err = fmt.Errorf("publish: %w: the config source returned no config", b24pull.ErrInvalidConfig)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.p.life.Err() != nil:
		f.err = ErrClosed
	case err != nil:
		f.err = fmt.Errorf("publish: the config: %w", err)
	default:
		b.now = b.p.newAccount(cfg)
		f.account, f.err = b.now, b.now.why
	}
	b.fetching = nil
	close(f.done)
}
