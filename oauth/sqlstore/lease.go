package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/b24pull/b24pull/oauth"
)

const (
	// poll is how often a lock is looked at, give or take a half: those who
	// wait should not keep step.
	poll = 50 * time.Millisecond
	// pause is long enough for all others to look.
	pause = 2 * poll
	// releaseTime is how long Unlock may take. Where it fails the lease ends by
	// itself.
	releaseTime = 3 * time.Second
)

// Lock waits until the key's row is free and puts a mark of its own there. Who
// waits holds no connection while he does. Where somebody else waits for it,
// who has had the lock just before waits a moment, for that one to get it first.
func (t tokens) Lock(ctx context.Context, key string) (oauth.LockedToken, error) {
	s := t.store
	name, err := column(key)
	if err != nil {
		return nil, err
	}
	if err := s.turns.wait(ctx, name); err != nil {
		return nil, waited(key, err)
	}
	l := &locked{store: s, name: name, holder: rand.Text()}
	if err := l.take(ctx, key); err != nil {
		return nil, err
	}
	stop := l.prolong(context.WithoutCancel(ctx))
	l.stop = func() {
		stop()
		if l.giveBack(ctx) {
			s.turns.passed(name)
		}
	}
	return l, nil
}

func waited(key string, err error) error {
	return fmt.Errorf("sqlstore: somebody else holds the lock of %q: %w", key, err)
}

// take waits for the lock.
func (l *locked) take(ctx context.Context, key string) error {
	s := l.store
	for {
		if err := ctx.Err(); err != nil {
			return waited(key, context.Cause(ctx))
		}
		got := int64(0)
		err := s.do(ctx, "lock the token", func(ctx context.Context) (err error) {
			got, err = count(s.db.ExecContext(ctx, s.text.take(), l.name, l.holder, s.lease.Milliseconds()))
			return err
		})
		switch {
		case err != nil:
			go l.giveBack(ctx) // it may have been taken, and the answer lost
			return err
		case got > 0:
			return nil
		}
		for held := true; held; {
			if !sleep(ctx, poll/2+mathrand.N(poll)) {
				return waited(key, context.Cause(ctx))
			}
			if held, err = l.held(ctx); err != nil {
				return err
			}
		}
	}
}

// held reports whether somebody holds the lock, and tells him that it is
// waited for. To look is cheaper than to take it, which locks all of an SQLite
// database.
func (l *locked) held(ctx context.Context) (held bool, err error) {
	db, text := l.store.db, l.store.text
	err = l.store.do(ctx, "lock the token", func(ctx context.Context) error {
		told := 0
		err := db.QueryRowContext(ctx, text.held(), l.name).Scan(&told)
		held = err == nil
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err == nil && told == 0:
			_, err = db.ExecContext(ctx, text.want(), l.name)
		}
		return err
	})
	return held, err
}

// prolong prolongs the lease until stop is called, or somebody else has it. A
// connection may hang until its time is over, so that of a try is short enough
// for several.
func (l *locked) prolong(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	s := l.store
	try := func() (n int64, err error) {
		ctx, cancel := context.WithTimeout(ctx, s.lease/4)
		defer cancel()
		err = s.do(ctx, "hold the lock", func(ctx context.Context) (err error) {
			n, err = count(s.db.ExecContext(ctx, s.text.prolong(), s.lease.Milliseconds(), l.name, l.holder))
			return err
		})
		return n, err
	}
	go func() {
		defer close(done)
		for wait := s.lease / 3; sleep(ctx, wait); {
			switch n, err := try(); {
			case err != nil:
				wait = s.lease / 30 // Save tells if that is too late
			case n == 0:
				return
			default:
				wait = s.lease / 3
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// giveBack takes the mark off, and reports whether somebody waits.
func (l *locked) giveBack(ctx context.Context) (wanted bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_ = l.store.do(ctx, "release the lock", func(ctx context.Context) error {
		waits := 0
		err := l.store.db.QueryRowContext(ctx, l.store.text.release(), l.name, l.holder).Scan(&waits)
		wanted = waits > 0
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return wanted
}

// turns remembers the locks that were released within the last pause.
type turns struct {
	mu       sync.Mutex
	released map[string]time.Time
}

func (t *turns) passed(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.released == nil {
		t.released = make(map[string]time.Time)
	}
	maps.DeleteFunc(t.released, func(_ string, at time.Time) bool { return time.Since(at) > pause })
	t.released[name] = time.Now()
}

// wait waits while it is the others' turn.
func (t *turns) wait(ctx context.Context, name string) error {
	t.mu.Lock()
	at, ok := t.released[name]
	t.mu.Unlock()
	if left := pause - time.Since(at); ok && left > 0 && !sleep(ctx, left) {
		return context.Cause(ctx)
	}
	return nil
}
