package oauth

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
)

// ErrUndecided is the error of a callback that is neither refused nor done: it
// asks whether the stored token is dead, and less than a minute ago it was
// alive. Handle it again a minute later.
var ErrUndecided = errors.New("b24pull: less than a minute ago the installation had not ended; handle the callback again in a minute")

// Handle does what a callback asks of the tokens, under the portal's MemberID
// as the key:
//
//   - The form of a user's installing or opening the application stores its
//     token if there is none, or one that is Revoked or dead. If there is a
//     good one nothing happens: any user of the portal can send a form, and nil
//     does not say that this one is genuine. Do not take a user for somebody
//     because of it. Whether the token is dead is asked only if the portal has
//     answered b24pull.ErrNoAuth to a call with it, with a source of the same
//     Tokens (a process that only handles callbacks does not learn that), and
//     of a portal's first token that could not be stored at once.
//   - ONAPPINSTALL stores its token, in place of another one only if it brings
//     the application_token that came with that, or if that one is dead; where
//     none has come with that, as a form and a code bring none, also if it is
//     for the same user. An application that knows its application_token from
//     elsewhere stores it with Update. For a portal that has no token yet the
//     first callback is believed.
//   - ONAPPUNINSTALL deletes the token, if it brings the application_token, or
//     if the token is dead. That is asked where no application_token has come
//     with it, and where a form would ask.
//   - Any other event only has its application_token verified: nil says that it
//     comes from the portal.
//
// A token that comes is refreshed before it is stored: the authorization server
// then vouches for it, for the portal's address and for its MemberID, whoever
// sent the callback. Of what that does not tell, or not in a form that can be
// read, nothing loses the token: the address stays that of the stored token, or
// is https on the host that the callback names. Where there is no
// application_token to tell whether an installation has ended, the stored token
// is refreshed: it is dead if that is b24pull.ErrInvalidGrant. Then it is
// marked as Revoked. As anybody can send callbacks, this is asked again only a
// minute after it was found alive.
//
// What strangers send does not keep a refresh out: it waits for one such
// callback at most, as what a token that comes is worth is asked for before the
// key is locked. A process asks about 8 callbacks at once, and one a portal,
// and about 60 without a distance, then one a second; others wait in turn, half
// a minute at most and no longer than ctx lives, and too many of them are
// ErrBusy at once. What brings the portal's application_token does not wait for
// what does not.
//
// What Handle has begun to ask it ends, within its own bounds of some minutes,
// also when ctx ends: a portal that hangs up would cost a token. Wait waits for
// it.
//
// Errors: ErrApplicationToken; ErrUndecided; ErrBusy; b24pull.ErrNoToken for an
// event of a portal that is not known; those of Application.Refresh; a
// *StoreError if the token could not be stored, which Handle does first when it
// gets the same or another callback; and those of the store. If Handle could
// not learn whether the stored token is dead, it keeps the other one in memory
// for the same callback to come again, and a form asks too. After ErrUndecided
// and ErrBusy the same callback can come again. After any other error its token
// may be spent: a user has to open the application once more.
func (ts *Tokens) Handle(ctx context.Context, c *Callback) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g, err := ts.glance(ctx, c)
	if g.done || err != nil {
		return err
	}
	if err := c.checkToken(); err != nil {
		return err
	}
	leave, err := ts.admit(ctx, c.MemberID, g.proven)
	if err != nil {
		return err
	}
	defer leave()
	defer ts.land(ts.takeOff())
	return ts.settle(ctx, c)
}

// A glance is what can be told of a callback without the lock and the
// authorization server.
type glance struct {
	done   bool
	proven bool // it brings the application_token of the portal
}

