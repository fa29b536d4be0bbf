package publish_test

import (
	"context"
	"fmt"
	"log"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/publish"
)

// Two users of an application, on a portal in memory: the first one types.
func Example() {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	user := func(id int) *b24pull.Client {
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.Token(id).AccessToken})
		client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
		if err != nil {
			log.Fatal(err)
		}
		return client
	}

	sub, err := realtime.Subscribe(user(2))
	if err != nil {
		log.Fatal(err)
	}
	p, err := publish.New(user(1))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-sub.Ready()
		online, err := p.Online(context.Background(), 2)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("user 2 is online:", online[2].Online)
		err = p.Publish(context.Background(), publish.Message{
			Users: []int64{2}, Module: "application", Command: "typing",
			Params: map[string]any{"chat": 7},
		})
		if err != nil {
			log.Fatal(err)
		}
	}()
	for msg, err := range sub.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(msg.Sender.Type, msg.Command, string(msg.Params))
		break
	}
	<-done
	// Output:
	// user 2 is online: true
	// client typing {"chat":7}
}
