// Command sql writes a portal's payments into an SQL database, each exactly
// once, whenever the program is killed, the database restarts, or a second
// process runs by mistake.
//
//	cd examples/recipes
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… DATABASE_URL=postgres://… go run ./sql
//
// DATABASE_URL is that of a PostgreSQL database, or sqlite:FILE. Without the
// former two the program listens to a portal in memory, without DATABASE_URL it
// writes to payments.db. Ctrl-C ends it.
//
// There are two ways, which -by chooses between:
//
//   - cursor, the default: the position in the portal's events is stored in the
//     transaction that stores what the event has caused. So they are there
//     both, or neither is. It takes no more than a row, and what the
//     transaction does need not be repeatable: it can add to a sum. All effects
//     must be in one database, and events are handled one after another.
//   - key: each event's Key stands in a column that is unique, and one that has
//     been written already is passed over. The position is kept beside the
//     database and may be some events behind. Events can be handled several at
//     a time, by several processes even. The keys of what can come again have
//     to be kept: those of a day, as long as a portal's events are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// payment is the params of order.paid.
type payment struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sql", flag.ContinueOnError)
	by := flags.String("by", "cursor", "what makes it exactly once: cursor or key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ways := map[string]way{"cursor": byCursor, "key": byKey}
	way := ways[*by]
	if way == nil {
		return fmt.Errorf("-by %q: want cursor or key", *by)
	}
	client, portal, err := demo.Connect(func(n int) pulltest.Message {
		return pulltest.Message{Command: "order.paid", Params: payment{Customer: "Ada", Cents: n}}
	})
	if err != nil {
		return err
	}
	defer portal.Close()
	db, err := open(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	err = way(ctx, client, db, out)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // asked to end
	}
	return err
}
