package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/b24pull/b24pull/oauth"
)

// brokenLocks are stores whose locks are not what is asked of them.
var brokenLocks = []struct {
	check, what string
	store       func(good oauth.TokenStore) oauth.TokenStore
}{
	{"exclusion", "no lock at all", unlocked},
	{"other keys", "one lock for all", func(good oauth.TokenStore) oauth.TokenStore {
		all := new(oauth.MemoryStore)
		return locking(good, func(ctx context.Context, _ string) (func(), error) {
			held, err := all.Lock(ctx, "all")
			if err != nil {
				return nil, err
			}
			return held.Unlock, nil
		})
	}},
	{"context", "waits in spite of its context", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*patience) // or the test would not end
			defer cancel()
			return good.Lock(brief, key)
		}}
	}},
	{"context", "another error than the context's", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			held, err := good.Lock(ctx, key)
			if err != nil {
				return nil, errRefused
			}
			return held, nil
		}}
	}},
	{"context", "who has waited gets it later", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			type result struct {
				held oauth.LockedToken
				err  error
			}
			got := make(chan result, 1)
			go func() {
				brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*patience)
				defer cancel()
				held, err := good.Lock(brief, key)
				got <- result{held, err}
			}()
			select {
			case r := <-got:
				return r.held, r.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
	}},
	{"context", "does not wait", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			brief, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return good.Lock(brief, key)
		}}
	}},
	{"unlock", "saves after Unlock", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(key string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				if err := held.Save(ctx, t); !errors.Is(err, oauth.ErrLockLost) {
					return err
				}
				return nil
			}}
		})
	}},
	{"unlock", "another error than ErrLockLost", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(key string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{load: func(ctx context.Context) (*oauth.Token, error) {
				t, err := held.Load(ctx)
				if errors.Is(err, oauth.ErrLockLost) {
					err = errRefused
				}
				return t, err
			}}
		})
	}},
	{"unlock", "a second Unlock releases another's lock", func(good oauth.TokenStore) oauth.TokenStore {
		var mu sync.Mutex
		holders := make(map[string]oauth.LockedToken)
		return with(good, func(key string, held oauth.LockedToken) *fakeLocked {
			mu.Lock()
			defer mu.Unlock()
			holders[key] = held
			return &fakeLocked{unlock: func() {
				mu.Lock()
				defer mu.Unlock()
				holders[key].Unlock()
			}}
		})
	}},
	{"locks in locks", "a connection for each lock, of a pool of eight", func(good oauth.TokenStore) oauth.TokenStore {
		pool := make(chan struct{}, 8)
		return locking(good, func(ctx context.Context, _ string) (func(), error) {
			select {
			case pool <- struct{}{}:
				return func() { <-pool }, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
	}},
	{"load while saved", "Load waits for the lock", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, load: func(ctx context.Context, key string) (*oauth.Token, error) {
			held, err := good.Lock(ctx, key)
			if err != nil {
				return nil, err
			}
			defer held.Unlock()
			return held.Load(ctx)
		}}
	}},
	{"load while saved", "a token that is saved in two halves", func(good oauth.TokenStore) oauth.TokenStore {
		store := with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				half, err := held.Load(ctx)
				if err != nil {
					return held.Save(ctx, t)
				}
				half.AccessToken = t.AccessToken
				if err := held.Save(ctx, half); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				return held.Save(ctx, t)
			}}
		}).(*fake)
		store.load = func(ctx context.Context, key string) (*oauth.Token, error) {
			time.Sleep(time.Millisecond / 10) // time is virtual, and passes where all sleep
			return good.Load(ctx, key)
		}
		return store
	}},
	{"turns", "who waits looks once in a while", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
			for {
				brief, cancel := context.WithTimeout(ctx, time.Millisecond)
				held, err := good.Lock(brief, key)
				cancel()
				if err == nil {
					return held, nil
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(10 * time.Second):
				}
			}
		}}
	}},
}

// unlocked is a store whose locks keep nobody out.
func unlocked(good oauth.TokenStore) oauth.TokenStore {
	return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
		do := func(f func(oauth.LockedToken) error) error {
			held, err := good.Lock(ctx, key)
			if err != nil {
				return err
			}
			defer held.Unlock()
			return f(held)
		}
		return &fakeLocked{
			load: func(ctx context.Context) (*oauth.Token, error) { return good.Load(ctx, key) },
			save: func(ctx context.Context, t *oauth.Token) error {
				return do(func(held oauth.LockedToken) error { return held.Save(ctx, t) })
			},
			del: func(ctx context.Context) error {
				return do(func(held oauth.LockedToken) error { return held.Delete(ctx) })
			},
			unlock: func() {},
		}, nil
	}}
}

// locking is a store that locks something else before a key.
func locking(good oauth.TokenStore, first func(ctx context.Context, key string) (func(), error)) oauth.TokenStore {
	return &fake{TokenStore: good, lock: func(ctx context.Context, key string) (oauth.LockedToken, error) {
		release, err := first(ctx, key)
		if err != nil {
			return nil, err
		}
		held, err := good.Lock(ctx, key)
		if err != nil {
			release()
			return nil, err
		}
		return &fakeLocked{LockedToken: held, unlock: sync.OnceFunc(func() { held.Unlock(); release() })}, nil
	}}
}
