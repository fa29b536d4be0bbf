// Command b24gosdk hears a portal's events by b24pull and reads the portal's
// data by another REST client, as the official Go SDK b24gosdk is: that one has
// every method by its name, b24pull has the events. Its client is the source of
// the subscription's config, and both have one token.
//
// It runs on a portal in memory, with a small client in the SDK's place: sdk.go
// is what to take over.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := demonstrate(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// demonstrate runs on a portal in memory that has a deal and tells of changes.
func demonstrate(ctx context.Context, out io.Writer) error {
	portal := demo.Start(func(n int) pulltest.Message {
		return pulltest.Message{Command: "deal.changed", Params: dealChanged{ID: n}}
	})
	defer portal.Close()
	portal.Answer("crm.deal.get", deal{Title: "A ship of oranges"})
	folder, err := os.MkdirTemp("", "b24pull-tokens-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	tokens, err := authorize(ctx, portal.Portal, folder)
	if err != nil {
		return err
	}
	return run(ctx, portal.URL(), tokens, portal.HTTPClient(), out)
}

// key is what the portal's token is kept by.
const key = "portal"

// authorize keeps a token as Exchange returns one after a user has let the
// application in.
func authorize(ctx context.Context, portal *pulltest.Portal, folder string) (*oauth.Tokens, error) {
	store, err := oauth.NewTokenFolder(folder)
	if err != nil {
		return nil, err
	}
	registered := portal.Application()
	app := &oauth.Application{
		ClientID: registered.ClientID, ClientSecret: b24pull.Secret(registered.ClientSecret),
		AuthServer: portal.AuthServer(), HTTPClient: portal.HTTPClient(),
	}
	tokens, err := oauth.NewTokens(app, store)
	if err != nil {
		return nil, err
	}
	given := portal.Token(1)
	token := &oauth.Token{
		Token:  oauth2.Token{AccessToken: given.AccessToken, RefreshToken: given.RefreshToken, Expiry: given.Expires},
		Portal: portal.URL(),
	}
	return tokens, tokens.Put(ctx, key, token)
}

type dealChanged struct {
	ID int `json:"id"`
}

type deal struct {
	Title string `json:"TITLE"`
}

// run hears of deals and reads them by the SDK.
func run(ctx context.Context, portal string, tokens *oauth.Tokens, client *http.Client, out io.Writer) error {
	// The one source of tokens. A b24pull.Client for what has to be called with
	// it, like AddApplicationEvent, takes it too: b24pull.OAuth(portal, source).
	source := tokens.Source(key)
	sdk := &plainSDK{portal: portal, http: client, tokens: Tokens{source}}

	sub, err := realtime.Subscribe(ConfigSource{SDK: sdk, HTTP: client})
	if err != nil {
		return err
	}
	mux := realtime.NewMux()
	realtime.On(mux, "application", "deal.changed", func(ctx context.Context, changed dealChanged, _ realtime.Message) error {
		result, err := sdk.Call(ctx, "crm.deal.get", map[string]any{"ID": changed.ID})
		if err != nil {
			return err
		}
		var d deal
		if err := json.Unmarshal(result, &d); err != nil {
			return err
		}
		fmt.Fprintf(out, "deal %d: %s\n", changed.ID, d.Title)
		return nil
	})
	if err := sub.Run(ctx, mux); ctx.Err() == nil {
		return err
	}
	return nil
}
