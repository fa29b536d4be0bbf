package fleet_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/fleet"
	"golang.org/x/oauth2"
)

// A fleet of two portals, whose messages go to one handler each. What happens
// to a portal comes with its key.
func ExampleFleet() {
	ready := make(chan string, 2)
	f, err := fleet.New(fleet.WithObserver(func(e fleet.Event) {
		if e.Kind == fleet.KindReady {
			ready <- e.Key
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	heard := make(chan string)
	var portals []*pulltest.Portal
	for _, key := range []string{"east", "west"} {
		portal := pulltest.NewPortal(pulltest.WithHistory())
		defer portal.Close()
		portals = append(portals, portal)
		client, err := b24pull.New(b24pull.OAuth(portal.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})),
			b24pull.WithHTTPClient(portal.HTTPClient()))
		if err != nil {
			log.Fatal(err)
		}
		handler := realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			heard <- key + " " + m.Command
			return nil
		})
		if err := f.Add(key, client, handler); err != nil {
			log.Fatal(err)
		}
	}
	<-ready
	<-ready
	fmt.Println(f.Keys())
	for _, portal := range portals {
		portal.Emit(pulltest.Message{Command: "order.changed", To: pulltest.Shared})
		fmt.Println(<-heard)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.Remove(ctx, "east"); err != nil {
		log.Fatal(err)
	}
	status, _ := f.Status("west")
	fmt.Println(f.Keys(), status.State, status.Subscription)
	if err := f.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// [east west]
	// east order.changed
	// west order.changed
	// [west] running live
}

// An application listens to each portal from its installation until it
// uninstalls it. Here the portal is one in memory, and installs the application
// by a form, as a browser posts it.
func ExampleApplication() {
	portal := pulltest.NewPortal()
	defer portal.Close()
	known := portal.Application()
	tokens, err := oauth.NewTokens(&oauth.Application{
		ClientID: known.ClientID, ClientSecret: b24pull.Secret(known.ClientSecret), AuthServer: portal.AuthServer(), HTTPClient: portal.HTTPClient(),
	}, new(oauth.MemoryStore)) // a program takes oauth.NewTokenFolder, and fleet.NewCursorFolder for WithCursors
	if err != nil {
		log.Fatal(err)
	}
	type greeting struct {
		Text string `json:"text"`
	}
	heard, gone := make(chan string, 1), make(chan error, 1)
	handler := func(p fleet.Portal) realtime.Handler {
		mux := realtime.NewMux()
		realtime.On(mux, "application", "greeting", func(_ context.Context, g greeting, _ realtime.Message) error {
			heard <- g.Text
			return nil
		})
		return mux
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux) // https://HOST of a program
	app, err := fleet.NewApplication(tokens, handler,
		fleet.WithEventURL(server.URL+"/event"),
		fleet.WithReady(func(ctx context.Context, p fleet.Portal) error {
			return p.Client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "greeting", Params: greeting{"hello"}})
		}),
		fleet.WithObserver(func(e fleet.Event) {
			if e.Kind == fleet.KindRemoved {
				gone <- e.Err
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("POST /install", app.Callback(fleet.InstallPage()))
	mux.Handle("POST /event", app.Callback(nil))
	app.Start(context.Background()) // with the keys of the token store: the portals of before

	if err := portal.Install(context.Background(), server.URL+"/install"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	if err := portal.Uninstall(context.Background(), server.URL+"/event"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-gone)

	portal.HTTPClient().CloseIdleConnections()
	server.Close()
	if err := app.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello
	// b24pull: the token was deleted; the application may have been uninstalled
}
