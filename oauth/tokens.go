package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/internal/redact"
	"golang.org/x/oauth2"
)

// What is done with a token is bounded step by step, where no context does: a
// step that has begun gets its time, however long the one before took, and a
// refresh that is to wait for its turn gets it from then on.
const (
	storeTimeout   = 30 * time.Second
	refreshTimeout = time.Minute
	// lockTimeout is longer than another process holds a lock.
	lockTimeout = 5 * time.Minute
)

// Tokens keeps the tokens of an application in a TokenStore, each under a key,
// and refreshes them when a portal has refused them; never before, as Bitrix24
// asks, except where Handle has to learn whether an installation has ended. The
// key is the portal's MemberID where Handle stores a token; an application that
// needs tokens of several users makes keys of its own. Tokens is safe for
// concurrent use, and so are several of them, in one process or in many, with
// one store.
type Tokens struct {
	app   *Application
	store TokenStore

	mu     sync.Mutex
	states map[string]*keyState // mu may be held when a state's is locked, not the other way

	air     sync.Mutex
	flights map[*flight]struct{}

	locks   queues // for the store's locks
	callers queues // whose callbacks are to be confirmed, by rank and key
	asking  queues // the authorization server about them, by rank
	spacing queues // for their distance
	apart   distance

	exchanging chan struct{} // has a place for each code that is exchanged
	codes      distance      // of codes
}

// NewTokens checks the application and does no I/O.
func NewTokens(app *Application, store TokenStore) (*Tokens, error) {
	if _, err := app.check(); err != nil {
		return nil, err
	}
	if store == nil {
		return nil, errors.New("b24pull: NewTokens: the store is nil")
	}
	return &Tokens{
		app: app, store: store, states: make(map[string]*keyState), flights: make(map[*flight]struct{}),
		locks: queues{places: 1}, callers: queues{places: 1, most: maxCallers}, asking: queues{places: maxAsking, most: maxWaiting},
		spacing: queues{places: 1}, apart: distance{pace: pace.Pace{Burst: askedAtOnce, Every: askDistance}},
		exchanging: make(chan struct{}, maxExchanging), codes: distance{pace: pace.Pace{Burst: askedAtOnce, Every: askDistance}},
	}, nil
}

// Application returns the application whose tokens they are.
func (ts *Tokens) Application() *Application { return ts.app }

// Format names the application and tells no secret, whatever the verb.
func (ts *Tokens) Format(f fmt.State, verb rune) {
	redact.Format(f, verb, "oauth.Tokens("+ts.app.ClientID+")")
}

// acquire returns the state of a key. It is to be released.
func (ts *Tokens) acquire(key string) *keyState {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	e := ts.states[key]
	if e == nil {
		e = &keyState{tokens: ts, key: key, gone: make(chan struct{})}
		e.fresh.others = pace.Pace{Burst: refreshBurst, Every: refreshEvery}
		ts.states[key] = e
	}
	e.users++
	return e
}

func (ts *Tokens) release(e *keyState) {
	ts.mu.Lock()
	e.users--
	ts.mu.Unlock()
	ts.drop(e)
}

// drop drops a state that nobody uses and that has nothing to keep.
func (ts *Tokens) drop(e *keyState) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if e.users == 0 && ts.states[e.key] == e && e.idle() {
		delete(ts.states, e.key)
	}
}

// forget ends a state; its key may get another one.
func (ts *Tokens) forget(e *keyState) {
	ts.mu.Lock()
	if ts.states[e.key] == e {
		delete(ts.states, e.key)
	}
	ts.mu.Unlock()
	e.end()
}

// Get returns the stored token of a key, or an error that is
// b24pull.ErrNoToken.
func (ts *Tokens) Get(ctx context.Context, key string) (*Token, error) {
	e := ts.acquire(key)
	defer ts.release(e)
	return e.stored(ctx)
}

