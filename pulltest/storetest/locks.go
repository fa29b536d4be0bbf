package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/oauth"
)

// checkExclusion: one at a time holds a key, whichever store value locks it,
// and finds what the one before has saved.
func checkExclusion(b *bench) {
	const stores, goroutines, rounds = 3, 2, 5
	key, ctx := b.key(), b.ctx()
	first := token("counts")
	first.UserID = 0
	b.put(b.open(), key, first)
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range stores {
		store := b.open()
		for range goroutines {
			all.Go(func() {
				for range rounds {
					held, err := store.Lock(ctx, key)
					if err != nil {
						b.Errorf("Lock: %v", err)
						return
					}
					if now := inside.Add(1); now > most.Load() {
						most.Store(now)
					}
					t, err := held.Load(ctx)
					if err == nil {
						t.UserID++
						time.Sleep(time.Millisecond)
						err = held.Save(ctx, t)
					}
					inside.Add(-1)
					held.Unlock()
					if err != nil {
						b.Errorf("under the lock: %v", err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	got, err := b.open().Load(ctx, key)
	if err != nil || got.UserID != stores*goroutines*rounds || most.Load() > 1 {
		b.Errorf("%d have held the lock at once, and counted to %v, %v; want 1 and %d", most.Load(), got, err, stores*goroutines*rounds)
		if err == nil {
			b.Errorf("counted to %d", got.UserID)
		}
	}
}

// checkOtherKeys: who holds a key is in nobody's way at another one, in the
// same process and in others.
func checkOtherKeys(b *bench) {
	store, other, ctx := b.open(), b.open(), b.ctx()
	held := b.lock(ctx, store, b.key())
	defer held.Unlock()
	for _, s := range []oauth.TokenStore{store, other} {
		next := b.lock(ctx, s, b.key())
		if err := next.Save(ctx, token("other")); err != nil {
			b.Errorf("Save while another key is locked: %v", err)
		}
		next.Unlock()
	}
}

// checkContext: the end of a context ends the waiting for a lock, with its
// error, and who waited so does not get it later.
func checkContext(b *bench) {
	store, other, key := b.open(), b.open(), b.key()
	held := b.lock(b.ctx(), store, key)
	for _, s := range []oauth.TokenStore{store, other} {
		ctx, cancel := context.WithCancel(b.Context())
		waited := make(chan error, 1)
		go func() {
			got, err := s.Lock(ctx, key)
			if err == nil {
				got.Unlock()
			}
			waited <- err
		}()
		select {
		case err := <-waited:
			b.Errorf("Lock of a key that is held returned %v", err)
			waited <- context.Canceled
		case <-time.After(200 * time.Millisecond): // it waits, or has not come so far
		}
		cancel()
		select {
		case err := <-waited:
			if !errors.Is(err, context.Canceled) {
				b.Errorf("Lock returned %v; want the context's error", err)
			}
		case <-time.After(patience):
			b.Fatalf("Lock still waits, although its context has ended")
		}
	}
	held.Unlock()
	for _, s := range []oauth.TokenStore{other, store} {
		b.lock(b.ctx(), s, key).Unlock()
	}
}

// checkUnlock: who has released a lock does nothing under it any more, and does
// not release another one's.
func checkUnlock(b *bench) {
	store, other, key, ctx := b.open(), b.open(), b.key(), b.ctx()
	kept := token("kept")
	b.put(store, key, kept)
	held := b.lock(ctx, store, key)
	held.Unlock()
	for _, s := range []oauth.TokenStore{store, other} {
		next := b.lock(ctx, s, key)
		held.Unlock()
		brief, cancel := context.WithTimeout(b.Context(), 200*time.Millisecond)
		if third, err := other.Lock(brief, key); err == nil {
			b.Errorf("a second Unlock has released another's lock")
			third.Unlock()
		}
		cancel()
		_, loaded := held.Load(ctx)
		for what, err := range map[string]error{"Load": loaded, "Save": held.Save(ctx, token("late")), "Delete": held.Delete(ctx)} {
			if !errors.Is(err, oauth.ErrLockLost) {
				b.Errorf("%s after Unlock: %v; want oauth.ErrLockLost", what, err)
			}
		}
		got, err := next.Load(ctx)
		b.want("after what was done without the lock", got, err, kept)
		next.Unlock()
	}
}

// checkNested: eight hold a lock each, and then want another one and to load:
// so Tokens confirms callbacks. A store whose locks hold something that there
// are eight of stops here.
func checkNested(b *bench) {
	store, ctx := b.open(), b.ctx()
	const callbacks = 8
	var held, all sync.WaitGroup
	held.Add(callbacks)
	for range callbacks {
		all.Go(func() {
			key := b.key()
			first, err := store.Lock(ctx, key+"+")
			held.Done()
			if err != nil {
				b.Errorf("Lock: %v", err)
				return
			}
			defer first.Unlock()
			held.Wait()
			got, err := store.Load(ctx, key)
			b.wantNone("Load while eight locks are held", got, err)
			second, err := store.Lock(ctx, key)
			if err != nil {
				b.Errorf("Lock while eight locks are held: %v", err)
				return
			}
			defer second.Unlock()
			if err := second.Save(ctx, token("callback")); err != nil {
				b.Errorf("Save while eight locks are held: %v", err)
			}
		})
	}
	all.Wait()
}

// checkLoads: while one saves others load, whoever has the key locked, and each
// gets one token or another and no mixture.
func checkLoads(b *bench) {
	store, other, key, ctx := b.open(), b.open(), b.key(), b.ctx()
	var tokens []*oauth.Token
	for _, name := range []string{"a", "bb", "ccc"} {
		tokens = append(tokens, token(name))
	}
	b.put(store, key, tokens[0])
	held := b.lock(ctx, store, key)
	defer held.Unlock()
	saved := make(chan struct{})
	var all sync.WaitGroup
	for _, s := range []oauth.TokenStore{store, store, other} {
		all.Go(func() {
			for loads := 0; ; loads++ {
				got, err := s.Load(ctx, key)
				if err != nil || got == nil {
					b.Errorf("Load while a token is saved: %v", err)
					return
				}
				whole := false
				for _, t := range tokens {
					whole = whole || string(got.Raw()) == string(t.Raw())
				}
				if !whole {
					b.Errorf("Load while a token is saved returned a token that nobody has saved")
					return
				}
				select {
				case <-saved:
					return
				default:
				}
			}
		})
	}
	for i := range 30 {
		if err := held.Save(ctx, tokens[i%len(tokens)]); err != nil {
			b.Errorf("Save: %v", err)
			break
		}
	}
	close(saved)
	all.Wait()
}

// maxTurns is how often one may have a lock while another waits for it.
const maxTurns = 200

// checkTurns: who waits for a lock gets it, although another comes again and
// again. How often it came is told.
func checkTurns(b *bench) {
	store, other, key := b.open(), b.open(), b.key()
	ctx, cancel := context.WithCancel(b.ctx())
	defer cancel()
	held := b.lock(ctx, store, key)
	got := make(chan error, 1)
	go func() {
		waited, err := other.Lock(ctx, key)
		if err == nil {
			waited.Unlock()
		}
		got <- err
	}()
	time.Sleep(50 * time.Millisecond) // so that it waits
	turns := 0
	for ; turns < maxTurns; turns++ {
		time.Sleep(time.Millisecond)
		held.Unlock()
		held = b.lock(ctx, store, key)
		select {
		case err := <-got:
			held.Unlock()
			if err != nil {
				b.Errorf("Lock: %v", err)
			}
			b.Logf("who waits for a lock gets it after another has had it %d times", turns+1)
			return
		default:
		}
	}
	held.Unlock()
	cancel()
	<-got
	b.Errorf("who waits for a lock does not get it while another has had it %d times", turns)
}
