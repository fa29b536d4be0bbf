package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// locked holds the lock of a key. The end of ctx ends only the waiting for it.
// If the lock is lost, do is done once more under another one: what it could
// not store is pending, and another may have stored something else.
func (ts *Tokens) locked(ctx context.Context, key string, do func(lockedState) error) error {
	err := ts.lockedOnce(ctx, key, do)
	if !errors.Is(err, ErrLockLost) {
		return err
	}
	began := false
	again := ts.lockedOnce(ctx, key, func(e lockedState) error {
		began = true
		return do(e)
	})
	if began {
		return again
	}
	return err
}

func (ts *Tokens) lockedOnce(ctx context.Context, key string, do func(lockedState) error) error {
	held, err := ts.lock(ctx, key)
	if err != nil {
		return err
	}
	defer held.Unlock()
	e := ts.acquire(key)
	defer ts.release(e)
	return do(lockedState{e, held})
}

// lock waits for the lock. Of this process only one at a time asks the store
// for that of a key, whom all others wait behind. The store's context lives
// until Unlock: a database may tie a lock to it.
func (ts *Tokens) lock(ctx context.Context, key string) (LockedToken, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	living, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	late := fmt.Errorf("b24pull: nobody has released the lock of %q within %v: %w", key, lockTimeout, context.DeadlineExceeded)
	timer := time.AfterFunc(lockTimeout, func() { cancel(late) })
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	held, err := ts.lockInTurn(living, key)
	inTime := timer.Stop()
	inTime = stop() && inTime
	switch {
	case err == nil && inTime:
		return &turnLocked{held, func() { cancel(nil) }}, nil
	case err == nil:
		held.Unlock()
		err = cmp.Or(ctx.Err(), late)
	case !inTime && !errors.Is(err, cmp.Or(ctx.Err(), late)):
		err = fmt.Errorf("%w; %w", err, cmp.Or(ctx.Err(), late))
	}
	cancel(nil)
	return nil, err
}

func (ts *Tokens) lockInTurn(ctx context.Context, key string) (held LockedToken, err error) {
	leave, err := ts.locks.enter(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() {
		if held == nil {
			leave() // also if the store panics
		}
	}()
	locked, err := ts.store.Lock(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case locked == nil:
		return nil, errors.New("b24pull: the token store returned neither a lock nor an error")
	}
	return &turnLocked{locked, leave}, nil
}

// A turnLocked does something when its lock has been released.
type turnLocked struct {
	LockedToken
	after func()
}

// Unlock releases the lock.
func (l *turnLocked) Unlock() {
	defer l.after()
	l.LockedToken.Unlock()
}