// glance does what needs no lock, and refuses what nothing else can help.
func (ts *Tokens) glance(ctx context.Context, c *Callback) (glance, error) {
	e := ts.acquire(c.MemberID)
	defer ts.release(e)
	t, unstored, err := e.current(ctx)
	installation := c.Installed() || c.Uninstalled()
	switch {
	case errors.Is(err, b24pull.ErrNoToken) && (installation || c.Event == ""):
		return glance{}, nil
	case err != nil:
		return glance{}, err
	case c.Event == "":
		return glance{done: !t.Revoked && unstored == nil && !e.isSuspect(t)}, nil
	}
	refusal := c.Verify(t.ApplicationToken)
	switch {
	case !installation && refusal == nil:
		e.paid()
		return glance{done: true}, nil
	case !installation:
		return glance{}, refusal
	case refusal == nil:
		return glance{proven: true}, nil
	case unstored != nil || !e.tells(t):
	case c.Installed() && e.probedLately():
		return glance{}, ErrUndecided // what it brings is not spent
	case c.Uninstalled() && !ts.deciding(c.MemberID): // nor is another installation underway
		return glance{}, refusal
	}
	return glance{}, nil
}

// errUnconfirmed says that the token of a callback has to be confirmed first.
var errUnconfirmed = errors.New("b24pull: the token of the callback is not confirmed")

// settle decides about a callback. The key is not locked while its token is
// confirmed, and what was known of the portal is looked at anew afterwards. A
// key that has no token is not locked before.
func (ts *Tokens) settle(ctx context.Context, c *Callback) error {
	on := context.WithoutCancel(ctx)
	err := errUnconfirmed
	switch none := ts.mustHave(ctx, c.MemberID); {
	case none == nil:
		err = ts.locked(ctx, c.MemberID, func(e lockedState) error { return e.handle(on, c, nil) })
	case !errors.Is(none, b24pull.ErrNoToken):
		return none
	case c.Uninstalled():
		e := ts.acquire(c.MemberID)
		defer ts.release(e)
		ts.forget(e)
		return nil
	}
	if !errors.Is(err, errUnconfirmed) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	confirmed, err := ts.app.confirm(on, c.Token)
	if err != nil {
		return err
	}
	locked := false
	err = ts.locked(on, c.MemberID, func(e lockedState) error {
		locked = true
		return e.handle(on, c, confirmed)
	})
	if !locked {
		ts.remember(on, c, confirmed)
	}
	return err
}

// remember keeps a confirmed token where the key could not be locked.
func (ts *Tokens) remember(ctx context.Context, c *Callback, confirmed *Token) {
	e := ts.acquire(c.MemberID)
	defer ts.release(e)
	stored, err := e.stored(ctx)
	if err != nil {
		stored = nil
	}
	confirmed.ApplicationToken = c.ApplicationToken
	e.consider(&pending{token: confirmed, before: stored.identity(), claimed: c.Token.RefreshToken}, nil)
}

// handle decides about a callback. confirmed is what the authorization server
// has said of the token of the callback, nil before it was asked.
func (e lockedState) handle(ctx context.Context, c *Callback, confirmed *Token) error {
	e.mu.Lock()
	again := e.pending != nil && e.pending.claimed != "" && c.Token != nil && e.pending.claimed == c.Token.RefreshToken
	e.mu.Unlock()
	stored, err := e.settle(ctx)
	switch {
	case err != nil && !errors.Is(err, b24pull.ErrNoToken):
		return err
	case stored == nil && c.Uninstalled():
		e.tokens.forget(e.keyState)
		return nil
	case c.Uninstalled():
		return e.uninstall(ctx, c, stored)
	case stored != nil && again:
		e.suspects(identity{})
		return nil
	case stored != nil && !stored.Revoked && c.Event == "":
		if !e.isSuspect(stored) {
			return nil
		}
		if alive, err := e.alive(ctx, stored); alive || err != nil {
			return err
		}
	}
	return e.install(ctx, c, confirmed, stored)
}

// tells reports whether nothing but its application_token says what comes from
// the portal.
func (e *keyState) tells(stored *Token) bool {
	return stored.ApplicationToken != "" && !stored.inherited && !stored.Revoked && !e.isSuspect(stored)
}

func (e lockedState) uninstall(ctx context.Context, c *Callback, stored *Token) error {
	if refusal := c.Verify(stored.ApplicationToken); refusal != nil {
		if e.tells(stored) {
			return refusal
		}
		if alive, err := e.alive(ctx, stored); alive || err != nil {
			return cmp.Or(err, refusal)
		}
	}
	return e.remove(ctx)
}

