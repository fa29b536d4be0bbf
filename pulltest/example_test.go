package pulltest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// A program asks the portal for its config, as over REST, and hears over a
// websocket in text framing what the portal publishes.
func ExamplePortal() {
	portal := pulltest.NewPortal()
	defer portal.Close()

	resp, err := portal.HTTPClient().Get(portal.URL() + "/rest/pull.application.config.get?auth=" + portal.AccessToken())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	var config struct {
		Result struct {
			Server   struct{ Websocket_secure string }
			Channels struct{ Private struct{ ID string } }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&config); err != nil {
		fmt.Println(err)
		return
	}

	transport := portal.HTTPClient().Transport.(*http.Transport)
	dialer := websocket.Dialer{
		NetDialContext:  transport.DialContext,
		TLSClientConfig: transport.TLSClientConfig.Clone(),
	}
	id := url.QueryEscape(config.Result.Channels.Private.ID)
	ws, _, err := dialer.Dial(config.Result.Server.Websocket_secure+"?CHANNEL_ID="+id, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close()

	portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]int{"id": 7}})
	_, frame, err := ws.ReadMessage()
	if err != nil {
		fmt.Println(err)
		return
	}
	text := strings.TrimSuffix(strings.TrimPrefix(string(frame), "#!NGINXNMS!#"), "#!NGINXNME!#")
	var message struct {
		Text struct {
			Module_id, Command string
			Params             map[string]int
		}
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(message.Text.Module_id, message.Text.Command, message.Text.Params)
	// Output:
	// application order.changed map[id:7]
}

// clientOf is a client of the portal's application. A program under test makes
// its own.
func clientOf(portal *pulltest.Portal) *b24pull.Client {
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// A portal at work has something in its channels, and whoever subscribes to it is
// ready at once: so a test need not wait two seconds on real time, either. What
// was there before the subscription is not handed to it.
func ExampleWithHistory() {
	portal := pulltest.NewPortal(pulltest.WithHistory(pulltest.Message{Command: "order.changed", Params: map[string]any{"id": 6}}))
	defer portal.Close()

	sub, err := realtime.Subscribe(clientOf(portal))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := sub.WaitReady(context.Background()); err != nil {
			return // which the loop is told, too
		}
		portal.Emit(pulltest.Message{Command: "order.changed", Params: map[string]any{"id": 7}})
	}()
	for message, err := range sub.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(message.Command, string(message.Params))
		break
	}
	// Output: order.changed {"id":7}
}

// A program reads a deal, by a method that the test carries out itself.
func ExampleWithMethod() {
	portal := pulltest.NewPortal(pulltest.WithMethod("crm.deal.get", func(_ context.Context, call pulltest.Call) (any, error) {
		if id, ok := call.Int("id"); !ok || id != 7 {
			return nil, &pulltest.MethodError{Description: "Not found"}
		}
		return map[string]any{"ID": "7", "TITLE": "Chairs"}, nil
	}))
	defer portal.Close()

	client := clientOf(portal)
	for _, id := range []int{7, 8} {
		var deal struct{ Title string }
		_, err := client.Call(context.Background(), "crm.deal.get", map[string]any{"id": id}, &deal)
		fmt.Printf("%q %v\n", deal.Title, err)
	}
	// Output:
	// "Chairs" <nil>
	// "" b24pull: crm.deal.get: Not found (HTTP 400)
}

// The portal knows when it has sent a message; that the handler is done with it,
// the handler tells. Here the connection is cut just before, and the message is
// read from the history.
func ExamplePortal_EmitAndWait() {
	portal := pulltest.NewPortal(pulltest.WithHistory())
	defer portal.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	sub, err := realtime.Subscribe(clientOf(portal))
	if err != nil {
		log.Fatal(err)
	}
	handled := make(chan string)
	done := make(chan error)
	go func() {
		done <- sub.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			handled <- m.Command
			return nil
		}))
	}()
	if err := sub.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := portal.Cut(); err != nil {
		log.Fatal(err)
	}
	if _, err := portal.EmitAndWait(ctx, pulltest.Message{Command: "order.changed"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent, and handled:", <-handled)
	sub.Close()
	fmt.Println("ended:", <-done)
	// Output:
	// sent, and handled: order.changed
	// ended: <nil>
}
