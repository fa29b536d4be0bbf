package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/oauth/sqlstore"
)

// A script is a driver of a database that does what a test says. It is asked in
// a bubble, on virtual time.
type script func(ctx context.Context, statement string) (rows int64, err error)

func (s script) Connect(context.Context) (driver.Conn, error) { return scripted{s}, nil }
func (s script) Driver() driver.Driver                        { return nil }

type scripted struct{ script }

func (c scripted) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not here") }
func (c scripted) Begin() (driver.Tx, error)           { return nil, errors.New("not here") }
func (c scripted) Close() error                        { return nil }

func (c scripted) ExecContext(ctx context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	n, err := c.script(ctx, statement)
	return driver.RowsAffected(n), err
}

func (c scripted) QueryContext(ctx context.Context, statement string, _ []driver.NamedValue) (driver.Rows, error) {
	if _, err := c.script(ctx, statement); err != nil {
		return nil, err
	}
	return noRows{}, nil
}

type noRows struct{}

func (noRows) Columns() []string         { return []string{"one"} }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// scriptedStore is a store in such a database.
func scriptedStore(t *testing.T, s script) *sqlstore.Store {
	t.Helper()
	db := sql.OpenDB(s)
	t.Cleanup(func() { db.Close() })
	store, err := sqlstore.Open(db, sqlstore.PostgreSQL)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestDriver_Prolonged: a lease does not end although connections hang by which
// it was to be prolonged.
func TestDriver_Prolonged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease = 30 * time.Second // the default
		hang, prolonged := 2, time.Now()
		held, err := scriptedStore(t, func(ctx context.Context, statement string) (int64, error) {
			if !strings.HasPrefix(statement, "UPDATE b24pull_locks SET held_until") {
				return 1, nil
			}
			if hang--; hang >= 0 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			if late := time.Since(prolonged); late >= lease {
				t.Errorf("prolonged %v after the last time", late)
			}
			prolonged = time.Now()
			return 1, nil
		}).Tokens().Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		held.Unlock()
		if hang > -9 {
			t.Errorf("prolonged %d times in two minutes", -hang)
		}
	})
}

// TestDriver_HangsAtLock: the end of a context ends the waiting for a lock also
// where the database does not answer, and what it has taken is released.
func TestDriver_HangsAtLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := false
		s := scriptedStore(t, func(ctx context.Context, statement string) (int64, error) {
			released = released || strings.HasPrefix(statement, "DELETE FROM b24pull_locks")
			<-ctx.Done()
			return 0, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Tokens().Lock(ctx, "member1")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("%v, after %v", err, took)
		}
		time.Sleep(time.Minute)
		if !released {
			t.Error("it is not released")
		}
	})
}

// TestDriver_Away: a database that is away is asked until the time of a call is
// over, one that says no is not.
func TestDriver_Away(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		what  string
		err   error
		away  time.Duration
		comes bool
	}{
		{"nobody listens, for a moment", refused, 8 * time.Second, true},
		{"nobody listens", refused, time.Hour, false},
		{"it starts", state("57P03"), 8 * time.Second, true},
		{"too many connections", state("53300"), 8 * time.Second, true},
		{"another transaction was first", state("40001"), 8 * time.Second, true},
		{"the connection breaks", io.ErrUnexpectedEOF, 8 * time.Second, true},
		{"the table's owner is another", state("42501"), 8 * time.Second, false},
		{"what no driver knows", errors.New("odd"), 8 * time.Second, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := scriptedStore(t, func(context.Context, string) (int64, error) {
					if time.Since(began) < tt.away {
						return 0, tt.err
					}
					return 0, nil
				})
				_, err := s.Cursors("member1").Load(t.Context())
				if took := time.Since(began); (err == nil) != tt.comes || took > 10*time.Second || !tt.comes && !errors.Is(err, tt.err) && !strings.Contains(err.Error(), tt.err.Error()) {
					t.Errorf("%v, after %v", err, took)
				}
			})
		})
	}
}

// A state is an error of PostgreSQL, by its code.
type state string

func (s state) Error() string    { return "refused with " + string(s) }
func (s state) SQLState() string { return string(s) }
