package oauth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/internal/redact"
)

const (
	// unpaidPause is how long PAYMENT_REQUIRED is believed.
	unpaidPause = time.Minute
	// probePause is how long a token that was refreshed for a doubtful callback
	// counts as alive: anybody can send such a callback. ErrUndecided tells of
	// it.
	probePause = time.Minute
	// freshFirst and freshLast are the shortest and the longest time before a
	// token is refreshed again that a portal has refused in the very call it
	// was refreshed for. The time doubles with each such token, until one has
	// lasted for twice freshLast.
	freshFirst = time.Minute
	freshLast  = 15 * time.Minute
	// refreshBurst is how many refreshes there are at once for other refusals,
	// and refreshEvery how long another one takes to be allowed.
	refreshBurst = 10
	refreshEvery = time.Minute
)

// A keyState is what a process knows of the token of a key.
type keyState struct {
	tokens *Tokens
	key    string
	gone   chan struct{} // closed when the token is deleted
	users  int           // guarded by Tokens.mu; a state in use stays

	mu      sync.Mutex
	token   *Token   // was in the store as well; nil: not read yet
	flight  *flight  // the refresh underway
	pending *pending // could not be stored, or is just being stored
	unpaid  *unpaid
	fresh   fresh

	confirmed *pending // confirmed; whether it may replace the stored token is not decided

	lastProbe time.Time // when a doubtful callback was last found to be none of the portal's
	suspect   identity  // a stored token whose installation may have ended
}

// pending is a token that is not stored yet.
type pending struct {
	token   *Token
	before  identity // the stored token that it replaces
	claimed string   // the refresh token of the callback that it came from
}

// lockedState is a state whose key is locked in the store. Only Tokens.locked
// hands one out, so what needs the lock is a method of it. It reads and writes
// the token by what was locked: the store may have no connection left beside.
type lockedState struct {
	*keyState
	held LockedToken
}

// identity tells tokens apart; its zero value is no token's.
type identity struct{ access, refresh string }

func (t *Token) identity() identity {
	if t == nil {
		return identity{}
	}
	return identity{t.AccessToken, t.RefreshToken}
}

// unpaid is a refusal that ends when the portal pays.
type unpaid struct {
	refresh string
	err     error
	until   time.Time
}

// fresh is what refreshes have brought. A portal that refuses tokens as fast as
// they come would otherwise have the authorization server asked for as many.
type fresh struct {
	access   string // of the last
	at       time.Time
	rejected bool          // the portal has refused it at once
	wait     time.Duration // after the last that was
	others   pace.Pace     // of refreshes for other refusals
}

// renewed notes a refresh.
func (f *fresh) renewed(t *Token, now time.Time) {
	if !f.rejected && now.Sub(f.at) >= 2*freshLast {
		f.wait = 0
	}
	f.others.Note(now)
	f.access, f.at, f.rejected = t.AccessToken, now, false
}

// reject notes that the portal has refused a token in the call it was refreshed
// for.
func (f *fresh) reject(access string) {
	if f.access == access && !f.rejected {
		f.rejected, f.wait = true, min(max(2*f.wait, freshFirst), freshLast)
	}
}

// refuse returns an error if a token is not to be refreshed again yet.
func (f *fresh) refuse(t *Token, now time.Time) error {
	if !t.Expiry.IsZero() && now.After(t.Expiry) {
		return nil
	}
	next := f.others.Next()
	if rejected := f.at.Add(f.wait); f.access == t.AccessToken && f.rejected && next.Before(rejected) {
		next = rejected
	}
	if !now.Before(next) {
		return nil
	}
	return fmt.Errorf("%w; the next refresh is %v away at the least", b24pull.ErrTokenRejected, next.Sub(now).Round(time.Second))
}

// reject is told that the portal has refused a token in the call it was
// refreshed for.
func (e *keyState) reject(access string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fresh.reject(access)
}

func (e *keyState) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended() {
		close(e.gone)
	}
}

func (e *keyState) ended() bool {
	select {
	case <-e.gone:
		return true
	default:
		return false
	}
}

// idle reports whether nothing would be lost with the state.
func (e *keyState) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.token == nil && e.pending == nil && e.flight == nil && e.confirmed == nil
}

// latest returns the token that was read or stored last, nil before the first.
func (e *keyState) latest() (*Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return nil, b24pull.ErrUninstalled
	}
	return e.token, nil
}

// use takes a token that is in the store.
func (e *keyState) use(t *Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token = t
}

// suspects is told that the installation of a stored token may have ended.
func (e *keyState) suspects(stored identity) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.suspect = stored
}

