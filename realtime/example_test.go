package realtime_test

import (
	"context"
	"fmt"
	"log"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// portal starts a portal in memory and makes a client of its application. A
// program uses its own portal's address and token source instead.
func portal() (*pulltest.Portal, *b24pull.Client) {
	p := pulltest.NewPortal(pulltest.WithHistory())
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.AccessToken()})
	client, err := b24pull.New(b24pull.OAuth(p.URL(), tokens), b24pull.WithHTTPClient(p.HTTPClient()))
	if err != nil {
		log.Fatal(err)
	}
	return p, client
}

func ExampleSubscription_Messages() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		<-sub.Ready() // what is sent from now on arrives
		portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]any{"id": 7, "stage": "paid"}})
	}()
	for msg, err := range sub.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(msg.Module, msg.Command, string(msg.Params))
		break
	}
	// Output: application order.changed {"id":7,"stage":"paid"}
}

func ExampleSubscription_Run() {
	portal, client := portal()
	defer portal.Close()

	sub, err := realtime.Subscribe(client)
	if err != nil {
		log.Fatal(err)
	}
	type order struct {
		ID    int    `json:"id"`
		Stage string `json:"stage"`
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "order.changed", func(_ context.Context, o order, _ realtime.Message) error {
		fmt.Printf("order %d is %s\n", o.ID, o.Stage)
		if o.Stage == "closed" {
			sub.Close()
		}
		return nil
	})
	go func() {
		<-sub.Ready()
		for _, stage := range []string{"paid", "closed"} {
			portal.Emit(pulltest.Message{Command: "order.changed", Params: order{7, stage}})
		}
	}()
	if err := sub.Run(context.Background(), mux); err != nil {
		log.Fatal(err)
	}
	// Output:
	// order 7 is paid
	// order 7 is closed
}

// A cursor, stored with what its message has caused, makes the next process go
// on right behind it.
func ExampleWithCursor() {
	portal, client := portal()
	defer portal.Close()

	var stored []byte // in a database, say
	listen := func(count int) {
		var cursor realtime.Cursor
		if err := cursor.UnmarshalText(stored); err != nil {
			log.Fatal(err)
		}
		sub, err := realtime.Subscribe(client, realtime.WithCursor(cursor))
		if err != nil {
			log.Fatal(err)
		}
		if cursor.IsZero() {
			go func() {
				<-sub.Ready()
				for i := 1; i <= 4; i++ {
					portal.Emit(pulltest.Message{Command: "tick", Params: []int{i}})
				}
			}()
		}
		for msg, err := range sub.Messages(context.Background()) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(msg.Command, string(msg.Params))
			if stored, err = msg.Cursor().MarshalText(); err != nil {
				log.Fatal(err)
			}
			if count--; count == 0 {
				break
			}
		}
	}
	listen(1)
	fmt.Println("restarted")
	listen(3)
	// Output:
	// tick [1]
	// restarted
	// tick [2]
	// tick [3]
	// tick [4]
}
