package main

import (
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/examples/recipes/internal/killtest"
	"github.com/b24pull/b24pull/internal/pgtest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestMain(m *testing.M) { killtest.Main(m, main) }

// TestKilled: however often the program is killed, each payment is in the
// database, once, in order, and in its customer's sum.
func TestKilled(t *testing.T) {
	for _, way := range []string{"cursor", "key"} {
		t.Run(way+"/SQLite", func(t *testing.T) { killed(t, way, sqlite(t), 4) })
		t.Run(way+"/SQLite/version 1", func(t *testing.T) { killed(t, way, sqlite(t), 1) }) // without ids
		t.Run(way+"/PostgreSQL", func(t *testing.T) { killed(t, way, pgtest.Start(t, "pgx").URL(), 4) })
	}
}

func killed(t *testing.T, way, address string, version int) {
	kills := 25
	if testing.Short() {
		kills = 5
	}
	portal := newPortal(t, pulltest.WithVersion(version))
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, []string{"-by", way})
	published := program.Kills(kills, publisher(portal, version), func(published int) bool { return rows(t, db) >= published })
	check(t, db, published)
	t.Logf("%d kills, %d payments", kills, published)
}

// TestDatabaseCrashes: while PostgreSQL crashes and comes back, the program
// goes on; what it has lost of a COMMIT, or only of its answer, it finds out.
func TestDatabaseCrashes(t *testing.T) {
	server := pgtest.Start(t, "pgx")
	for _, way := range []string{"cursor", "key"} {
		t.Run(way, func(t *testing.T) {
			portal := newPortal(t)
			db := opened(t, server.URL())
			empty(t, db)
			program := killtest.New(t, portal, []string{"DATABASE_URL=" + server.URL()}, []string{"-by", way}).Start()
			publish, n := publisher(portal, 4), 0
			for range 3 {
				for range 100 {
					n++
					publish(n)
				}
				program.Handled(20)
				server.Crash()
			}
			program.Run(func() bool { return rows(t, db) >= n })
			program.Stop()
			check(t, db, n)
		})
	}
}

// TestTwo: of two processes with the same position one ends and says why, as
// soon as both have had a payment. Nothing is counted twice.
func TestTwo(t *testing.T) {
	portal, address := newPortal(t), sqlite(t)
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, nil)
	two := []*killtest.Process{program.Start(), program.Start()}
	publish, n := publisher(portal, 4), 0
	var left *killtest.Process
	for left == nil {
		n++
		publish(n)
		time.Sleep(time.Millisecond)
		for i, c := range two {
			if c.Ended() {
				c.Failed(errTaken.Error())
				left = two[1-i]
			}
		}
	}
	left.Run(func() bool { return rows(t, db) >= n })
	left.Stop()
	check(t, db, n)
}

// TestTwoByKey: two processes write all payments side by side, and each is
// there once.
func TestTwoByKey(t *testing.T) {
	portal, address := newPortal(t), pgtest.Start(t, "pgx").URL()
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, []string{"-by", "key"})
	publish, n := publisher(portal, 4), 0
	two := []*killtest.Process{program.Start(), program.Start()}
	for range 200 {
		n++
		publish(n)
	}
	for _, c := range two {
		c.Handled(n)
	}
	for _, c := range two {
		c.Stop()
	}
	if got := rows(t, db); got != n {
		t.Errorf("%d rows of %d payments", got, n)
	}
}

// TestLostPosition: by key, all that the server keeps can come again.
func TestLostPosition(t *testing.T) {
	portal, address := newPortal(t), sqlite(t)
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, []string{"-by", "key"})
	publish, n := publisher(portal, 4), 0
	for range 3 {
		for range 20 {
			n++
			publish(n)
		}
		c := program.Start()
		c.Handled(n)
		c.Stop()
		if _, err := db.ExecContext(t.Context(), `DELETE FROM b24pull_cursors`); err != nil {
			t.Fatal(err)
		}
	}
	check(t, db, n)
}

// TestPoison: a payment that PostgreSQL cannot store is passed over, and what
// comes after it is stored, and positions with it.
func TestPoison(t *testing.T) {
	server := pgtest.Start(t, "pgx")
	for _, way := range []string{"cursor", "key"} {
		t.Run(way, func(t *testing.T) {
			portal, db := newPortal(t), opened(t, server.URL())
			empty(t, db)
			program := killtest.New(t, portal, []string{"DATABASE_URL=" + server.URL()}, []string{"-by", way})
			publish, n := publisher(portal, 4), 0
			for range 3 {
				c := program.Start()
				for range 5 {
					n++
					portal.Emit(pulltest.Message{Command: "order.paid", Params: payment{"a name with \x00", n}})
					publish(n)
				}
				c.Run(func() bool { return rows(t, db) >= n })
				c.Kill()
			}
			check(t, db, n)
		})
	}
}

// TestGap: that payments may be missing is said although what bears the gap is
// none.
func TestGap(t *testing.T) {
	for _, way := range []string{"cursor", "key"} {
		portal, address := newPortal(t), sqlite(t)
		db := opened(t, address)
		program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, []string{"-by", way}).Start()
		publish := publisher(portal, 4)
		publish(1)
		program.Handled(1)
		portal.Forget()
		if _, err := portal.Cut(); err != nil {
			t.Fatal(err)
		}
		portal.Emit(pulltest.Message{Command: "order.packed", Params: payment{"Ada", 1}})
		publish(2)
		program.Handled(1)
		program.Stop()
		program.Told("payments may be missing")
		check(t, db, 2)
	}
}

