package b24pull

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/redact"
)

// An entry is what a process knows of the token of a key.
type entry struct {
	tokens *Tokens
	key    string
	gone   chan struct{} // closed when the token is deleted

	mu      sync.Mutex
	token   *Token  // in the store as well; nil: not read yet
	flight  *flight // the refresh underway
	unsaved *Token  // refreshed, but not stored
	spent   string  // a refresh token that was refused for good
	why     error   // how it was refused
}

// A flight is a refresh that several wait for.
type flight struct {
	done  chan struct{}
	token *Token
	err   error
}

func (e *entry) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended() {
		close(e.gone)
	}
}

func (e *entry) ended() bool {
	select {
	case <-e.gone:
		return true
	default:
		return false
	}
}

// use takes a token that is in the store.
func (e *entry) use(t *Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token, e.unsaved = new(*t), nil
}

func (e *entry) underway() *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flight
}

// known returns the token that was read or stored last, nil before the first.
func (e *entry) known() (*Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return nil, ErrUninstalled
	}
	return e.token, nil
}

// present returns the token.
func (e *entry) present(ctx context.Context) (*oauth2.Token, error) {
	t, err := e.known()
	if err == nil && t == nil {
		t, err = e.load(ctx)
	}
	if err != nil {
		return nil, err
	}
	return bare(t), nil
}

// load reads the token from the store. Whoever has put one meanwhile is right.
func (e *entry) load(ctx context.Context) (*Token, error) {
	t, err := e.tokens.store.Load(ctx, e.key)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return nil, ErrUninstalled
	}
	if e.token == nil {
		e.token = t
	}
	return e.token, nil
}

// bare is what goes out: a copy.
func bare(t *Token) *oauth2.Token { return new(t.Token) }

func (e *entry) refresh(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, newer, err := e.join(ctx, refused)
	if err != nil || newer != nil {
		return newer, err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if _, err := e.known(); err != nil {
		return nil, err
	}
	if f.err != nil {
		return nil, f.err
	}
	return bare(f.token), nil
}

// join returns the refresh underway, after it has begun one if there is none. There
// is nothing to refresh for somebody whose token is an older one: that one gets
// the newer.
func (e *entry) join(ctx context.Context, refused *oauth2.Token) (*flight, *oauth2.Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ended():
		return nil, nil, ErrUninstalled
	case e.token != nil && (refused == nil || e.token.AccessToken != refused.AccessToken):
		return nil, bare(e.token), nil
	case e.flight != nil:
		return e.flight, nil, nil
	}
	f := &flight{done: make(chan struct{})}
	e.flight = f
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
		defer cancel()
		f.token, f.err = e.fly(ctx, refused)
		e.mu.Lock()
		e.flight = nil
		e.mu.Unlock()
		close(f.done)
	}()
	return f, nil, nil
}

// fly refreshes under the store's lock.
func (e *entry) fly(ctx context.Context, refused *oauth2.Token) (*Token, error) {
	var t *Token
	err := e.tokens.locked(ctx, e.key, func() (err error) {
		if t, err = e.next(ctx, refused); err == nil {
			e.use(t)
		}
		return err
	})
	if errors.Is(err, ErrNoToken) {
		e.tokens.forget(e) // another process has deleted it
		return nil, ErrUninstalled
	}
	return t, err
}

// next returns the token to use after the refused one; it is in the store. What
// another process has put there, or is not the refused one for any other reason, is it
// already.
func (e *entry) next(ctx context.Context, refused *oauth2.Token) (*Token, error) {
	stored, err := e.tokens.store.Load(ctx, e.key)
	if err != nil {
		return nil, err
	}
	if refused == nil || stored.AccessToken != refused.AccessToken {
		return stored, nil
	}
	e.mu.Lock()
	next, spent, why := e.unsaved, e.spent, e.why
	e.mu.Unlock()
	if next == nil {
		if why != nil && spent == stored.RefreshToken {
			return nil, why
		}
		next, err = e.tokens.app.Refresh(ctx, stored)
		if errors.Is(err, ErrInvalidGrant) || errors.Is(err, ErrPaymentRequired) {
			e.mu.Lock()
			e.spent, e.why = stored.RefreshToken, err
			e.mu.Unlock()
		}
		if err != nil {
			return nil, err
		}
	}
	if err := e.tokens.store.Save(ctx, e.key, next); err != nil {
		e.mu.Lock()
		e.unsaved = next
		e.mu.Unlock()
		return nil, &StoreError{redact.Redactor(nil).With(next.AccessToken, next.RefreshToken).Error(err)}
	}
	return next, nil
}
