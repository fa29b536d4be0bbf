package oauth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/gate"
	"golang.org/x/oauth2"
)

// A flight is work with a token that is not to be broken off. Several may wait
// for it.
type flight struct {
	done  chan struct{}
	token *Token
	err   error

	clocks gate.Clocks // of those who wait

	// Of a refresh, guarded by the state's mu:
	waiting int                // how many wait
	begun   bool               // its turn among other requests has come
	cancel  context.CancelFunc // ends the waiting for that
}

// takeOff and land keep the flights that Wait waits for.
func (ts *Tokens) takeOff() *flight {
	f := &flight{done: make(chan struct{})}
	ts.air.Lock()
	ts.flights[f] = struct{}{}
	ts.air.Unlock()
	return f
}

func (ts *Tokens) land(f *flight) {
	ts.air.Lock()
	delete(ts.flights, f)
	ts.air.Unlock()
	close(f.done)
}

// present returns the token.
func (e *keyState) present(ctx context.Context) (*oauth2.Token, error) {
	t, err := e.latest()
	if err == nil && t == nil {
		t, err = e.load(ctx)
	}
	if err != nil {
		return nil, err
	}
	return bare(t), nil
}

// load reads the token from the store. Whoever has put one meanwhile is right.
func (e *keyState) load(ctx context.Context) (*Token, error) {
	t, err := e.stored(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return nil, b24pull.ErrUninstalled
	}
	if e.token == nil {
		e.token = t
	}
	return e.token, nil
}

// bare is what goes out: a copy.
func bare(t *Token) *oauth2.Token { return new(t.Token) }

// reload returns another token than one that the portal does not know, if the
// store has one, and nil if not: another process may have installed the
// application again, or the installation has ended unseen.
func (e *keyState) reload(ctx context.Context, unknown *oauth2.Token) (*oauth2.Token, error) {
	t, err := e.stored(ctx)
	switch {
	case errors.Is(err, b24pull.ErrNoToken):
		return nil, e.missing(err)
	case err != nil:
		return nil, nil // the portal's refusal says more than an error of the store
	case t.AccessToken == unknown.AccessToken:
		e.suspects(t.identity())
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ended():
		return nil, b24pull.ErrUninstalled
	case e.token == nil || e.token.AccessToken == unknown.AccessToken:
		e.token = t
	}
	return bare(e.token), nil
}

func (e *keyState) refresh(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		f, newer, err := e.join(ctx, refused)
		if err != nil || newer != nil {
			return newer, err
		}
		if !e.await(ctx, f) {
			return nil, ctx.Err()
		}
		if _, err := e.latest(); err != nil {
			return nil, err
		}
		switch {
		case f.err != nil:
			return nil, f.err
		case refused == nil || f.token.AccessToken != refused.AccessToken:
			return bare(f.token), nil
		} // it had begun before this token was refused
	}
}

// join returns the refresh underway, after it has begun one if there is none.
// There is nothing to refresh for somebody whose token is an older one: that
// one gets the newer.
func (e *keyState) join(ctx context.Context, refused *oauth2.Token) (*flight, *oauth2.Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ended():
		return nil, nil, b24pull.ErrUninstalled
	case e.flight != nil:
		e.flight.waiting++
		return e.flight, nil, nil
	case e.token != nil && (refused == nil || e.token.AccessToken != refused.AccessToken):
		return nil, bare(e.token), nil
	}
	f := e.tokens.takeOff()
	f.waiting = 1
	e.flight = f
	on := f.clocks.Context(context.WithoutCancel(ctx))
	var turn context.Context
	turn, f.cancel = context.WithCancel(on)
	server := e.server()
	go func() {
		defer e.tokens.land(f)
		defer f.cancel()
		place, err := gate.Reserve(turn, gate.REST, server)
		if f.err = err; err == nil && e.begins(f) {
			f.token, f.err = e.fly(place.For(on), refused)
		}
		place.Leave()
		e.mu.Lock()
		if e.flight == f {
			e.flight = nil
		}
		e.mu.Unlock()
		e.tokens.drop(e)
	}()
	return f, nil, nil
}

// server is the host that refreshes are asked of. mu is held.
func (e *keyState) server() string {
	named := ""
	if e.token != nil {
		named = e.token.ServerEndpoint
	}
	if server, err := e.tokens.app.serverFor(named); err == nil {
		return server.Host
	}
	return ""
}

// begins reports whether somebody still waits for a flight whose turn has come.
func (e *keyState) begins(f *flight) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.begun = e.flight == f
	return f.begun
}

// await waits for a flight that was joined, and reports false if ctx ends
// before. The turn of a flight that nobody waits for need not come.
func (e *keyState) await(ctx context.Context, f *flight) bool {
	leave := f.clocks.Join(ctx)
	defer leave()
	select {
	case <-f.done:
		return true
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.waiting--; f.waiting == 0 && !f.begun && e.flight == f {
		e.flight = nil
		f.cancel()
	}
	return false
}

// fly refreshes under the store's lock. It does not panic: nobody could recover
// it.
func (e *keyState) fly(ctx context.Context, refused *oauth2.Token) (t *Token, err error) {
	defer func() {
		if v := recover(); v != nil {
			t, err = nil, panicError(v)
		}
	}()
	if err = e.tokens.mustHave(ctx, e.key); err == nil {
		err = e.tokens.locked(ctx, e.key, func(held lockedState) (err error) {
			if _, err = e.latest(); err == nil {
				t, err = held.next(ctx, refused)
			}
			return err
		})
	}
	if errors.Is(err, b24pull.ErrNoToken) {
		return nil, e.missing(err)
	}
	return t, err
}

// missing ends a state whose token another process has deleted. It had one
// before.
func (e *keyState) missing(err error) error {
	if t, ended := e.latest(); t == nil && ended == nil {
		return err
	}
	e.tokens.forget(e)
	return b24pull.ErrUninstalled
}

// panicError tells of a panic no more than its type: what it says may hold a
// secret.
func panicError(v any) error {
	if err, ok := v.(runtime.Error); ok {
		return fmt.Errorf("b24pull: the token store or the HTTP client panicked: %w", err)
	}
	return fmt.Errorf("b24pull: the token store or the HTTP client panicked with a %T", v)
}

// next returns the token to use after the refused one; it is in the store. What
// another process has put there is it already, unless it is too old as well.
func (e lockedState) next(ctx context.Context, refused *oauth2.Token) (*Token, error) {
	t, err := e.settle(ctx)
	switch {
	case err != nil:
		return nil, err
	case refused == nil:
		return t, nil
	case t.AccessToken == refused.AccessToken:
		e.mu.Lock()
		err := e.fresh.refuse(t, time.Now())
		e.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return e.renew(ctx, t)
	case !t.Expiry.IsZero() && time.Now().After(t.Expiry):
		return e.renew(ctx, t)
	}
	return t, nil
}