// TestMove: a position and what comes with it are stored both, or neither is;
// an attempt whose end was not heard is not made twice.
func TestMove(t *testing.T) {
	ctx := t.Context()
	for name, address := range map[string]func() string{
		"SQLite":     func() string { return sqlite(t) },
		"PostgreSQL": func() string { return pgtest.Start(t, "pgx").URL() },
	} {
		t.Run(name, func(t *testing.T) {
			db := opened(t, address())
			at, err := loadPosition(ctx, db)
			if err != nil {
				t.Fatal(err)
			}
			add := func(tx *sql.Tx) error {
				_, err := pay(ctx, tx, "", payment{"Ada", 1})
				return err
			}
			broken := errors.New("broken")
			err = at.move(ctx, db, "event 0", "zero", func(tx *sql.Tx) error { return errors.Join(add(tx), broken) })
			if !errors.Is(err, broken) || rows(t, db) != 0 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
			stored := func(want string) {
				t.Helper()
				if row, err := loadPosition(ctx, db); err != nil || row.stored != want {
					t.Errorf("the position is %q, %v, want %q", row.stored, err, want)
				}
			}
			stored("")
			if err := at.move(ctx, db, "event 1", "one", add); err != nil || rows(t, db) != 1 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
			stored("one")
			unheard := position{stored: "", event: "event 1", next: "one"} // as if COMMIT had not been answered
			if err := unheard.move(ctx, db, "event 1", "one, later", add); err != nil || rows(t, db) != 1 || unheard != *at {
				t.Errorf("%v, %d rows, at %+v", err, rows(t, db), unheard)
			}
			other := position{stored: ""}
			if err := other.move(ctx, db, "event 1", "other", add); !errors.Is(err, errTaken) || rows(t, db) != 1 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
		})
	}
}

func newPortal(t *testing.T, opts ...pulltest.Option) *pulltest.Portal {
	portal := pulltest.NewPortal(opts...)
	t.Cleanup(portal.Close)
	return portal
}

// publisher publishes payments of 1, 2, 3 … cents, and among them what is none.
func publisher(portal *pulltest.Portal, version int) func(n int) {
	return func(n int) {
		portal.Emit(pulltest.Message{Command: "order.paid", Params: payment{customer(n), n}})
		switch n % 10 {
		case 1:
			portal.Emit(pulltest.Message{Command: "order.paid", Params: []string{"no payment"}})
		case 3:
			portal.Emit(pulltest.Message{Command: "order.packed", Params: payment{"Ada", n}})
		case 7: // a user's browser says that somebody has paid
			if version >= 4 {
				portal.EmitAsClient(pulltest.Message{Command: "order.paid", Params: payment{"Ada", 1_000_000}})
			}
		}
	}
}

func customer(n int) string { return []string{"Ada", "Bob"}[n%2] }

func sqlite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "payments.db") }

func opened(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db.DB
}

func empty(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, table := range []string{"payments", "sums", "positions"} {
		if _, err := db.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
}

func rows(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM payments`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// check wants the first so many payments of a publisher in a database.
func check(t *testing.T, db *sql.DB, published int) {
	t.Helper()
	found, err := db.QueryContext(t.Context(), `SELECT customer, cents FROM payments ORDER BY n`)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	seen, last, disordered, n := map[int]bool{}, 0, 0, 0
	sums := map[string]int{}
	for ; found.Next(); n++ {
		var p payment
		if err := found.Scan(&p.Customer, &p.Cents); err != nil {
			t.Fatal(err)
		}
		if p.Customer != customer(p.Cents) || p.Cents > published {
			t.Errorf("there is a payment of %d by %s", p.Cents, p.Customer)
		}
		if p.Cents < last {
			disordered++
		}
		last, seen[p.Cents] = p.Cents, true
		sums[p.Customer] += p.Cents
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if n != published || len(seen) != published || disordered != 0 {
		t.Errorf("%d rows of %d payments, %d distinct, %d out of order", n, published, len(seen), disordered)
	}
	for _, name := range []string{"Ada", "Bob"} {
		var sum int
		if err := db.QueryRowContext(t.Context(), `SELECT cents FROM sums WHERE customer = $1`, name).Scan(&sum); err != nil || sum != sums[name] {
			t.Errorf("%s has paid %d in all, %v, want %d", name, sum, err, sums[name])
		}
	}
}

// TestRun_Errors: what is wrong with the arguments is said, and no password.
func TestRun_Errors(t *testing.T) {
	t.Setenv("B24PULL_PORTAL", "")
	t.Setenv("B24PULL_ACCESS_TOKEN", "")
	for _, tt := range []struct{ address, by, want string }{
		{"", "luck", `-by "luck": want cursor or key`},
		{"postgres://ada:s3cr3t@127.0.0.1:1/payments", "cursor", "making the tables: "},
		{"postgres://ada:s3cr3t@127.0.0.1:port/payments", "cursor", ""},
		{"postgres://ada:s3cr3t%zz@127.0.0.1/payments", "cursor", ""},
		{"sqlite:" + filepath.Join(t.TempDir(), "no", "such", "folder.db"), "key", "making the tables: "},
	} {
		t.Setenv("DATABASE_URL", tt.address)
		err := run(t.Context(), []string{"-by", tt.by}, io.Discard)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("-by %s: no error, or one that tells a secret", tt.by)
		} else if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}
