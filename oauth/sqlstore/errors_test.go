package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/oauth/sqlstore"
	"github.com/b24pull/b24pull/realtime"
	"github.com/jackc/pgx/v5/pgconn"
)

// save stores a token under a key.
func save(ctx context.Context, store oauth.TokenStore, key string, t *oauth.Token) error {
	held, err := store.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer held.Unlock()
	return held.Save(ctx, t)
}

// TestErrors_Open: what cannot be right is refused, with what would be.
func TestErrors_Open(t *testing.T) {
	t.Parallel()
	db := databases[1].pool(t, databases[1].place(t), 1)
	for _, tt := range []struct {
		dialect sqlstore.Dialect
		opt     sqlstore.Option
		says    string
	}{
		{0, nil, "give PostgreSQL or SQLite"},
		{7, nil, "Dialect(7) is no dialect"},
		{sqlstore.SQLite, sqlstore.WithPrefix(""), "lower case letters"},
		{sqlstore.SQLite, sqlstore.WithPrefix("x; DROP TABLE y"), "lower case letters"},
		{sqlstore.SQLite, sqlstore.WithPrefix("Upper_"), "lower case letters"},
		{sqlstore.SQLite, sqlstore.WithPrefix("a.b.c_"), "lower case letters"},
		{sqlstore.SQLite, sqlstore.WithPrefix("1_"), "lower case letters"},
		{sqlstore.SQLite, sqlstore.WithPrefix(strings.Repeat("x", 49)), "at most 48"},
		{sqlstore.SQLite, sqlstore.WithLease(time.Millisecond), "from 1s to 2m0s"},
		{sqlstore.SQLite, sqlstore.WithLease(time.Hour), "from 1s to 2m0s"},
		{sqlstore.SQLite, sqlstore.WithTimeout(0), "more than none"},
	} {
		var opts []sqlstore.Option
		if tt.opt != nil {
			opts = append(opts, tt.opt)
		}
		if s, err := sqlstore.Open(db, tt.dialect, opts...); s != nil || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v; want %q", tt.dialect, err, tt.says)
		}
	}
	if _, err := sqlstore.Open(nil, sqlstore.SQLite); err == nil || !strings.Contains(err.Error(), "the database is nil") {
		t.Errorf("nil: %v", err)
	}
}

// TestErrors_Tables: without its tables a store says how to get them. Several
// processes may make them at once, each prefix has its own.
func TestErrors_Tables(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		ctx, dsn := t.Context(), d.place(t)
		db := d.pool(t, dsn, 20)
		bare, err := sqlstore.Open(db, d.dialect)
		if err != nil {
			t.Fatal(err)
		}
		_, loaded := bare.Tokens().Load(ctx, "member1")
		_, locked := bare.Tokens().Lock(ctx, "member1")
		_, cursor := bare.Cursors("member1").Load(ctx)
		_, keys := bare.Keys(ctx)
		for _, err := range []error{loaded, locked, cursor, keys} {
			if err == nil || !strings.Contains(err.Error(), "CreateTables") {
				t.Errorf("without tables: %v", err)
			}
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { d.over(t, db) })
		}
		wg.Wait()
		prefix := "other_"
		if d.dialect == sqlstore.PostgreSQL {
			if _, err := db.ExecContext(ctx, "CREATE SCHEMA crm"); err != nil {
				t.Fatal(err)
			}
			prefix = "crm.other_"
		}
		other := d.over(t, db, sqlstore.WithPrefix(prefix))
		for n, s := range []*sqlstore.Store{bare, other} {
			for i, key := range []string{"member1", "Member 1%", fmt.Sprint("only", n)} {
				if err := save(ctx, s.Tokens(), key, tokenOf(t, fmt.Sprint("m", n), i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for n, s := range []*sqlstore.Store{bare, other} {
			if got, err := s.Tokens().Load(ctx, "member1"); err != nil || got.MemberID != fmt.Sprint("m", n) {
				t.Errorf("store %d: %v, %v", n, got, err)
			}
			keys, err := s.Keys(ctx)
			if text := strings.Join(keys, " "); err != nil || len(keys) != 3 || !strings.Contains(text, "Member 1%") || !strings.Contains(text, fmt.Sprint("only", n)) {
				t.Errorf("keys %q, %v", keys, err)
			}
		}
		if n := len(bare.Schema()); n != 3 {
			t.Errorf("%d statements", n)
		}
	})
}

// TestErrors_Keys: a key that is no key is refused, everywhere.
func TestErrors_Keys(t *testing.T) {
	t.Parallel()
	d := databases[1]
	s := d.store(t, d.place(t), 2)
	for key, says := range map[string]string{"": "the key is empty", strings.Repeat("x", 256): "256 bytes; 255 are the most"} {
		_, loaded := s.Tokens().Load(t.Context(), key)
		_, locked := s.Tokens().Lock(t.Context(), key)
		cursors := s.Cursors(key)
		at, cursor := cursors.Load(t.Context())
		for _, err := range []error{loaded, locked, cursor, cursors.Save(t.Context(), at)} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("a key of %d bytes: %v", len(key), err)
			}
		}
	}
}

