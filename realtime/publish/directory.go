package publish

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

const (
	// maxKnown is how many users' channels are kept.
	maxKnown = 10_000
	// maxAsked is how many users one request asks for.
	maxAsked = 500
	// unknownEnd is how long a public channel is kept that does not say when it
	// ends.
	unknownEnd = 5 * time.Minute
)

// A target is where a user, or a public channel, is published to.
type target struct {
	wire.Receiver
	until time.Time // by our clock
}

// directory keeps the public channels of users until their end, and asks for
// those that it lacks with one request for all who wait.
type directory struct {
	p *Publisher

	mu    sync.Mutex
	known map[int64]target
	next  *batch // of those who wait; nil: nobody does
	busy  bool   // a request is under way
}

// A batch is the users that one request asks for, or several if they are many.
type batch struct {
	account *account
	users   map[int64]bool
	done    chan struct{}
	found   map[int64]target
	err     error
}

func (d *directory) init(p *Publisher) {
	d.p = p
	d.known = make(map[int64]target)
}

// find returns the targets of users; who has none is missing.
func (d *directory) find(ctx context.Context, a *account, users []int64) (map[int64]target, error) {
	found := make(map[int64]target, len(users))
	b := d.look(a, users, found)
	if b == nil {
		return found, nil
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return nil, waited(ctx, "the public channels of users")
	}
	if b.err != nil {
		return nil, b.err
	}
	for _, u := range users {
		if t, ok := b.found[u]; ok {
			found[u] = t
		}
	}
	return found, nil
}

// look finds what is known, and joins the next request for the rest; nil if
// there is nothing to be asked.
func (d *directory) look(a *account, users []int64, found map[int64]target) *batch {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var missing []int64
	for _, u := range users {
		t, ok := d.known[u]
		if !ok || !now.Before(t.until) {
			t, ok = d.p.named(a, u)
		}
		if ok {
			found[u] = t
		} else {
			missing = append(missing, u)
		}
	}
	if len(missing) == 0 || d.p.opts.directory == nil {
		return nil
	}
	b := d.next
	if b == nil {
		b = &batch{account: a, users: make(map[int64]bool), done: make(chan struct{})}
		if !d.busy && !d.p.begin(d.request) {
			b.err = ErrClosed
			close(b.done)
			return b
		}
		d.next, d.busy = b, true
	}
	for _, u := range missing {
		b.users[u] = true
	}
	return b
}

// named is a user whom the config itself names. Its channels are those of the
// portal.
func (p *Publisher) named(a *account, user int64) (target, bool) {
	if !p.opts.portal {
		return target{}, false
	}
	c, ok := a.public()[user]
	if !ok {
		return target{}, false
	}
	t, err := a.target(c)
	return t, err == nil && time.Now().Before(t.until)
}

// request makes requests for as long as somebody waits.
func (d *directory) request() {
	for {
		d.mu.Lock()
		b := d.next
		d.next = nil
		if b == nil {
			d.busy = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		d.list(b)
		close(b.done)
	}
}

// list asks for the users of a batch.
func (d *directory) list(b *batch) {
	var users []int64
	for u := range b.users {
		users = append(users, u)
	}
	slices.Sort(users)
	b.found = make(map[int64]target, len(users))
	for part := range slices.Chunk(users, maxAsked) {
		owner := b24pull.ApplicationChannels
		if d.p.opts.portal {
			owner = b24pull.PortalChannels
		}
		channels, err := d.p.opts.directory.ListPublicChannels(d.p.life, part, owner)
		if err != nil {
			if d.p.life.Err() != nil {
				err = ErrClosed
			}
			b.err = fmt.Errorf("publish: the public channels of users: %w", err)
			return
		}
		d.p.heard(channels)
		d.keep(b, part, channels)
	}
}

// keep takes the channels of users out of an answer.
func (d *directory) keep(b *batch, users []int64, channels map[int64]b24pull.PublicChannel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, u := range users {
		c, ok := channels[u]
		if !ok {
			continue
		}
		t, err := b.account.target(c)
		if err != nil || !now.Before(t.until.Add(spare)) {
			continue
		}
		b.found[u] = t
		if !now.Before(t.until) {
			continue // it is good for those who wait
		}
		if len(d.known) >= maxKnown {
			d.forgetSome(now)
		}
		d.known[u] = t
	}
}

// forgetSome makes room: those whose time is over go, or else any tenth.
func (d *directory) forgetSome(now time.Time) {
	before := len(d.known)
	for u, t := range d.known {
		if !now.Before(t.until) {
			delete(d.known, u)
		}
	}
	if len(d.known) < before {
		return
	}
	for u := range d.known {
		if delete(d.known, u); len(d.known) <= before*9/10 {
			return
		}
	}
}

// forget has users be asked for anew: the push server has refused a receiver.
func (d *directory) forget(users []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range users {
		delete(d.known, u)
	}
}

// idBytes is how long an id must be: a push server drops in silence what is for
// one of another length.
const idBytes = 16

// target makes one of a public channel. Its errors tell no id.
func (a *account) target(c b24pull.PublicChannel) (target, error) {
	id, signature, _ := strings.Cut(string(c.PublicID), ".")
	if c.Signature != "" {
		signature = string(c.Signature)
	}
	if id == "" {
		return target{}, fmt.Errorf("the public channel of user %d has no id", c.UserID)
	}
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != idBytes {
		return target{}, fmt.Errorf("the public channel of user %d has an id that is not %d hexadecimal digits", c.UserID, 2*idBytes)
	}
	signed, err := hex.DecodeString(signature)
	if err != nil || len(signed) == 0 {
		return target{}, fmt.Errorf("the public channel of user %d has no hexadecimal signature", c.UserID)
	}
	until := a.ours(c.End)
	if until.IsZero() {
		until = time.Now().Add(unknownEnd)
	}
	return target{wire.Receiver{ID: raw, Signature: signed}, until}, nil
}

// given is a public channel that the caller names.
func (a *account) given(c b24pull.PublicChannel) (target, error) {
	t, err := a.target(c)
	if err == nil && !c.End.IsZero() && time.Now().After(t.until.Add(spare)) {
		err = fmt.Errorf("the public channel of user %d has ended, %v", c.UserID, c.End.UTC().Format(time.RFC3339))
	}
	return t, err
}
