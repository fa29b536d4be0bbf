package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/oauth"
)

// A recorder is told of failures and keeps them from the test.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Logf(string, ...any) {}

// fails runs a check, and returns what it says.
func fails(tb testing.TB, check func(testing.TB)) []string {
	r := &recorder{TB: tb}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// failsInBubble is fails on virtual time, for stores that are in memory and made
// by check.
func failsInBubble(t *testing.T, check func(testing.TB)) (said []string) {
	synctest.Test(t, func(t *testing.T) {
		said = fails(t, check)
		time.Sleep(4 * patience) // what a store still waits for ends
	})
	return said
}

// An impatient test waits for a store so long, in place of a minute.
type impatient struct {
	testing.TB
	wait time.Duration
}

func (i impatient) Context() context.Context {
	ctx, cancel := context.WithTimeout(i.TB.Context(), i.wait)
	i.Cleanup(cancel)
	return ctx
}

// A fake is a store whose methods can be others.
type fake struct {
	oauth.TokenStore
	load func(ctx context.Context, key string) (*oauth.Token, error)
	lock func(ctx context.Context, key string) (oauth.LockedToken, error)
}

func (f *fake) Load(ctx context.Context, key string) (*oauth.Token, error) {
	if f.load != nil {
		return f.load(ctx, key)
	}
	return f.TokenStore.Load(ctx, key)
}

func (f *fake) Lock(ctx context.Context, key string) (oauth.LockedToken, error) {
	if f.lock != nil {
		return f.lock(ctx, key)
	}
	return f.TokenStore.Lock(ctx, key)
}

// A fakeLocked is a locked key whose methods can be others.
type fakeLocked struct {
	oauth.LockedToken
	load   func(ctx context.Context) (*oauth.Token, error)
	save   func(ctx context.Context, t *oauth.Token) error
	del    func(ctx context.Context) error
	unlock func()
}

func (f *fakeLocked) Load(ctx context.Context) (*oauth.Token, error) {
	if f.load != nil {
		return f.load(ctx)
	}
	return f.LockedToken.Load(ctx)
}

func (f *fakeLocked) Save(ctx context.Context, t *oauth.Token) error {
	if f.save != nil {
		return f.save(ctx, t)
	}
	return f.LockedToken.Save(ctx, t)
}

func (f *fakeLocked) Delete(ctx context.Context) error {
	if f.del != nil {
		return f.del(ctx)
	}
	return f.LockedToken.Delete(ctx)
}

func (f *fakeLocked) Unlock() {
	if f.unlock != nil {
		f.unlock()
		return
	}
	f.LockedToken.Unlock()
}

// with is a store whose locked keys have other methods.
func with(good oauth.TokenStore, change func(key string, held oauth.LockedToken) *fakeLocked) oauth.TokenStore {
	return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
		held, err := good.Lock(ctx, key)
		if err != nil {
			return nil, err
		}
		f := change(key, held)
		f.LockedToken = held
		return f, nil
	}}
}

// saving is a store that saves other tokens than it is given.
func saving(other func(*oauth.Token)) func(oauth.TokenStore) oauth.TokenStore {
	return func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				changed := *t
				other(&changed)
				return held.Save(ctx, &changed)
			}}
		})
	}
}

// renaming is a store that takes other keys than it is given.
func renaming(other func(key string) (string, error)) func(oauth.TokenStore) oauth.TokenStore {
	return func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{load: func(ctx context.Context, key string) (*oauth.Token, error) {
			name, err := other(key)
			if err != nil {
				return nil, err
			}
			return good.Load(ctx, name)
		}, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			name, err := other(key)
			if err != nil {
				return nil, err
			}
			return good.Lock(ctx, name)
		}}
	}
}

var errRefused = errors.New("refused")
