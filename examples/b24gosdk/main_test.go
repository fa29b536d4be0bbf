package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/examples/internal/demo"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestSDK runs the program with its portal in memory.
func TestSDK(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &demo.Output{Enough: func(text string) bool { return strings.Count(text, "\n") == 2 }, End: cancel}
	if err := demonstrate(ctx, out); err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("%v, and has printed %q", err, out)
	}
	lines := strings.Split(out.String(), "\n")
	for _, line := range lines[:2] {
		if !strings.HasPrefix(line, "deal ") || !strings.HasSuffix(line, ": A ship of oranges") {
			t.Errorf("printed %q", line)
		}
	}
}

// TestSDK_OneToken: the SDK and a client of b24pull that meet the same refusal
// refresh once, and go on with the same token.
func TestSDK_OneToken(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	tokens, err := authorize(t.Context(), portal, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source := tokens.Source(key)
	sdk := &plainSDK{portal: portal.URL(), http: portal.HTTPClient(), tokens: Tokens{source}}
	client, err := b24pull.New(b24pull.OAuth(portal.URL(), source), b24pull.WithHTTPClient(portal.HTTPClient()))
	if err != nil {
		t.Fatal(err)
	}
	portal.ExpireToken()
	var both sync.WaitGroup
	for range 3 {
		both.Go(func() {
			if _, err := sdk.Call(t.Context(), "user.admin", nil); err != nil {
				t.Errorf("the SDK: %v", err)
			}
		})
		both.Go(func() {
			if _, err := client.Call(t.Context(), "user.admin", nil, nil); err != nil {
				t.Errorf("b24pull: %v", err)
			}
		})
	}
	both.Wait()
	if n := portal.Stats().Refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// TestSDK_Refusals: a refusal that came by way of the SDK ends a subscription as
// one of b24pull's own would.
func TestSDK_Refusals(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	tokens, err := authorize(t.Context(), portal, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	portal.RevokeTokens()
	sdk := &plainSDK{portal: portal.URL(), http: portal.HTTPClient(), tokens: Tokens{tokens.Source(key)}}
	sub, err := realtime.Subscribe(ConfigSource{SDK: sdk, HTTP: portal.HTTPClient()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sub.Run(ctx, realtime.NewMux()); !errors.Is(err, b24pull.ErrNoAuth) {
		t.Errorf("got %v", err)
	}
}
