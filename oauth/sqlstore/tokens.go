package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// tokens is a Store as an oauth.TokenStore.
type tokens struct{ store *Store }

// Load reads the token.
func (t tokens) Load(ctx context.Context, key string) (*oauth.Token, error) {
	name, err := column(key)
	if err != nil {
		return nil, err
	}
	var text sql.NullString
	err = t.store.do(ctx, "load the token", func(ctx context.Context) error {
		err := t.store.db.QueryRowContext(ctx, t.store.text.load(), name).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return b24pull.ErrNoToken
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return decode(text.String)
}

func decode(text string) (*oauth.Token, error) {
	t := new(oauth.Token)
	if err := t.UnmarshalJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("sqlstore: load the token: %w", err)
	}
	return t, nil
}

// A locked is a key whose row in the table of locks has the holder's mark.
type locked struct {
	store        *Store
	name, holder string
	stop         func() // ends the prolonging and releases the lock
	released     atomic.Bool
}

// Load reads the token, if the lock is held.
func (l *locked) Load(ctx context.Context) (*oauth.Token, error) {
	text, err := l.look(ctx)
	if err != nil {
		return nil, err
	}
	if !text.Valid {
		return nil, b24pull.ErrNoToken
	}
	return decode(text.String)
}

// look returns the token's text, and ErrLockLost if the lock is not held.
func (l *locked) look(ctx context.Context) (text sql.NullString, err error) {
	err = l.do(ctx, "load the token", func(ctx context.Context) error {
		err := l.store.db.QueryRowContext(ctx, l.store.text.loadHeld(), l.name, l.holder).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return oauth.ErrLockLost
		}
		return err
	})
	return text, err
}

// Save writes the token, if the lock is held.
func (l *locked) Save(ctx context.Context, t *oauth.Token) error {
	text := string(t.Raw())
	return l.do(ctx, "save the token", func(ctx context.Context) error {
		n, err := count(l.store.db.ExecContext(ctx, l.store.text.saveHeld(), text, l.name, l.holder))
		if err == nil && n == 0 {
			return oauth.ErrLockLost
		}
		return err
	}, text, t.AccessToken, t.RefreshToken, string(t.ApplicationToken))
}

// Delete deletes the token, if the lock is held.
func (l *locked) Delete(ctx context.Context) error {
	gone := int64(0)
	err := l.do(ctx, "delete the token", func(ctx context.Context) (err error) {
		gone, err = count(l.store.db.ExecContext(ctx, l.store.text.removeHeld(), l.name, l.holder))
		return err
	})
	if err != nil || gone > 0 {
		return err
	}
	_, err = l.look(ctx) // there was none, or the lock is lost
	return err
}

func (l *locked) do(ctx context.Context, what string, ask func(context.Context) error, secrets ...string) error {
	if l.released.Load() {
		return oauth.ErrLockLost
	}
	return l.store.do(ctx, what, ask, secrets...)
}

// Unlock releases the lock once.
func (l *locked) Unlock() {
	if !l.released.Swap(true) {
		l.stop()
	}
}