// isSuspect reports whether the installation of a stored token may have ended.
func (e *keyState) isSuspect(stored *Token) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.suspect == stored.identity() || e.confirmed != nil && e.confirmed.before == stored.identity()
}

// paid ends the pause after PAYMENT_REQUIRED.
func (e *keyState) paid() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unpaid = nil
}

// stored reads the token from the store.
func (e *keyState) stored(ctx context.Context) (*Token, error) {
	return e.read(ctx, func(ctx context.Context) (*Token, error) { return e.tokens.store.Load(ctx, e.key) })
}

func (e lockedState) stored(ctx context.Context) (*Token, error) { return e.read(ctx, e.held.Load) }

func (e *keyState) read(ctx context.Context, load func(context.Context) (*Token, error)) (*Token, error) {
	if e.key == "" {
		return nil, fmt.Errorf("%w: the key is empty; give the one that the token was put under, like the portal's MemberID", b24pull.ErrNoToken)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	t, err := load(ctx)
	switch {
	case errors.Is(err, b24pull.ErrNoToken):
		return nil, fmt.Errorf("%w: its key is %q; have a user of the portal install, open or authorize the application", err, e.key)
	case err != nil:
		return nil, err
	case t == nil:
		return nil, errors.New("b24pull: the token store returned neither a token nor an error")
	}
	return t, nil
}

// current returns the token that counts, and a pending if it is not stored yet.
// The caller may change the token.
func (e *keyState) current(ctx context.Context) (*Token, *pending, error) {
	return e.counts(e.stored(ctx))
}

func (e lockedState) current(ctx context.Context) (*Token, *pending, error) {
	return e.counts(e.stored(ctx))
}

func (e *keyState) counts(t *Token, err error) (*Token, *pending, error) {
	if err != nil && !errors.Is(err, b24pull.ErrNoToken) {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.pending; p != nil && p.before == t.identity() {
		return p.token.clone(), p, nil
	}
	return t, nil, err
}

// settle returns the token that counts after it has seen to it that it is
// stored.
func (e lockedState) settle(ctx context.Context) (*Token, error) {
	t, p, err := e.current(ctx)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		e.use(t.clone())
		return t, nil
	}
	if err := e.save(ctx, p); err != nil && !t.Revoked {
		return nil, err
	}
	if p.claimed != "" && p.before == (identity{}) {
		e.suspects(t.identity()) // there may have been another one that was deleted
	}
	return t, nil
}

// save stores a token. If that fails, for whatever reason, the token is kept.
func (e lockedState) save(ctx context.Context, p *pending) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	t := p.token
	e.mu.Lock()
	// A new token that is to replace the very one that is saved now is still to
	// do so.
	older := e.pending
	newer := older != nil && older.before == t.identity() && older.token.identity() != t.identity()
	if !newer {
		e.pending = p
	}
	e.mu.Unlock()
	if err := e.held.Save(ctx, t.clone()); err != nil {
		known := redact.Redactor{}.With(t.secrets()...)
		if older != nil {
			known = known.With(older.token.secrets()...)
		}
		return &StoreError{known.Error(err)}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !newer {
		e.pending = nil
	}
	e.token, e.unpaid = t, nil
	return nil
}

// renew refreshes the token that counts and stores the new one, or that there
// is none any more.
func (e lockedState) renew(ctx context.Context, old *Token) (*Token, error) {
	if old.Revoked {
		return nil, &b24pull.TokenError{Code: "invalid_grant"}
	}
	e.mu.Lock()
	u := e.unpaid
	e.mu.Unlock()
	if u != nil && u.refresh == old.RefreshToken && time.Now().Before(u.until) {
		return nil, u.err
	}
	next, err := e.tokens.app.Refresh(ctx, old)
	switch {
	case errors.Is(err, b24pull.ErrInvalidGrant):
		dead := old.clone()
		dead.Revoked = true
		// Kept if that fails. If the lock is lost another may have refreshed
		// the token, and this one is dead because of that.
		if lost := e.save(ctx, &pending{token: dead, before: old.identity()}); errors.Is(lost, ErrLockLost) {
			return nil, lost
		}
		return nil, err
	case errors.Is(err, b24pull.ErrPaymentRequired):
		e.mu.Lock()
		e.unpaid = &unpaid{old.RefreshToken, err, time.Now().Add(unpaidPause)}
		e.mu.Unlock()
		return nil, err
	case err != nil:
		return nil, err
	}
	e.mu.Lock()
	e.fresh.renewed(next, time.Now())
	e.mu.Unlock()
	return next, e.save(ctx, &pending{token: next.clone(), before: old.identity()})
}

// remove deletes the token.
func (e lockedState) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := e.held.Delete(ctx); err != nil {
		return err
	}
	e.tokens.forget(e.keyState)
	return nil
}
