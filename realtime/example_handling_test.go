package realtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// publish has the portal send an event for each of the params, as soon as the
// subscription is ready.
func publish(portal *pulltest.Portal, sub *realtime.Subscription, command string, params ...any) {
	<-sub.Ready()
	for _, p := range params {
		portal.Emit(pulltest.Message{Command: command, Params: p})
	}
}

// Middleware has the shape of that of net/http: here one that turns the panic of
// a handler into an error, which an error policy can decide upon, and one that
// takes the time.
func ExampleMux_Use() {
	portal, client := portal()
	defer portal.Close()

	recovers := func(next realtime.Handler) realtime.Handler {
		return realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fmt.Errorf("panic: %v", v)
				}
			}()
			return next.Handle(ctx, m)
		})
	}
	took := func(next realtime.Handler) realtime.Handler {
		return realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
			begun := time.Now()
			err := next.Handle(ctx, m)
			fmt.Println(m.Command, "took less than a minute:", time.Since(begun) < time.Minute, err)
			return err
		})
	}

	mux := realtime.NewMux()
	mux.Use(took, recovers) // took is the outer one
	realtime.On(mux, "application", "divide", func(_ context.Context, by int, _ realtime.Message) error {
		fmt.Println(12 / by)
		return nil
	})
	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	go publish(portal, sub, "divide", 3, 0)
	err = sub.Run(context.Background(), mux)
	fmt.Println(err)
	// Output:
	// 4
	// divide took less than a minute: true <nil>
	// divide took less than a minute: true panic: runtime error: integer divide by zero
	// realtime: handler of application divide: panic: runtime error: integer divide by zero
}

func ExampleMux_HandleModule() {
	mux := realtime.NewMux()
	say := func(what string) realtime.Handler {
		return realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			fmt.Println(what, m.Module, m.Command)
			return nil
		})
	}
	mux.HandleMessage("crm", "order.changed", say("an order:"))
	mux.HandleModule("crm", say("something else of the CRM:"))
	mux.HandleDefault(say("anything else:"))

	for _, m := range []realtime.Message{{Module: "crm", Command: "order.changed"}, {Module: "crm", Command: "lead.added"}, {Module: "im", Command: "message"}} {
		m.Sender.Type = realtime.SenderBackend // the portal
		if err := mux.Handle(context.Background(), m); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// an order: crm order.changed
	// something else of the CRM: crm lead.added
	// anything else: im message
}

// What a handler cannot do at once is tried again, with delays that double, and
// then left out.
func ExampleRetryPolicy() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client, realtime.WithErrorPolicy(realtime.RetryPolicy(5, time.Millisecond, time.Second, realtime.SkipMessage())))
	if err != nil {
		log.Fatal(err)
	}
	go publish(portal, sub, "order", 1, 2)
	calls := 0
	err = sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		if string(m.Params) == "2" {
			sub.Close()
			return nil
		}
		calls++
		return errors.New("the database is down")
	}))
	stats := sub.Stats()
	fmt.Println(calls, "calls;", stats.Failed, "failed,", stats.Retried, "of them were tried again;", stats.Skipped, "message skipped;", err)
	// Output: 5 calls; 5 failed, 4 of them were tried again; 1 message skipped; <nil>
}

