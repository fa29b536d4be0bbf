package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"golang.org/x/time/rate"
)

// An app is the application: the tokens of the portals that have installed it,
// and a subscription to each.
type app struct {
	*config
	tokens *oauth.Tokens
	say    func(format string, args ...any)
	logger *slog.Logger

	exchanging chan struct{} // has a place for each code that is exchanged
	codes      *rate.Limiter // of codes that are exchanged

	mu       sync.Mutex
	portals  map[string]*portal // by member id
	stopping bool
}

// errStopping refuses portals that come while the program ends. Their tokens
// are kept.
var errStopping = errors.New("the application is stopping")

// start subscribes to a portal whose token is stored, if it is not subscribed
// to.
func (a *app) start(ctx context.Context, member string) error {
	token, err := a.tokens.Get(ctx, member)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.stopping:
		return errStopping
	case a.portals[member].running():
		return nil
	}
	p, err := a.newPortal(member, token.Portal)
	if err != nil {
		return err
	}
	a.portals[member] = p
	go func() {
		p.run()
		if !p.anew {
			return
		}
		if err := a.start(context.Background(), member); err != nil {
			p.say("%v", err)
		}
	}()
	return nil
}

// rests reports whether a subscription that has ended is not begun again for a
// form: that has brought no other token, and less than a minute has passed.
// Anybody can send forms.
func (a *app) rests(ctx context.Context, member string, before *oauth.Token) bool {
	now, err := a.tokens.Get(ctx, member)
	if err != nil || now.AccessToken != before.AccessToken {
		return false
	}
	p := a.portal(member)
	return p != nil && !p.running() && time.Since(p.began) < time.Minute
}

// portal returns that of a member, nil if there is none.
func (a *app) portal(member string) *portal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.portals[member]
}

// uninstalled waits for the end of the subscription of a portal whose token was
// deleted.
func (a *app) uninstalled(ctx context.Context, member string) error {
	if p := a.portal(member); p != nil {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := a.start(ctx, member) // if it was installed again meanwhile
	if errors.Is(err, b24pull.ErrNoToken) {
		return nil
	}
	return err
}

// errOtherUser refuses the token of a user while another's is good: any user of
// the portal can authorize.
var errOtherUser = refusal{errors.New("there is a good token of another user"), http.StatusForbidden,
	"The application listens to this portal with the access of another user already. Only that user can renew it here; " +
		"if it does not work any more, open the application in the portal."}

// keep stores the token that a code was exchanged for, in place of one that is
// refused or the same user's.
func (a *app) keep(ctx context.Context, token *oauth.Token) error {
	err := a.tokens.Update(ctx, token.MemberID, func(t *oauth.Token) error {
		if !t.Revoked && (t.UserID == 0 || t.UserID != token.UserID) {
			return errOtherUser
		}
		token.ApplicationToken = t.ApplicationToken // a code brings none
		*t = *token
		return nil
	})
	if errors.Is(err, b24pull.ErrNoToken) {
		token.ApplicationToken = a.applicationToken
		err = a.tokens.Put(ctx, token.MemberID, token)
	}
	return err
}

// complete gives a new token the application_token of the config, which a form
// does not bring.
func (a *app) complete(ctx context.Context, member string) error {
	if a.applicationToken == "" {
		return nil
	}
	return a.tokens.Update(ctx, member, func(t *oauth.Token) error {
		t.ApplicationToken = a.applicationToken
		return nil
	})
}

// drain ends all subscriptions when what they have received is handled, and
// waits for refreshes.
func (a *app) drain(ctx context.Context) error {
	a.mu.Lock()
	a.stopping = true
	portals := slices.Collect(maps.Values(a.portals))
	a.mu.Unlock()
	for _, p := range portals {
		p.sub.Drain(ctx)
	}
	for _, p := range portals {
		<-p.ended
	}
	if err := a.tokens.Wait(ctx); err != nil {
		return fmt.Errorf("a token was being refreshed and may be lost: %w", err)
	}
	return nil
}