// TestErrors_Secrets: the database shows a row that it refuses in its error;
// the store's error does not, nor does anything in it.
func TestErrors_Secrets(t *testing.T) {
	t.Parallel()
	d := databases[0]
	db := d.pool(t, d.place(t), 2)
	s := d.over(t, db)
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE b24pull_tokens ADD CHECK (token NOT LIKE '%member1%')"); err != nil {
		t.Fatal(err)
	}
	token := tokenOf(t, "member1", 0)
	_, err := db.ExecContext(t.Context(), "INSERT INTO b24pull_tokens VALUES ('member2', $1)", string(token.Raw()))
	if told := new(pgconn.PgError); !errors.As(err, &told) || !strings.Contains(told.Detail, mark) {
		t.Fatal("the database shows no secret: the test is for nothing")
	}
	err = save(t.Context(), s.Tokens(), "member1", token)
	if err == nil || !strings.Contains(err.Error(), "check constraint") {
		t.Errorf("the token is not refused: %v", err == nil)
	}
	if told := new(pgconn.PgError); errors.As(err, &told) {
		t.Error("the error holds that of the database, and with it the row")
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(text, mark) {
			t.Error("the error shows a secret")
		}
	}
}

// TestErrors_NoConnection: where others hold all connections of the pool, a
// call ends in its time and says what is missing.
func TestErrors_NoConnection(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.pool(t, d.place(t), 1)
		s := d.over(t, db)
		brief, err := sqlstore.Open(db, d.dialect, sqlstore.WithTimeout(200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		held, err := s.Tokens().Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		taken, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, loaded := brief.Tokens().Load(t.Context(), "member1")
		_, locked := brief.Tokens().Lock(t.Context(), "member2")
		_, cursor := brief.Cursors("member1").Load(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		saved := held.Save(ctx, tokenOf(t, "member1", 0))
		for what, err := range map[string]error{"Load": loaded, "Lock": locked, "Save": saved, "the cursor's Load": cursor} {
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "all 1 connections of the pool were in use") {
				t.Errorf("%s: %v", what, err)
			}
		}
		taken.Close()
		if err := held.Save(t.Context(), tokenOf(t, "member1", 0)); err != nil {
			t.Errorf("Save, once there is a connection: %v", err)
		}
		// Unlock does not reach the database, and so the row keeps the mark.
		if taken, err = db.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
		held.Unlock()
		taken.Close()
		if err := held.Save(t.Context(), tokenOf(t, "member1", 7)); !errors.Is(err, oauth.ErrLockLost) {
			t.Errorf("Save after Unlock: %v", err)
		}
	})
}

// TestErrors_Deadline: a database that does not come back, since another has
// its table locked, is waited for until the context's deadline.
func TestErrors_Deadline(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		s := d.store(t, dsn, 2)
		cursors := s.Cursors("member1")
		at, err := cursors.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.pool(t, dsn, 1).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin, lock := "BEGIN", "LOCK TABLE b24pull_cursors, b24pull_locks, b24pull_tokens"
		if d.dialect == sqlstore.SQLite {
			begin, lock = "BEGIN IMMEDIATE", "UPDATE b24pull_cursors SET saves = saves"
		}
		for _, statement := range []string{begin, lock} {
			if _, err := c.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		for what, call := range map[string]func(context.Context) error{
			"the cursor's Save": func(ctx context.Context) error { return cursors.Save(ctx, at) },
			"Lock":              func(ctx context.Context) error { _, err := s.Tokens().Lock(ctx, "member1"); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
		if _, err := c.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if err := cursors.Save(t.Context(), at); err != nil {
			t.Errorf("saved afterwards: %v", err)
		}
	})
}

// TestErrors_Damaged: a row that holds no token or no cursor is an error that
// shows nothing of it, and no missing one.
func TestErrors_Damaged(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.pool(t, d.place(t), 2)
		s := d.over(t, db)
		for _, statement := range []string{
			"INSERT INTO b24pull_tokens (name, token) VALUES ('member1', '{\"access_token\":\"" + mark + "')",
			"INSERT INTO b24pull_cursors (name, position, saves) VALUES ('member1', 'garbage', 1)",
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		_, loaded := s.Tokens().Load(t.Context(), "member1")
		if !errors.Is(loaded, b24pull.ErrInvalidConfig) || strings.Contains(loaded.Error(), mark) || errors.Is(loaded, b24pull.ErrNoToken) {
			t.Error("a damaged token is no error, or shown by it")
		}
		if at, err := s.Cursors("member1").Load(t.Context()); err == nil || !at.IsZero() || !strings.Contains(err.Error(), "delete it to start without a cursor") {
			t.Errorf("a damaged cursor: %v, %v", at, err)
		}
	})
}

// cursorOf are two cursors.
func cursorOf(t *testing.T, n int) (c realtime.Cursor) {
	t.Helper()
	text := []string{"1.AAAAAAAAAAAAAAAAgOLPqgYBAAAAFnXYug", "1.AAAAAAAAAAAAAAAAgOLPqgYCAAAAAwAAAM6Czs4"}[n]
	if err := c.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestErrors_SharedCursor: who finds that another has saved under the same key
// is told so, once, and goes on. Another key's saves are none of that.
func TestErrors_SharedCursor(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		s := d.store(t, d.place(t), 2)
		one, other, elsewhere := s.Cursors("member1"), s.Cursors("member1"), s.Cursors("member2")
		for _, store := range []realtime.CursorStore{one, other, elsewhere} {
			if _, err := store.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for n, step := range []struct {
			store realtime.CursorStore
			n     int
			well  bool
		}{{one, 0, true}, {one, 0, true}, {other, 1, false}, {other, 1, true}, {other, 0, true}, {elsewhere, 0, true}, {one, 1, false}, {one, 1, true}} {
			err := step.store.Save(t.Context(), cursorOf(t, step.n))
			if step.well && err != nil || !step.well && (err == nil || !strings.Contains(err.Error(), "another subscription")) {
				t.Errorf("save %d: %v", n, err)
			}
			got, loaded := s.Cursors("member1").Load(t.Context())
			if loaded != nil || step.well && step.store != elsewhere && got.String() != cursorOf(t, step.n).String() {
				t.Errorf("save %d: %v, %v is stored", n, got, loaded)
			}
		}
	})
}
