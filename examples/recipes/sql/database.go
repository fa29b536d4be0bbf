package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull/oauth/sqlstore"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// defaultDatabase is that of a DATABASE_URL that is not set.
const defaultDatabase = "sqlite:payments.db"

// schema has a %s for a column that counts rows.
const schema = `
CREATE TABLE IF NOT EXISTS payments (
	n        %s,
	key      text UNIQUE,        -- Message.Key; null with -by cursor
	customer text NOT NULL,
	cents    bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS sums (
	customer text PRIMARY KEY,
	cents    bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (
	subscription text PRIMARY KEY,
	cursor       text NOT NULL
)`

// database is one of which it is known what it understands.
type database struct {
	*sql.DB
	dialect sqlstore.Dialect
}

// open opens the database and makes its tables.
func open(ctx context.Context, address string) (*database, error) {
	if address == "" {
		address = defaultDatabase
	}
	driver, dialect, counter := "pgx", sqlstore.PostgreSQL, "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	if file, ok := strings.CutPrefix(address, "sqlite:"); ok {
		// A transaction that will write locks at once, and waits for
		// another's: it cannot find later that what it has read is old.
		driver, dialect, counter = "sqlite", sqlstore.SQLite, "integer PRIMARY KEY"
		address = "file:" + (&url.URL{Path: file}).EscapedPath() +
			"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if _, err := db.ExecContext(ctx, fmt.Sprintf(schema, counter)); err != nil {
		db.Close()
		return nil, fmt.Errorf("making the tables: %w", err)
	}
	return &database{db, dialect}, nil
}

// transact has do's changes stored all, or, if it returns an error, none.
func transact(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// pay adds a payment to those of its customer. A payment whose key is there
// already changes nothing; one without a key is always new.
func pay(ctx context.Context, tx *sql.Tx, key string, p payment) (added bool, err error) {
	inserted, err := tx.ExecContext(ctx, `
		INSERT INTO payments (key, customer, cents) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO NOTHING`,
		sql.NullString{String: key, Valid: key != ""}, p.Customer, p.Cents)
	if err != nil {
		return false, err
	}
	if n, err := inserted.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO sums (customer, cents) VALUES ($1, $2)
		ON CONFLICT (customer) DO UPDATE SET cents = sums.cents + excluded.cents`,
		p.Customer, p.Cents)
	return true, err
}
