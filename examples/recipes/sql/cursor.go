package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// way is how payments are written until ctx is done.
type way func(ctx context.Context, source realtime.ConfigSource, db *sql.DB, out io.Writer) error

// subscription names the row with our position, so that one table serves
// several subscriptions.
const subscription = "payments"

// errTaken ends a process that is not the only one.
var errTaken = errors.New("another process has stored a position: only one may run")

// byCursor writes payments and the position behind each in one transaction. It
// begins behind the last one that is in the database, or else with all that the
// server still keeps.
func byCursor(ctx context.Context, source realtime.ConfigSource, db *sql.DB, out io.Writer) error {
	at, err := loadPosition(ctx, db)
	if err != nil {
		return err
	}
	var cursor realtime.Cursor
	if err := cursor.UnmarshalText([]byte(at.stored)); err != nil {
		return err
	}
	sub, err := realtime.Subscribe(source,
		realtime.WithCursor(cursor), realtime.WithHistory(), // the latter where there is no cursor
		realtime.WithLogger(slog.Default()), realtime.WithErrorPolicy(patience))
	if err != nil {
		return err
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order.paid", func(ctx context.Context, p payment, m realtime.Message) error {
		if m.Gap != nil {
			slog.Error("payments may be missing: compare with the books", "gap", m.Gap.Reason)
		}
		err := at.move(ctx, db, m.Cursor().String(), func(tx *sql.Tx) error {
			_, err := pay(ctx, tx, "", p)
			return err
		})
		if err == nil {
			fmt.Fprintf(out, "%s has paid %d cents\n", p.Customer, p.Cents)
		}
		return err
	})
	return sub.Run(ctx, mux) // after ErrCursorMismatch begin without the cursor
}

// patience is for a database that is away for a while.
func patience(err *realtime.HandlerError, attempt int) realtime.ErrorAction {
	if errors.Is(err, errTaken) {
		return realtime.StopRun()
	}
	slog.Warn("payment not stored yet", "attempt", attempt, "err", err)
	return realtime.RetryAfter(time.Second)
}

// position is where the database says that we are. One goroutine uses it.
type position struct {
	stored string // what the row holds
	tried  string // what it may hold already, after an attempt that failed; empty: there was none
}

// loadPosition makes the row where there is none.
func loadPosition(ctx context.Context, db *sql.DB) (*position, error) {
	at := new(position)
	_, err := db.ExecContext(ctx, `INSERT INTO positions (subscription, cursor) VALUES ($1, '') ON CONFLICT DO NOTHING`, subscription)
	if err == nil {
		err = db.QueryRowContext(ctx, `SELECT cursor FROM positions WHERE subscription = $1`, subscription).Scan(&at.stored)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the position: %w", err)
	}
	return at, nil
}

// move stores a position together with what do changes, in place of the one
// before. It is an error, and do's changes are not stored, if the one before is
// none of ours: then there is another process with the same subscription.
//
// After an error move is to be called again for the same event, before any
// other. A connection that breaks during COMMIT leaves open whether that was
// done: where the next attempt finds the position of this one, it has been.
func (at *position) move(ctx context.Context, db *sql.DB, to string, do func(*sql.Tx) error) error {
	if at.tried == "" {
		at.tried = to
	}
	err := transact(ctx, db, func(tx *sql.Tx) error {
		moved, err := tx.ExecContext(ctx, `UPDATE positions SET cursor = $1 WHERE subscription = $2 AND cursor = $3`, at.tried, subscription, at.stored)
		if err != nil {
			return err
		}
		if n, err := moved.RowsAffected(); err != nil {
			return err
		} else if n == 1 {
			return do(tx)
		}
		var there string
		if err := tx.QueryRowContext(ctx, `SELECT cursor FROM positions WHERE subscription = $1`, subscription).Scan(&there); err != nil {
			return err
		}
		if there != at.tried {
			return errTaken
		}
		return nil // the attempt before has done it all
	})
	if err == nil {
		at.stored, at.tried = at.tried, ""
	}
	return err
}
