package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"

	"github.com/b24pull/b24pull/oauth/sqlstore"
	"github.com/b24pull/b24pull/realtime"
)

// byKey writes payments under their keys, each of which is there once, and
// keeps the position beside them. After a crash those come again that were
// handled since it was saved last, and change nothing.
//
// Handlers may run beside each other ([realtime.WithParallel]): the database
// has a second one with the same key wait for the first.
func byKey(ctx context.Context, source realtime.ConfigSource, db *database, out io.Writer) error {
	store, err := sqlstore.Open(db.DB, db.dialect)
	if err != nil {
		return err
	}
	if err := store.CreateTables(ctx); err != nil {
		return err
	}
	sub, err := realtime.Subscribe(source,
		realtime.WithCursorStore(store.Cursors(subscription)), realtime.WithHistory(), // the latter where there is no cursor
		realtime.WithLogger(slog.Default()), realtime.WithErrorPolicy(policy), realtime.WithObserver(tellGap))
	if err != nil {
		return err
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order.paid", func(ctx context.Context, p payment, m realtime.Message) error {
		err := transact(ctx, db.DB, func(tx *sql.Tx) error {
			added, err := pay(ctx, tx, m.Key(), p)
			if err == nil && !added {
				slog.Info("payment was written before", "key", m.Key())
			}
			return err
		})
		if err == nil {
			fmt.Fprintf(out, "%s has paid %d cents\n", p.Customer, p.Cents)
		}
		return err
	})
	return sub.Run(ctx, mux)
}