// Put stores a token under a key, in place of an older one, for the sources of
// the key to use. Only a token that is to be trusted belongs there: what
// Exchange or Refresh returned is, what came with a callback is not. If it is
// another token with the same ApplicationToken, Handle does not take that for
// the portal's present one. The end of ctx ends the waiting for the key's lock,
// but does not break off what comes after. An error of the store is a
// *StoreError.
func (ts *Tokens) Put(ctx context.Context, key string, t *Token) error {
	if t == nil || t.AccessToken == "" {
		return errors.New("b24pull: Put: the token is empty")
	}
	if key == "" {
		return errors.New("b24pull: Put: the key is empty; give the one that the sources of the token are to have, like the portal's MemberID")
	}
	return ts.locked(ctx, key, func(e lockedState) error {
		before, err := e.stored(context.WithoutCancel(ctx))
		if err != nil {
			before = nil // whatever it is, it is replaced
		}
		next := t.clone()
		next.keep(before)
		return e.save(ctx, &pending{token: next, before: before.identity()})
	})
}

// Update changes the token of a key, as with a new Portal after a move. No
// refresh comes in between, and a refreshed token that could not be stored is
// changed and stored. Another token in place of this one is as with Put. The
// end of ctx ends the waiting for the key's lock, but does not break off what
// comes after. An error is b24pull.ErrNoToken, or change's own, or a
// *StoreError if the changed token could not be stored.
func (ts *Tokens) Update(ctx context.Context, key string, change func(*Token) error) error {
	if err := ts.mustHave(ctx, key); err != nil {
		return err
	}
	var changed *pending
	return ts.locked(ctx, key, func(e lockedState) error {
		t, p, err := e.current(context.WithoutCancel(ctx))
		switch {
		case err != nil:
			return err
		case p != nil && p == changed:
			return e.save(ctx, p) // the lock was lost
		}
		old, before := t.clone(), t.identity()
		if p != nil {
			before = p.before
		}
		if err := change(t); err != nil {
			return err
		}
		next := t.clone()
		next.keep(old)
		changed = &pending{token: next, before: before}
		return e.save(ctx, changed)
	})
}

// Delete forgets the token of a key. The key's sources that have had a token
// fail with b24pull.ErrUninstalled at once and for good; a token that is put
// there later is for new ones.
func (ts *Tokens) Delete(ctx context.Context, key string) error {
	e := ts.acquire(key)
	ts.forget(e) // its sources do not wait for the lock
	ts.release(e)
	if errors.Is(ts.mustHave(ctx, key), b24pull.ErrNoToken) {
		return nil
	}
	return ts.locked(ctx, key, func(e lockedState) error { return e.remove(ctx) })
}

