package doctor_test

import (
	"context"
	"fmt"
	"log"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// A portal whose websockets do not get through a gateway.
func ExampleCheck() {
	portal := pulltest.NewPortal()
	defer portal.Close()
	portal.Misbehave(pulltest.WebSockets, pulltest.WebPage)

	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		log.Fatal(err)
	}
	report := doctor.Check(context.Background(), client, doctor.WithEvents())
	for _, c := range report.Checks {
		switch {
		case c.Status != doctor.Pass && c.Status != doctor.Skip:
			fmt.Printf("%s: %s: %s\n   %s\n", c.Status, c.Name, c.Detail, c.Advice)
		case c.Name == "order" || c.Name == "history":
			fmt.Printf("%s: %s\n", c.Status, c.Name)
		}
	}
	fmt.Println("may be relied upon:", report.Err() == nil)
	// Output:
	// warn: websocket: HTTP 200 OK
	//    have the gateway pass websockets on: for nginx proxy_http_version 1.1, and the headers Upgrade and Connection; until then long polling stands in, if it works
	// pass: order
	// pass: history
	// may be relied upon: true
}
