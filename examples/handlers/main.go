// Command handlers gives each kind of event of an application its own handler,
// which gets the params as a Go value.
//
//	B24PULL_PORTAL=https://PORTAL B24PULL_ACCESS_TOKEN=… go run ./examples/handlers
//
// Without these it listens to a portal in memory. Ctrl-C ends it, when what has
// been received is handled.
package main

import (
	"context"
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
	if err := run(ctx, &shop{out: os.Stdout}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *shop) error {
	client, portal, err := demo.Connect(event)
	if err != nil {
		return err
	}
	defer portal.Close()
	return listen(ctx, client, s)
}

// event is what the portal in memory emits: an order changes twice, and is
// deleted.
func event(n int) pulltest.Message {
	id := n/3 + 1
	switch n % 3 {
	case 1:
		return pulltest.Message{Command: "order.changed", Params: orderChanged{ID: id, Stage: "paid"}}
	case 2:
		return pulltest.Message{Command: "order.changed", Params: orderChanged{ID: id, Stage: "shipped"}}
	default:
		return pulltest.Message{Command: "order.deleted", Params: orderDeleted{ID: id - 1}}
	}
}

// patience tries again what a handler could not do, ten times within seven
// seconds. What fails then, and at once what is not what it should be, is logged
// and skipped; realtime.WithDeadLetters could keep it.
var patience = realtime.RetryPolicy(10, 100*time.Millisecond, time.Second, realtime.SkipMessage())

// listen handles events until ctx is done. The others that have come by then
// have ten seconds.
func listen(ctx context.Context, client *b24pull.Client, s *shop) error {
	sub, err := realtime.Subscribe(client, realtime.WithLogger(slog.Default()), realtime.WithErrorPolicy(patience))
	if err != nil {
		return err
	}
	life := context.WithoutCancel(ctx) // it is for Drain to end the run
	go sub.Run(life, s.handlers())     // Err and Drain have its error
	select {
	case <-ctx.Done():
	case <-sub.Done():
		return sub.Err()
	}
	grace, cancel := context.WithTimeout(life, 10*time.Second)
	defer cancel()
	return sub.Drain(grace)
}

type orderChanged struct {
	ID    int    `json:"id"`
	Stage string `json:"stage"`
}

type orderDeleted struct {
	ID int `json:"id"`
}

// shop stands for what you do with the events.
type shop struct {
	out  io.Writer
	save func(orderChanged) error // nil: saves nothing
}

// handlers are those of the events. The module of what an application sends is
// "application".
func (s *shop) handlers() realtime.Handler {
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order.changed", s.change)
	realtime.On(mux, "application", "order.deleted", func(_ context.Context, o orderDeleted, _ realtime.Message) error {
		fmt.Fprintf(s.out, "order %d is deleted\n", o.ID)
		return nil
	})
	mux.HandleDefault(realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		slog.Info("no handler", "event", m)
		return nil
	}))
	// All the above hear the portal alone. What any user's browser can publish
	// has handlers of its own, and proves nothing but who has sent it.
	mux.FromClients().HandleDefault(realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		slog.Info("from a client", "sender", m.Sender.Type, "event", m)
		return nil
	}))
	return mux
}

func (s *shop) change(_ context.Context, o orderChanged, _ realtime.Message) error {
	if s.save != nil {
		if err := s.save(o); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "order %d is %s\n", o.ID, o.Stage)
	return nil
}
