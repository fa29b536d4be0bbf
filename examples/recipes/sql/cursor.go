package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"

	"github.com/b24pull/b24pull/realtime"
)

// way is how payments are written until ctx is done.
type way func(ctx context.Context, source realtime.ConfigSource, db *database, out io.Writer) error

// subscription names the row with our position, so that one table serves
// several subscriptions.
const subscription = "payments"

// byCursor writes payments and the position behind each in one transaction. It
// begins behind the last one that is in the database, or else with all that the
// server still keeps.
func byCursor(ctx context.Context, source realtime.ConfigSource, db *database, out io.Writer) error {
	at, err := loadPosition(ctx, db.DB)
	if err != nil {
		return err
	}
	var cursor realtime.Cursor
	if err := cursor.UnmarshalText([]byte(at.stored)); err != nil {
		return err
	}
	sub, err := realtime.Subscribe(source,
		realtime.WithCursor(cursor), realtime.WithHistory(), // the latter where there is no cursor
		realtime.WithLogger(slog.Default()), realtime.WithErrorPolicy(policy), realtime.WithObserver(tellGap))
	if err != nil {
		return err
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order.paid", func(ctx context.Context, p payment, m realtime.Message) error {
		err := at.move(ctx, db.DB, m.Key(), m.Cursor().String(), func(tx *sql.Tx) error {
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

// position is where the database says that we are. One goroutine uses it.
type position struct {
	stored string // what the row holds
	event  string // the key of the event that was handled last,
	next   string // and what the row holds if that was stored
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

// move stores the position behind an event together with what do changes, in
// place of the one before. It is an error, and do's changes are not stored, if
// the one before is none of ours: then there is another process with the same
// subscription.
//
// A connection that breaks during COMMIT leaves open whether that was done. So
// after an error the next attempt for the same event looks for the position of
// this one: where it is there, so are the changes.
func (at *position) move(ctx context.Context, db *sql.DB, event, to string, do func(*sql.Tx) error) error {
	if at.event != event {
		at.event, at.next = event, to
	}
	err := transact(ctx, db, func(tx *sql.Tx) error {
		moved, err := tx.ExecContext(ctx, `UPDATE positions SET cursor = $1 WHERE subscription = $2 AND cursor = $3`, at.next, subscription, at.stored)
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
		if there != at.next {
			return errTaken
		}
		return nil // the attempt before has done it all
	})
	if err == nil {
		at.stored = at.next
	}
	return err
}