// A message whose params are not what the program takes them for is skipped by
// default, and any that a policy skips. Dead letters are kept before that.
func ExampleWithDeadLetters() {
	portal, client := portal()
	defer portal.Close()

	type order struct{ ID int }
	sub, err := realtime.Subscribe(client, realtime.WithDeadLetters(func(ctx context.Context, failed *realtime.HandlerError) error {
		letter, err := json.Marshal(failed.Message) // insert it into a table
		if err != nil {
			return err
		}
		fmt.Println(strings.Contains(string(letter), `"params":{"ID":"seven"}`))
		var params *realtime.ParamsError
		if errors.As(failed, &params) {
			fmt.Println(params.Command, "does not decode as", params.Type)
		}
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order", func(_ context.Context, o order, _ realtime.Message) error {
		fmt.Println("order", o.ID)
		if o.ID == 8 {
			sub.Close()
		}
		return nil
	})
	go publish(portal, sub, "order", map[string]any{"ID": 6}, map[string]any{"ID": "seven"}, map[string]any{"ID": 8})
	if err := sub.Run(context.Background(), mux); err != nil {
		log.Fatal(err)
	}
	// Output:
	// order 6
	// true
	// order does not decode as realtime_test.order
	// order 8
}

// An effect that is to be had once, although a message can come again after a
// crash: its key is kept with the effect, here as the primary key of a table.
func ExampleMessage_Key() {
	portal, client := portal()
	defer portal.Close()

	payments := make(map[string]int) // CREATE TABLE payments (key VARCHAR(64) PRIMARY KEY, amount INT)
	pay := func(n int) {
		sub, err := realtime.Subscribe(client, realtime.WithHistory())
		if err != nil {
			log.Fatal(err)
		}
		err = sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			amount, err := realtime.Decode[int](m)
			if err != nil || m.Command != "paid" {
				return err
			}
			if _, done := payments[m.Key()]; done { // INSERT … ON CONFLICT DO NOTHING
				fmt.Println("again:", amount)
			} else {
				payments[m.Key()] = amount
				fmt.Println("paid:", amount)
			}
			if n--; n == 0 {
				sub.Close()
			}
			return nil
		}))
		if err != nil {
			log.Fatal(err)
		}
	}
	for _, amount := range []int{100, 250} {
		portal.Emit(pulltest.Message{Command: "paid", Params: amount})
	}
	pay(1)
	pay(2) // another process, which does not know where the first one has stopped
	// Output:
	// paid: 100
	// again: 100
	// paid: 250
}

func ExampleMessage_MarshalJSON() {
	m := realtime.Message{
		Module: "crm", Command: "order.changed", Params: json.RawMessage(`{"id":7}`), ID: "17954211000000000000000042",
		Time: time.Date(2026, 11, 23, 9, 5, 0, 0, time.UTC), Channel: realtime.ChannelPrivate, Sender: realtime.Sender{Type: realtime.SenderBackend},
	}
	form, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(form))

	var back realtime.Message
	if err := json.Unmarshal(form, &back); err != nil {
		log.Fatal(err)
	}
	fmt.Println(back.Key() == m.Key())
	// Output:
	// {
	//   "key": "17954211000000000000000042-fe392b6b3c1ec18666457a97a31b0736",
	//   "id": "17954211000000000000000042",
	//   "time": "2026-11-23T09:05:00Z",
	//   "module": "crm",
	//   "command": "order.changed",
	//   "params": {
	//     "id": 7
	//   },
	//   "channel": "private",
	//   "sender": {
	//     "type": "backend"
	//   },
	//   "replayed": false,
	//   "late": false
	// }
	// true
}

// What one is paged for: that the cursor falls behind, that it is not saved, and
// that messages are skipped or may have been lost.
func ExampleSubscription_Stats() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client, realtime.WithCursorStore(new(realtime.MemoryStore)))
	if err != nil {
		log.Fatal(err)
	}
	go publish(portal, sub, "order", 1, 2, 3)
	err = sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		if string(m.Params) == "3" {
			sub.Close()
		}
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	s := sub.Stats()
	fmt.Println("handled", s.Handled, "of", s.Messages, "lag", s.CursorLag, "queued", s.QueuedMessages)
	fmt.Println("failed", s.Failed, "skipped", s.Skipped, "gaps", s.Gaps, "forgotten", s.Forgotten)
	fmt.Println("saved", s.Saves > 0, time.Since(s.LastSave) < time.Minute, "failed saves", s.FailedSaves)
	// Output:
	// handled 3 of 3 lag 0s queued 0
	// failed 0 skipped 0 gaps 0 forgotten 0
	// saved true true failed saves 0
}

// What handlers fail with, and what becomes of it, is told beside the log.
func ExampleHandlerFailed() {
	portal, client := portal()
	defer portal.Close()

	told := make(chan realtime.HandlerFailed, 1)
	sub, err := realtime.Subscribe(client, realtime.WithErrorPolicy(func(*realtime.HandlerError, int) realtime.ErrorAction { return realtime.SkipMessage() }),
		realtime.WithObserver(func(e realtime.Event) {
			if e, ok := e.(realtime.HandlerFailed); ok {
				told <- e
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	go publish(portal, sub, "order", 7)
	go func() {
		e := <-told
		fmt.Println(e.Action, e.Attempt, e.Err)
		sub.Close()
	}()
	err = sub.Run(context.Background(), realtime.HandlerFunc(func(context.Context, realtime.Message) error { return errors.New("no such order") }))
	fmt.Println(err)
	// Output:
	// skip 1 realtime: handler of application order: no such order
	// <nil>
}
