package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// An advisory is a store as one writes it first: a lock is PostgreSQL's own, of
// a connection that is taken out of the pool for it.
type advisory struct{ db *sql.DB }

func newAdvisory(t *testing.T, pool int) *advisory {
	t.Helper()
	db, err := sql.Open("pgx", newPostgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(pool)
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE own_tokens (k text PRIMARY KEY, v text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return &advisory{db}
}

// asks is what a pool and a connection have in common.
type asks interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func (s *advisory) Load(ctx context.Context, key string) (*oauth.Token, error) {
	return loadOwn(ctx, s.db, key)
}

func loadOwn(ctx context.Context, by asks, key string) (*oauth.Token, error) {
	var text string
	err := by.QueryRowContext(ctx, "SELECT v FROM own_tokens WHERE k = $1", key).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, b24pull.ErrNoToken
	}
	if err != nil {
		return nil, err
	}
	t := new(oauth.Token)
	return t, t.UnmarshalJSON([]byte(text))
}

func (s *advisory) Lock(ctx context.Context, key string) (oauth.LockedToken, error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.ExecContext(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", key); err != nil {
		c.Close()
		return nil, err
	}
	return &advisoryLocked{c, key}, nil
}

// advisoryLocked asks by the connection that the lock belongs to.
type advisoryLocked struct {
	c   *sql.Conn
	key string
}

func (l *advisoryLocked) Load(ctx context.Context) (*oauth.Token, error) {
	return loadOwn(ctx, l.c, l.key)
}

func (l *advisoryLocked) Save(ctx context.Context, t *oauth.Token) error {
	_, err := l.c.ExecContext(ctx, "INSERT INTO own_tokens VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = $2", l.key, string(t.Raw()))
	return err
}

func (l *advisoryLocked) Delete(ctx context.Context) error {
	_, err := l.c.ExecContext(ctx, "DELETE FROM own_tokens WHERE k = $1", l.key)
	return err
}

func (l *advisoryLocked) Unlock() {
	l.c.ExecContext(context.Background(), "SELECT pg_advisory_unlock(hashtextextended($1, 0))", l.key)
	l.c.Close()
}

// TestAdvisory_Crowd: with a pool of ten, twenty that install at once do not
// wait for each other's connections for ever.
func TestAdvisory_Crowd(t *testing.T) {
	t.Parallel()
	s := newAuthServer(t)
	installAll(t, []*oauth.Tokens{s.tokens(t, newAdvisory(t, 10))}, 20)
}
