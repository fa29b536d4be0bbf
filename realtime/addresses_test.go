package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestAddresses_OneBrokenAddress: on real servers' configs with an address that
// is none the other one carries the messages, and a config that does not say
// whether there are websockets has them if it names one.
func TestAddresses_OneBrokenAddress(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()

	edits := []struct {
		name string
		edit func(server map[string]any)
		want Transport
	}{
		{"no websocket address", func(s map[string]any) { s["websocket"], s["websocket_secure"] = false, "wss://#DOMAIN#/subws/" }, TransportLongPolling},
		{"no polling address", func(s map[string]any) { s["long_polling"], s["long_pooling_secure"] = "ftp://x/", "https:///sub/" }, TransportWebSocket},
		{"no websocket_enabled", func(s map[string]any) { delete(s, "websocket_enabled") }, TransportWebSocket},
	}
	for version := 1; version <= 5; version++ {
		for _, tt := range edits {
			if version < 3 && tt.name == "no polling address" {
				continue // they are read by polls only
			}
			all.Go(func() {
				t.Run(fmt.Sprintf("version %d, %s", version, tt.name), func(t *testing.T) {
					portal := pulltest.NewPortal(pulltest.WithVersion(version), pulltest.WithHistory())
					defer portal.Close()
					var saved map[string]any
					if err := json.Unmarshal(portal.ConfigJSON(), &saved); err != nil {
						t.Fatal(err)
					}
					tt.edit(saved["server"].(map[string]any))
					data, err := json.Marshal(saved)
					if err != nil {
						t.Fatal(err)
					}
					cfg := new(b24pull.Config)
					if err := json.Unmarshal(data, cfg); err != nil {
						t.Fatal(err)
					}
					sub, err := Subscribe(FromConfig(cfg), WithHTTPClient(portal.HTTPClient()))
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan error, 1)
					got := make(chan string, 10)
					ctx, cancel := context.WithCancel(t.Context())
					go func() {
						done <- sub.Run(ctx, HandlerFunc(func(_ context.Context, m Message) error { got <- m.Command; return nil }))
					}()
					select {
					case <-sub.Ready():
					case err := <-done:
						t.Fatal(err)
					}
					portal.Emit(pulltest.Message{Command: "tick"})
					if command := <-got; command != "tick" {
						t.Errorf("got %s", command)
					}
					if s := portal.Stats(); (s.WebSockets > 0) != (tt.want == TransportWebSocket) {
						t.Errorf("%d websockets, %d polls; want %v", s.WebSockets, s.Polls, tt.want)
					}
					cancel()
					<-done
				})
			})
		}
	}
}
