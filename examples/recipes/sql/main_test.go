package main

import (
	"database/sql"
	"errors"
	"path/filepath"
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
	for _, way := range []string{"cursor"} {
		t.Run(way+"/SQLite", func(t *testing.T) { killed(t, way, sqlite(t)) })
		t.Run(way+"/PostgreSQL", func(t *testing.T) { killed(t, way, pgtest.Start(t, "pgx").URL()) })
	}
}

func killed(t *testing.T, way, address string) {
	kills := 25
	if testing.Short() {
		kills = 5
	}
	portal := newPortal(t)
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, []string{"-by", way})
	published := program.Kills(kills, publisher(portal), func(published int) bool { return rows(t, db) >= published })
	check(t, db, published)
	t.Logf("%d kills, %d payments", kills, published)
}

// TestDatabaseCrashes: while PostgreSQL crashes and comes back, the program
// goes on; what it has lost of a COMMIT, or only of its answer, it finds out.
func TestDatabaseCrashes(t *testing.T) {
	server := pgtest.Start(t, "pgx")
	for _, way := range []string{"cursor"} {
		t.Run(way, func(t *testing.T) {
			portal := newPortal(t)
			db := opened(t, server.URL())
			empty(t, db)
			program := killtest.New(t, portal, []string{"DATABASE_URL=" + server.URL()}, []string{"-by", way}).Start()
			publish, n := publisher(portal), 0
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
// soon as both have had an event. Nothing is counted twice.
func TestTwo(t *testing.T) {
	portal := newPortal(t)
	address := sqlite(t)
	db := opened(t, address)
	program := killtest.New(t, portal, []string{"DATABASE_URL=" + address}, nil)
	two := []*killtest.Process{program.Start(), program.Start()}
	publish, n := publisher(portal), 0
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
			err = at.move(ctx, db, "one", func(tx *sql.Tx) error { return errors.Join(add(tx), broken) })
			if !errors.Is(err, broken) || rows(t, db) != 0 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
			if again, err := loadPosition(ctx, db); err != nil || again.stored != "" {
				t.Errorf("the position is %+v, %v", again, err)
			}
			if err := at.move(ctx, db, "one", add); err != nil || rows(t, db) != 1 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
			unheard := position{stored: "", tried: "one"} // as if COMMIT had not been answered
			if err := unheard.move(ctx, db, "one, later", add); err != nil || rows(t, db) != 1 || unheard != *at {
				t.Errorf("%v, %d rows, at %+v", err, rows(t, db), unheard)
			}
			other := position{stored: "zero"}
			if err := other.move(ctx, db, "other", add); !errors.Is(err, errTaken) || rows(t, db) != 1 {
				t.Errorf("%v, and %d rows", err, rows(t, db))
			}
		})
	}
}

func newPortal(t *testing.T) *pulltest.Portal {
	portal := pulltest.NewPortal()
	t.Cleanup(portal.Close)
	return portal
}

// publisher publishes payments of 1, 2, 3 … cents, and among them what is none.
func publisher(portal *pulltest.Portal) func(n int) {
	return func(n int) {
		portal.Emit(pulltest.Message{Command: "order.paid", Params: payment{customer(n), n}})
		switch n % 10 {
		case 3:
			portal.Emit(pulltest.Message{Command: "order.packed", Params: payment{"Ada", n}})
		case 7: // a user's browser says that somebody has paid
			portal.EmitAsClient(pulltest.Message{Command: "order.paid", Params: payment{"Ada", 1_000_000}})
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
	return db
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