// mustHave returns the error of a key that has no token, nor one that is still
// to be stored, or of which the store cannot tell. Such a key is not locked:
// anybody may have made it up, and its lock would leave something behind.
func (ts *Tokens) mustHave(ctx context.Context, key string) error {
	e := ts.acquire(key)
	defer ts.release(e)
	_, _, err := e.current(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(err, b24pull.ErrNoToken) && e.confirmed != nil {
		return nil
	}
	return err
}

// Source returns a source of the key's token for b24pull.OAuth. It does no I/O.
func (ts *Tokens) Source(key string) *TokenSource { return &TokenSource{tokens: ts, key: key} }

// Wait waits for the refreshes underway, and for Handle. A process that ends
// without loses a token if it is just being answered.
func (ts *Tokens) Wait(ctx context.Context) error {
	ts.air.Lock()
	flights := slices.Collect(maps.Keys(ts.flights))
	ts.air.Unlock()
	for _, f := range flights {
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// TokenSource is a b24pull.TokenReloader of Tokens. All sources of a key share
// what they know.
type TokenSource struct {
	tokens *Tokens
	key    string
	state  atomic.Pointer[keyState] // nil until there was a token
}

var _ b24pull.TokenReloader = (*TokenSource)(nil)

// Format names the application and the key and tells no secret, whatever the
// verb.
func (s *TokenSource) Format(f fmt.State, verb rune) {
	redact.Format(f, verb, "oauth.TokenSource("+s.tokens.app.ClientID+", "+s.key+")")
}

// withState keeps the state if it has a token: a key without one costs no memory.
func (s *TokenSource) withState(do func(*keyState) (*oauth2.Token, error)) (*oauth2.Token, error) {
	if e := s.state.Load(); e != nil {
		return do(e)
	}
	e := s.tokens.acquire(s.key)
	t, err := do(e)
	if t == nil && !errors.Is(err, b24pull.ErrUninstalled) || !s.state.CompareAndSwap(nil, e) {
		s.tokens.release(e)
	}
	return t, err
}

// Token returns the present token, however old: the portal tells when to
// refresh it.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.withState(func(e *keyState) (*oauth2.Token, error) { return e.present(ctx) })
}

// Refresh returns another token than the refused one. Whoever comes with a
// token that is not the present one gets that. Else the token is refreshed,
// once for all who wait, and stored before anybody gets it. The end of a
// caller's context ends its waiting, not the refresh; but one that waits for its
// turn among the requests of a fleet, and that nobody waits for any more, is not
// begun. The token's lock is taken after that turn has come: it is held for no
// longer than the refresh takes, unless it was waited for so long that the turn
// has passed.
//
// Errors: b24pull.ErrUninstalled, or b24pull.ErrNoToken if there was no token
// before; b24pull.ErrInvalidGrant, which is final for all processes with the
// store: the token is marked as Revoked there, and only another one ends it;
// b24pull.ErrPaymentRequired, after which the authorization server is asked
// again a minute later, or as soon as a token is stored or an event of the
// portal is verified; those of Application.Refresh; a *StoreError if the new
// token could not be stored; and one that says that tokens are refused as fast
// as they come. Where the portal refuses one in the very call it was refreshed
// for, the authorization server is asked again a minute later at the soonest,
// and up to a quarter of an hour if that goes on; otherwise after ten times
// once a minute.
func (s *TokenSource) Refresh(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	return s.withState(func(e *keyState) (*oauth2.Token, error) { return e.refresh(ctx, refused) })
}

// Rejected is told that the portal refused a token in the call it was refreshed
// for.
func (s *TokenSource) Rejected(t *oauth2.Token) {
	if e := s.state.Load(); e != nil {
		e.reject(t.AccessToken)
	}
}

// Reload is told that the portal does not know a token. It returns another one,
// if the store has one by now, and else nil. If the store has none any more it
// is b24pull.ErrUninstalled.
func (s *TokenSource) Reload(ctx context.Context, unknown *oauth2.Token) (*oauth2.Token, error) {
	return s.withState(func(e *keyState) (*oauth2.Token, error) { return e.reload(ctx, unknown) })
}

// Context returns a context that ends with b24pull.ErrUninstalled as its cause
// when the token is deleted through the same Tokens: for a subscription that
// has to end with the application.
func (s *TokenSource) Context(parent context.Context) (context.Context, context.CancelFunc) {
	e := s.state.Load()
	if e == nil {
		if e = s.tokens.acquire(s.key); !s.state.CompareAndSwap(nil, e) {
			s.tokens.release(e)
			e = s.state.Load()
		}
	}
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		select {
		case <-e.gone:
			cancel(b24pull.ErrUninstalled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// A StoreError says that a token could not be stored. It is kept in memory and
// not used; the next refresh, Update or Handle of its key stores it first. If
// the process ends before that, the token is lost, and a refresh of the one
// before may be b24pull.ErrInvalidGrant.
type StoreError struct{ cause error }

// Error names the cause and the way out.
func (e *StoreError) Error() string {
	return fmt.Sprintf("b24pull: the token could not be stored: %v; it is kept in memory: make the store work and call again "+
		"before the process ends, or else have a user open or authorize the application again", e.cause)
}

// Unwrap returns the store's error.
func (e *StoreError) Unwrap() error { return e.cause }

// Class returns Unavailable.
func (e *StoreError) Class() b24pull.Class { return b24pull.ClassUnavailable }

// Repeatable reports true, whatever the call is: nothing is sent again but to
// the store.
func (e *StoreError) Repeatable() bool { return true }
