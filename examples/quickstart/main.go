// Command quickstart prints what a portal sends to the browser of a webhook's
// user: chats, notifications, counters.
//
//	B24PULL_WEBHOOK=https://PORTAL/rest/USER/CODE/ go run ./examples/quickstart
//
// The webhook needs the scopes pull and pull_channel. Without one the program
// listens to a portal in memory. Ctrl-C ends it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
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
	if err := run(ctx, os.Getenv("B24PULL_WEBHOOK"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, webhook string, out io.Writer) error {
	var opts []b24pull.Option
	if webhook == "" {
		portal := demo.Start(func(n int) pulltest.Message {
			return pulltest.Message{Module: "im", Command: "message", Params: map[string]any{"id": n, "text": "hello"}, To: pulltest.UserPrivate}
		})
		defer portal.Close()
		webhook, opts = portal.Webhook(), append(opts, b24pull.WithHTTPClient(portal.HTTPClient()))
	}
	client, err := b24pull.New(b24pull.Webhook(webhook), opts...)
	if err != nil {
		return err
	}
	return listen(ctx, client, out)
}

// listen prints each event until ctx is done. Connections that break are no
// errors: the logger tells of them.
func listen(ctx context.Context, client *b24pull.Client, out io.Writer) error {
	sub, err := realtime.Subscribe(realtime.PortalConfig(client), realtime.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	for msg, err := range sub.Messages(ctx) {
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err // trying again cannot help
		}
		// String keeps what is printed on a line, and leaves out what plays
		// tricks on a terminal: users write these texts.
		fmt.Fprintln(out, msg.Time.Local().Format(time.TimeOnly), msg.Sender.Type, msg)
	}
	return nil
}
