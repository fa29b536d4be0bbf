package pulltest_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// An application is installed on two portals. Its tokens come from one
// authorization server, which refreshes those of both.
func ExampleAuthServer() {
	server := pulltest.NewAuthServer(pulltest.Application{Name: "shop"}, nil)
	defer server.Close()
	first := pulltest.NewPortal(pulltest.WithAuthServer(server))
	defer first.Close()
	second := pulltest.NewPortal(pulltest.WithAuthServer(server))
	defer second.Close()

	tokens, err := oauth.NewTokens(&oauth.Application{
		ClientID:     server.Application().ClientID,
		ClientSecret: b24pull.Secret(server.Application().ClientSecret),
		AuthServer:   server.URL(),
		HTTPClient:   server.HTTPClient(),
	}, new(oauth.MemoryStore))
	if err != nil {
		log.Fatal(err)
	}
	handler := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callback, err := oauth.ParseCallback(r)
		if err == nil {
			err = tokens.Handle(r.Context(), callback)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	defer handler.Close()

	ctx := context.Background()
	for _, portal := range []*pulltest.Portal{first, second} {
		if err := portal.Install(ctx, handler.URL); err != nil {
			log.Fatal(err)
		}
		before := portal.Stats().Refreshes
		portal.ExpireToken() // the application has to refresh it
		client, err := b24pull.New(b24pull.OAuth(portal.URL(), tokens.Source(portal.MemberID())), b24pull.WithHTTPClient(server.HTTPClient()))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := client.GetApplicationConfig(ctx, true); err != nil {
			log.Fatal(err)
		}
		fmt.Println("refreshed:", portal.Stats().Refreshes-before)
	}
	// Output:
	// refreshed: 1
	// refreshed: 1
}
