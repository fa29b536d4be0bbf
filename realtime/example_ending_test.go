package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// The usual shape of a program that runs until it is told to stop, and then
// handles what it has received, within a time.
func ExampleSubscription_Drain() {
	portal, client := portal()
	defer portal.Close()
	signalled, signal := context.WithCancel(context.Background()) // of signal.NotifyContext
	defer signal()

	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	go sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		if m.Command == "three" {
			signal() // while it is being handled
		}
		fmt.Println("handled", m.Command)
		return nil
	}))
	if err := sub.WaitReady(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, command := range []string{"one", "two", "three"} {
		portal.Emit(pulltest.Message{Command: command})
	}

	select {
	case <-sub.Done(): // it has ended by itself
		log.Fatal(sub.Err())
	case <-signalled.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = sub.Drain(grace)
	var left *realtime.DrainError
	if errors.As(err, &left) {
		fmt.Println("not handled:", left.Unhandled)
	}
	fmt.Println("drained:", err)
	// Output:
	// handled one
	// handled two
	// handled three
	// drained: <nil>
}

// A handler that has seen enough has the rest handled, too.
func ExampleSubscription_Drain_handler() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client, realtime.WithHistory())
	if err != nil {
		log.Fatal(err)
	}
	portal.Emit(pulltest.Message{Command: "last"})
	err = sub.Run(context.Background(), realtime.HandlerFunc(func(ctx context.Context, m realtime.Message) error {
		if m.Command == "last" {
			return sub.Drain(ctx) // begins, and does not wait for itself
		}
		return nil
	}))
	fmt.Println("Run returned", err)
	// Output: Run returned <nil>
}

// WaitReady cannot hang where a channel would: it returns what Run did.
func ExampleSubscription_WaitReady() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	got := make(chan string)
	go sub.Run(context.Background(), realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
		got <- m.Command
		return nil
	}))
	defer sub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := sub.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	portal.Emit(pulltest.Message{Command: "hello"}) // arrives
	fmt.Println(<-got)
	// Output: hello
}

// What somebody has to see to is not waited for: the error says what to do.
func ExampleSubscription_WaitReady_error() {
	portal := pulltest.NewPortal()
	defer portal.Close()
	empty := oauth2.StaticTokenSource(new(oauth2.Token)) // of a variable that is not set, say
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), empty), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		log.Fatal(err)
	}
	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	go sub.Run(context.Background(), realtime.NewMux())
	fmt.Println(sub.WaitReady(context.Background()))
	// Output: b24pull: no access token: the token source returned an empty token and no error; give it an access token
}

// Err tells how a subscription has ended that runs in the background.
func ExampleSubscription_Err() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background()) // as of oauth.TokenSource.Context
	go sub.Run(ctx, realtime.NewMux())
	if err := sub.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	cancel(b24pull.ErrUninstalled) // the portal has removed the application
	<-sub.Done()
	fmt.Println(errors.Is(sub.Err(), b24pull.ErrUninstalled))
	// Output: true
}
