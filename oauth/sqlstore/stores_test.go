package sqlstore_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/pgtest"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/oauth/sqlstore"
	"github.com/b24pull/b24pull/pulltest/storetest"
	"github.com/b24pull/b24pull/realtime"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A database is a kind of them.
type database struct {
	dialect sqlstore.Dialect
	driver  string
	place   func(t testing.TB) (dsn string)
}

var databases = []database{
	{sqlstore.PostgreSQL, "pgx", newPostgres},
	{sqlstore.SQLite, "sqlite", newSQLite},
}

func newPostgres(t testing.TB) string {
	t.Helper()
	return pgtest.Database(t, "pgx")
}

func newSQLite(t testing.TB) string {
	t.Helper()
	return "file:" + filepath.ToSlash(filepath.Join(t.TempDir(), "db")) + "?_pragma=busy_timeout(100)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
}

// pool opens a database with so many connections at the most.
func (d database) pool(t testing.TB, dsn string, most int) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db
}

// store opens a store on a pool of so many connections.
func (d database) store(t testing.TB, dsn string, most int, opts ...sqlstore.Option) *sqlstore.Store {
	t.Helper()
	return d.over(t, d.pool(t, dsn, most), opts...)
}

// over opens a store on a pool, with its tables.
func (d database) over(t testing.TB, db *sql.DB, opts ...sqlstore.Option) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(db, d.dialect, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// each runs a test on both databases. Tests wait for one another, and for
// leases, more than they compute, so all of them run at once.
func each(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Parallel()
	for _, d := range databases {
		t.Run(d.dialect.String(), func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

// TestStores_Tokens: what is asked of every oauth.TokenStore, with several
// pools, of ten connections and of one.
func TestStores_Tokens(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		for _, most := range []int{10, 1} {
			t.Run(fmt.Sprint("pool of ", most), func(t *testing.T) {
				t.Parallel()
				storetest.TokensOfProcesses(t, func(t *testing.T) string { return d.place(t) }, func(t *testing.T, dsn string) oauth.TokenStore {
					return d.store(t, dsn, most, sqlstore.WithLease(time.Second)).Tokens()
				})
			})
		}
	})
}

// TestStores_Cursors: what is asked of every realtime.CursorStore.
func TestStores_Cursors(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		dsn := d.place(t)
		storetest.Cursors(t, func(t *testing.T) realtime.CursorStore { return d.store(t, dsn, 2).Cursors("member1") })
	})
}
