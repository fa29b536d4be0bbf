// Command cursor adds up what customers pay, and counts each payment once,
// whenever the program is killed: it stores the position in the portal's events
// in one transaction with what they have caused.
//
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… go run ./examples/cursor
//
// Without these it listens to a portal in memory, and starts anew every
// second. Ctrl-C ends it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	client, portal, err := demo.Connect(func(n int) pulltest.Message {
		return pulltest.Message{Command: "order.paid", Params: payment{Customer: "Ada", Cents: n}}
	})
	if err != nil {
		return err
	}
	defer portal.Close()
	if portal == nil {
		return count(ctx, client, &file{path: "payments.json"}, out)
	}
	dir, err := os.MkdirTemp("", "cursor")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db := &file{path: filepath.Join(dir, "payments.json")}
	for err == nil && ctx.Err() == nil {
		fmt.Fprintln(out, "started")
		life, cancel := context.WithTimeout(ctx, time.Second)
		err = count(life, client, db, out)
		cancel()
	}
	return err
}

type payment struct {
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

// data is all that the program keeps. Paid is what its user wants to know,
// Cursor where in the portal's events that stands.
type data struct {
	Paid   map[string]int  `json:"paid"`
	Cursor realtime.Cursor `json:"cursor"` // text; a column of type text in SQL
}

// database is one with transactions. With database/sql update is BeginTx,
//
//	UPDATE customers SET paid = paid + $1 WHERE name = $2
//	UPDATE positions SET cursor = $1
//
// and Commit.
type database interface {
	load() (data, error)
	// update stores what change makes of the data, all of it or nothing.
	update(change func(*data)) error
}

// count adds up payments until ctx is done. It begins behind the last one that
// is in the database, or else with all that the server still keeps.
func count(ctx context.Context, client *b24pull.Client, db database, out io.Writer) error {
	stored, err := db.load()
	if err != nil {
		return err
	}
	sub, err := realtime.Subscribe(client, realtime.WithCursor(stored.Cursor), realtime.WithHistory(), realtime.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	for msg, err := range sub.Messages(ctx) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err // after ErrCursorMismatch begin without the cursor
		case msg.Gap != nil:
			slog.Error("payments may be missing: compare with the books", "gap", msg.Gap.Reason)
		}
		if msg.Sender.Type != realtime.SenderBackend || msg.Command != "order.paid" {
			continue // not the portal's own word, or not of interest; the next cursor has passed it
		}
		p, err := realtime.Decode[payment](msg)
		if err != nil {
			slog.Error("event skipped", "err", err)
			continue
		}
		var sum int
		err = db.update(func(d *data) {
			d.Paid[p.Customer] += p.Cents
			d.Cursor = msg.Cursor()
			sum = d.Paid[p.Customer]
		})
		if err != nil {
			return fmt.Errorf("storing a payment: %w", err)
		}
		fmt.Fprintf(out, "%s has paid %d cents, %d in all\n", p.Customer, p.Cents, sum)
	}
	return nil
}
