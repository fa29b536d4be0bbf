// Command nats forwards a portal's events to NATS JetStream, each exactly once,
// whenever the program is killed or the NATS server restarts.
//
//	cd examples/recipes
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… NATS_URL=nats://… go run ./nats
//
// Without the former two it listens to a portal in memory, without NATS_URL to
// a NATS server on this machine. Ctrl-C ends it.
//
// Nothing is lost since an event counts as handled when JetStream has
// acknowledged it, and nothing is there twice since its Key is the message id
// (Nats-Msg-Id): JetStream drops what has an id that it has seen within the
// stream's duplicate window. After a crash that is what was forwarded since the
// position was saved last, however long the program was down: so the window is
// a day, which is as long as a portal's events are kept. The default of
// JetStream, two minutes, is too short, and refused.
//
// # Kafka
//
// Kafka has nothing like that window. Its idempotent producer drops what that
// very producer sends twice: it begins anew with each process, and does not
// know what the one before has sent. So Key goes with each record, in a header,
// or as the record's key where the topic is compacted, and who consumes does
// what it does once per Key: in a table with a unique column, as command sql of
// this folder. Or the position goes with the record: a transactional producer
// writes both the record and Message.Cursor, to a compacted topic, in one
// transaction, and the next process begins with the cursor that a consumer with
// isolation.level=read_committed finds last. Produce with acks=all, and return
// the error of the delivery report from the handler, so that nothing counts as
// handled before it is there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
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
		return pulltest.Message{Command: "order.paid", Params: map[string]any{"cents": n}}
	})
	if err != nil {
		return err
	}
	defer portal.Close()
	address := os.Getenv("NATS_URL")
	if address == "" {
		address = nats.DefaultURL
	}
	conn, err := nats.Connect(address, nats.Name("b24pull"), nats.MaxReconnects(-1))
	if err != nil {
		if wrong := (*url.Error)(nil); errors.As(err, &wrong) {
			err = wrong.Err // without the address, which can hold a password
		}
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	defer conn.Close()
	f, err := newForwarder(ctx, conn, out)
	if err != nil {
		return err
	}
	err = f.run(ctx, client)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // asked to end
	}
	return err
}
