package b24pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/b24pull/b24pull"
	"golang.org/x/oauth2"
)

func ExampleNew() {
	client, err := b24pull.New(b24pull.Webhook("https://portal.bitrix24.com/rest/1/0123456789abcdef/"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.Portal())
	fmt.Println(client) // tells no secret

	_, err = b24pull.New(b24pull.Webhook("http://portal.bitrix24.com/rest/1/0123456789abcdef/"))
	fmt.Println(err)
	// Output:
	// https://portal.bitrix24.com
	// b24pull.Client(b24pull.Webhook(https://portal.bitrix24.com))
	// b24pull: webhook: https is required: over http anybody on the way reads the webhook's code; http is for a loopback host, or with WithPlainHTTP
}

func ExampleClient_GetApplicationConfig() {
	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"result":{
			"server":{"version":4,"websocket_enabled":true,"websocket_secure":"wss://rt.bitrix24.com/subws/"},
			"channels":{"private":{"id":"a1b2:c3d4.e5f6","end":"2026-04-01T05:05:23+02:00","type":"private"}}}}`)
	}))
	defer portal.Close()

	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "ACCESS_TOKEN"})
	client, err := b24pull.New(b24pull.OAuth(portal.URL, tokens), b24pull.WithHTTPClient(portal.Client()))
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := client.GetApplicationConfig(context.Background(), true)
	switch {
	case errors.Is(err, b24pull.ErrServerNotConfigured):
		fmt.Println("turn on Push & Pull in the portal's settings")
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Server.Version, cfg.Server.WebSocketSecure)
	fmt.Println(cfg.Channels.Private.End)
	fmt.Println(cfg.Channels.Private.ID)         // tells no secret
	fmt.Println(string(cfg.Channels.Private.ID)) // does
	// Output:
	// 4 wss://rt.bitrix24.com/subws/
	// 2026-04-01 03:05:23 +0000 UTC
	// [redacted]
	// a1b2:c3d4.e5f6
}

func ExampleClient_AddApplicationEvent() {
	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"result":true}`)
	}))
	defer portal.Close()

	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "ACCESS_TOKEN"})
	client, err := b24pull.New(b24pull.OAuth(portal.URL, tokens), b24pull.WithHTTPClient(portal.Client()))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = client.AddApplicationEvent(context.Background(), b24pull.ApplicationEvent{
		Command: "order.changed",
		Params:  map[string]any{"id": 7},
	})
	fmt.Println(err)
	// Output: <nil>
}
