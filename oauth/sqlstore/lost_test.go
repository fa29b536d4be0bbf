package sqlstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/pgtest"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/oauth/sqlstore"
)

// TestLost_Connections: the server ends all connections while the authorization
// server answers, and again while the token is saved for the first time. The
// token is stored all the same, and nobody else has refreshed it meanwhile.
func TestLost_Connections(t *testing.T) {
	t.Parallel()
	d, dsn := databases[0], pgtest.Start(t, "pgx").URL() // whose connections are nobody else's
	admin := d.pool(t, dsn, 1)
	s := newAuthServer(t)
	s.mu.Lock()
	s.after = func(int) {
		var ended int
		err := admin.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`).Scan(&ended)
		if err != nil || ended == 0 {
			t.Errorf("%d connections ended, %v", ended, err)
		}
	}
	s.mu.Unlock()
	one, other := s.tokens(t, d.store(t, dsn, 10).Tokens()), s.tokens(t, d.store(t, dsn, 10).Tokens())
	first := tokenOf(t, "member1", 0)
	if err := one.Put(t.Context(), "member1", first); err != nil {
		t.Fatal(err)
	}
	refreshed := make(chan error)
	for _, ts := range []*oauth.Tokens{one, other} {
		go func() {
			next, err := ts.Source("member1").Refresh(t.Context(), &first.Token)
			if err == nil && next.RefreshToken != tokenOf(t, "member1", 1).RefreshToken {
				err = errors.New("not the next token")
			}
			refreshed <- err
		}()
	}
	if err := errors.Join(<-refreshed, <-refreshed); err != nil || s.requests() != 1 {
		t.Errorf("refreshed %d times: %v", s.requests(), err)
	}
	if got, err := other.Get(t.Context(), "member1"); err != nil || got.RefreshToken != tokenOf(t, "member1", 1).RefreshToken {
		t.Errorf("not the next token is stored: %v", err)
	}
}

// endLeases has all locks be free for who comes, as they are when their holders
// have not prolonged them.
func endLeases(t *testing.T, d database, dsn string) {
	t.Helper()
	if _, err := d.pool(t, dsn, 1).ExecContext(t.Context(), "UPDATE b24pull_locks SET held_until = 0"); err != nil {
		t.Fatal(err)
	}
}

// TestLost_Lease: who has lost the lock to another neither overwrites nor
// deletes what that one stores, nor ends his lock. Who has not been prolonged,
// but nobody else has come, still has it.
func TestLost_Lease(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		ctx, dsn := t.Context(), d.place(t)
		one, other := d.store(t, dsn, 2).Tokens(), d.store(t, dsn, 2).Tokens()
		lost, err := one.Lock(ctx, "member1")
		if err != nil {
			t.Fatal(err)
		}
		endLeases(t, d, dsn)
		if err := lost.Save(ctx, tokenOf(t, "member1", 0)); err != nil {
			t.Errorf("late, but nobody has come: %v", err)
		}
		endLeases(t, d, dsn)
		held, err := other.Lock(ctx, "member1")
		if err != nil {
			t.Fatal(err)
		}
		_, loaded := lost.Load(ctx)
		for _, err := range []error{loaded, lost.Save(ctx, tokenOf(t, "member1", 7)), lost.Delete(ctx)} {
			if !errors.Is(err, oauth.ErrLockLost) {
				t.Errorf("the lock is another's: %v", err)
			}
		}
		if err := held.Save(ctx, tokenOf(t, "member1", 1)); err != nil {
			t.Error(err)
		}
		if err := lost.Save(ctx, tokenOf(t, "member1", 7)); !errors.Is(err, oauth.ErrLockLost) {
			t.Errorf("an older token, after a newer one: %v", err)
		}
		lost.Unlock()
		brief, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if third, err := one.Lock(brief, "member1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that was lost is released for who has it: %v", err)
			if err == nil {
				third.Unlock()
			}
		}
		if got, err := held.Load(ctx); err != nil || got.RefreshToken != tokenOf(t, "member1", 1).RefreshToken {
			t.Errorf("another token is stored: %v", err)
		}
		held.Unlock()
	})
}

// TestLost_Meanwhile: who loses the lock while a save or a delete is underway
// has it come before the other, or not at all: it waits for who is just taking
// the lock.
func TestLost_Meanwhile(t *testing.T) {
	t.Parallel()
	d := databases[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dsn := d.place(t)
	s, admin := d.store(t, dsn, 2), d.pool(t, dsn, 2)
	for what, do := range map[string]func(oauth.LockedToken) error{
		"Save":   func(l oauth.LockedToken) error { return l.Save(ctx, tokenOf(t, "member1", 7)) },
		"Delete": func(l oauth.LockedToken) error { return l.Delete(ctx) },
	} {
		if err := save(ctx, s.Tokens(), what, tokenOf(t, "member1", 1)); err != nil {
			t.Fatal(err)
		}
		held, err := s.Tokens().Lock(ctx, what)
		if err != nil {
			t.Fatal(err)
		}
		taking, err := admin.BeginTx(ctx, nil)
		if err == nil {
			_, err = taking.ExecContext(ctx, "UPDATE b24pull_locks SET holder = 'another' WHERE name = $1", what)
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- do(held) }()
		for waiting := 0; waiting == 0 && len(done) == 0; time.Sleep(10 * time.Millisecond) {
			if err := admin.QueryRowContext(ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()").Scan(&waiting); err != nil {
				t.Fatal(err)
			}
		}
		if err := taking.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, oauth.ErrLockLost) {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := s.Tokens().Load(ctx, what); err != nil || got.RefreshToken != tokenOf(t, "member1", 1).RefreshToken {
			t.Errorf("%s: another token is stored, %v", what, err)
		}
		held.Unlock()
	}
}

// TestLost_ClockSetBack: where the database's clock was set back, a lock of who
// has died is free all the same, and one that is prolonged is held.
func TestLost_ClockSetBack(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dsn := d.place(t)
		db := d.pool(t, dsn, 1)
		dead, alive := d.store(t, dsn, 2).Tokens(), d.store(t, dsn, 2, sqlstore.WithLease(time.Second)).Tokens()
		if _, err := dead.Lock(ctx, "dead"); err != nil {
			t.Fatal(err)
		}
		held, err := alive.Lock(ctx, "alive")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Unlock()
		var before, until int64
		if err := db.QueryRowContext(ctx, "UPDATE b24pull_locks SET held_until = held_until + 3600000 WHERE name = 'alive' RETURNING held_until").Scan(&before); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(ctx, "UPDATE b24pull_locks SET held_until = held_until + 3600000 WHERE name = 'dead'"); err != nil {
			t.Fatal(err)
		}
		next, err := alive.Lock(ctx, "dead")
		if err != nil {
			t.Fatal(err)
		}
		next.Unlock()
		for tries := 0; until == 0 || until >= before; time.Sleep(10 * time.Millisecond) {
			if tries++; tries > 3000 {
				t.Fatal("the lock that is held is not prolonged")
			}
			if err := db.QueryRowContext(ctx, "SELECT held_until FROM b24pull_locks WHERE name = 'alive'").Scan(&until); err != nil {
				t.Fatal(err)
			}
		}
		if err := held.Save(ctx, tokenOf(t, "alive", 0)); err != nil {
			t.Error(err)
		}
	})
}

// TestLost_Server: the server crashes and comes back while a lock is held. What
// is saved meanwhile waits for it, and the lock is held still.
func TestLost_Server(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "pgx")
	store := databases[0].store(t, server.URL(), 4, sqlstore.WithTimeout(time.Minute))
	held, err := store.Tokens().Lock(t.Context(), "member1")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	crashed := make(chan struct{})
	go func() {
		defer close(crashed)
		server.Crash()
	}()
	for n, up := 0, false; !up; n++ {
		select {
		case <-crashed:
			up = true
		default:
		}
		if err := held.Save(t.Context(), tokenOf(t, "member1", n)); err != nil {
			t.Fatalf("save %d: %v", n, err)
		}
		if got, err := held.Load(t.Context()); err != nil || got.RefreshToken != tokenOf(t, "member1", n).RefreshToken {
			t.Fatalf("another token than was saved: %v", err)
		}
	}
}

// TestLost_Prolonged: a lock is prolonged for as long as it is held, and not
// afterwards.
func TestLost_Prolonged(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		db := d.pool(t, dsn, 1)
		held, err := d.store(t, dsn, 2, sqlstore.WithLease(time.Second)).Tokens().Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		var until, last int64
		for range 4 {
			last = until
			for tries := 0; until == last; time.Sleep(10 * time.Millisecond) {
				if tries++; tries > 3000 {
					t.Fatal("the lock is not prolonged")
				}
				if err := db.QueryRowContext(t.Context(), "SELECT held_until FROM b24pull_locks").Scan(&until); err != nil {
					t.Fatal(err)
				}
			}
			if until < last {
				t.Errorf("prolonged from %d to %d", last, until)
			}
		}
		held.Unlock()
		if err := db.QueryRowContext(t.Context(), "SELECT held_until FROM b24pull_locks").Scan(&until); err == nil {
			t.Error("the lock is not released")
		}
	})
}
