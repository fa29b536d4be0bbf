package b24pull

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// ErrUninstalled is the error of a TokenSource whose token was deleted: the portal
// has removed the application, or Tokens.Delete was called.
var ErrUninstalled = errors.New("b24pull: the token was deleted; the application may have been uninstalled")

// storeTimeout bounds what is done with a store where no context does, refreshTimeout
// a refresh, which no caller's context may break off.
const (
	storeTimeout   = 30 * time.Second
	refreshTimeout = time.Minute
)

// Tokens keeps the tokens of an application in a TokenStore, each under a key, and
// refreshes them when a portal has refused them; never before, as Bitrix24 asks. The key
// is the portal's MemberID where Handle stores a token; an application that needs
// tokens of several users makes keys of its own. Tokens is safe for concurrent use, and
// so are several of them, in one process or in many, with one store.
type Tokens struct {
	app   *Application
	store TokenStore

	mu      sync.Mutex
	entries map[string]*entry
}

// NewTokens checks the application and does no I/O.
func NewTokens(app *Application, store TokenStore) (*Tokens, error) {
	if _, err := app.check(); err != nil {
		return nil, err
	}
	if store == nil {
		return nil, errors.New("b24pull: NewTokens: the store is nil")
	}
	return &Tokens{app: app, store: store, entries: make(map[string]*entry)}, nil
}

// Format names the application and tells no secret, whatever the verb.
func (ts *Tokens) Format(f fmt.State, verb rune) {
	writeRedacted(f, verb, "b24pull.Tokens("+ts.app.ClientID+")")
}

// entry returns that of a key.
func (ts *Tokens) entry(key string) *entry {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	e := ts.entries[key]
	if e == nil {
		e = &entry{tokens: ts, key: key, gone: make(chan struct{})}
		ts.entries[key] = e
	}
	return e
}

// forget ends an entry; its key may get another one.
func (ts *Tokens) forget(e *entry) {
	ts.mu.Lock()
	if ts.entries[e.key] == e {
		delete(ts.entries, e.key)
	}
	ts.mu.Unlock()
	e.end()
}

// Get returns the stored token of a key, or an error that is ErrNoToken.
func (ts *Tokens) Get(ctx context.Context, key string) (*Token, error) {
	return ts.store.Load(ctx, key)
}

// Put stores a token under a key, in place of an older one, for the sources of the key to
// use. Only a token that is to be trusted belongs there: what Exchange or Refresh
// returned is, what came with a callback is not.
func (ts *Tokens) Put(ctx context.Context, key string, t *Token) error {
	if t == nil || t.AccessToken == "" {
		return errors.New("b24pull: Put: the token is empty")
	}
	return ts.locked(ctx, key, func() error { return ts.put(ctx, key, t) })
}

// put needs the lock.
func (ts *Tokens) put(ctx context.Context, key string, t *Token) error {
	if err := ts.store.Save(ctx, key, t); err != nil {
		return err
	}
	ts.entry(key).use(t)
	return nil
}

// Update changes the stored token of a key, as with a new Portal after a move. No
// refresh comes in between.
func (ts *Tokens) Update(ctx context.Context, key string, change func(*Token) error) error {
	return ts.locked(ctx, key, func() error {
		t, err := ts.store.Load(ctx, key)
		if err != nil {
			return err
		}
		if err := change(t); err != nil {
			return err
		}
		return ts.put(ctx, key, t)
	})
}

// Delete forgets the token of a key. The key's sources fail with ErrUninstalled at
// once and for good; a token that is put there later is for new ones.
func (ts *Tokens) Delete(ctx context.Context, key string) error {
	ts.forget(ts.entry(key))
	return ts.locked(ctx, key, func() error {
		ts.forget(ts.entry(key)) // a source that was made meanwhile
		return ts.store.Delete(ctx, key)
	})
}

func (ts *Tokens) locked(ctx context.Context, key string, do func() error) error {
	unlock, err := ts.store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	return do()
}

// Source returns a source of the key's token for OAuth. It does no I/O.
func (ts *Tokens) Source(key string) *TokenSource { return &TokenSource{ts.entry(key)} }

// Wait waits for the refreshes underway. A process that ends without loses a token
// if it is just being answered.
func (ts *Tokens) Wait(ctx context.Context) error {
	ts.mu.Lock()
	var flights []*flight
	for _, e := range ts.entries {
		if f := e.underway(); f != nil {
			flights = append(flights, f)
		}
	}
	ts.mu.Unlock()
	for _, f := range flights {
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TokenSource is a TokenRefresher of Tokens. All sources of a key share what they
// know.
type TokenSource struct{ entry *entry }

var _ TokenRefresher = (*TokenSource)(nil)

// Format names the application and the key and tells no secret, whatever the
// verb.
func (s *TokenSource) Format(f fmt.State, verb rune) {
	writeRedacted(f, verb, "b24pull.TokenSource("+s.entry.tokens.app.ClientID+", "+s.entry.key+")")
}

// Token returns the present token, however old: the portal tells when to refresh it.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.entry.present(ctx)
}

// Refresh returns another token than the refused one. Whoever comes with a token
// that is not the present one gets that. Else the token is refreshed, once for all who
// wait, and stored before anybody gets it. The end of a caller's context ends its
// waiting, not the refresh.
//
// Errors: ErrUninstalled; ErrInvalidGrant and ErrPaymentRequired, which are final: the
// same refresh token is not sent again by this process, so only a token that is put
// into the store ends them; those of Application.Refresh; and a *StoreError if the new
// token could not be stored.
func (s *TokenSource) Refresh(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	return s.entry.refresh(ctx, refused)
}

// Context returns a context that ends with ErrUninstalled as its cause when the
// token is deleted through the same Tokens: for a subscription that has to end with
// the application.
func (s *TokenSource) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		select {
		case <-s.entry.gone:
			cancel(ErrUninstalled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// A StoreError says that a new token could not be stored. It is kept in memory and
// not used; the next refresh stores it first. If the process ends before that, the
// token is lost.
type StoreError struct{ cause error }

// Error names the cause and the way out.
func (e *StoreError) Error() string {
	return fmt.Sprintf("b24pull: the refreshed token could not be stored: %v; it is kept in memory: make the store work and call again "+
		"before the process ends, or else have a user open or authorize the application again", e.cause)
}

// Unwrap returns the store's error.
func (e *StoreError) Unwrap() error { return e.cause }