// install stores the token of a callback, once it is confirmed. confirmed and
// stored may be nil.
func (e lockedState) install(ctx context.Context, c *Callback, confirmed, stored *Token) error {
	e.mu.Lock()
	candidate := e.confirmed
	e.mu.Unlock()
	if candidate != nil && candidate.claimed == c.Token.RefreshToken {
		confirmed = candidate.token
	}
	if confirmed == nil {
		return errUnconfirmed
	}
	t, err := e.tokens.app.fit(confirmed, c.Token, stored)
	if err != nil {
		return err
	}
	t.ApplicationToken = c.ApplicationToken
	p := &pending{token: t, before: stored.identity(), claimed: c.Token.RefreshToken}
	if stored != nil {
		if err := e.replaces(ctx, c, t, stored); err != nil {
			e.consider(p, err)
			return err
		}
		if t.ApplicationToken == "" {
			from := stored
			if candidate != nil && candidate.before == p.before {
				from = candidate.token
			}
			t.ApplicationToken, t.inherited = from.ApplicationToken, from.ApplicationToken != ""
		}
	}
	e.consider(nil, nil)
	return e.save(ctx, p)
}

// consider keeps a confirmed token for the next callback to decide, unless it
// was refused: it cannot be confirmed again.
func (e *keyState) consider(p *pending, err error) {
	if errors.Is(err, ErrApplicationToken) {
		p = nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.confirmed = p
}

// replaces reports whether a confirmed token may take the place of the stored
// one. That any user of the portal can get one is not enough.
func (e lockedState) replaces(ctx context.Context, c *Callback, t, stored *Token) error {
	refusal := c.Verify(stored.ApplicationToken)
	if refusal == nil {
		return nil
	}
	if same := t.UserID != 0 && t.UserID == stored.UserID; same && (stored.ApplicationToken == "" || stored.inherited) {
		return nil
	}
	if alive, err := e.alive(ctx, stored); alive || err != nil {
		return cmp.Or(err, refusal)
	}
	return nil
}

// probedLately reports whether the stored token was found alive just before.
func (e *keyState) probedLately() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.lastProbe.IsZero() && time.Since(e.lastProbe) < probePause
}

// alive reports whether the installation of the stored token has not ended,
// ErrUndecided if that was asked just before. It asks by refreshing it: there
// is no other way to learn that.
func (e lockedState) alive(ctx context.Context, stored *Token) (bool, error) {
	switch {
	case stored.Revoked:
		return false, nil
	case e.probedLately():
		return true, ErrUndecided
	}
	_, err := e.renew(ctx, stored)
	if errors.Is(err, b24pull.ErrInvalidGrant) {
		stored.Revoked = true // as it is in the store
		return false, nil
	}
	if err == nil {
		e.mu.Lock()
		e.lastProbe = time.Now()
		e.mu.Unlock()
	}
	return err == nil, err
}

// confirm refreshes a token of which nothing is believed but that it may be
// one. What the authorization server then says of it counts.
func (a *Application) confirm(ctx context.Context, claimed *Token) (*Token, error) {
	t, err := a.refresh(ctx, claimed)
	if err == nil && t.MemberID != "" && t.MemberID != claimed.MemberID {
		return nil, errOtherPortal
	}
	return t, err
}

var errOtherPortal = badCallback("b24pull: callback: the token is another portal's")

// fit makes of a confirmed token one to be stored. It is believed to be of the
// member that the callback names if the authorization server does not name any:
// whoever has sent that held a token of the application. But not if the server
// names another portal than the stored token's, which may be nil, or without
// one than the callback's.
func (a *Application) fit(confirmed, claimed, stored *Token) (*Token, error) {
	t := confirmed.clone()
	portal := addr.Portal(claimed.Portal)
	if stored != nil {
		portal = cmp.Or(addr.Portal(stored.Portal), portal)
	}
	if t.MemberID != claimed.MemberID && t.Portal != portal && t.Portal != "" {
		return nil, errOtherPortal
	}
	t.MemberID, t.Portal = claimed.MemberID, cmp.Or(t.Portal, portal)
	if a.namedServer(claimed.ServerEndpoint) != nil {
		t.ServerEndpoint = cmp.Or(t.ServerEndpoint, claimed.ServerEndpoint)
	}
	return t, nil
}
