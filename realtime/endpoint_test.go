package realtime

import (
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

func TestSubscribeChecks(t *testing.T) {
	good := &b24pull.Config{
		Server:   b24pull.Server{Version: 4, WebSocketEnabled: true, WebSocketSecure: "wss://rt.example/sub/", LongPollingSecure: "https://rt.example/sub/"},
		Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "private-id"}},
	}
	change := func(edit func(*b24pull.Config)) ConfigSource {
		c := *good
		edit(&c)
		return FromConfig(&c)
	}
	var noClient *b24pull.Client
	tests := []struct {
		name   string
		source ConfigSource
		opt    Option
		want   string // in the error; empty: none
	}{
		{"good", FromConfig(good), nil, ""},
		{"no source", nil, nil, "source is nil"},
		{"nil client", noClient, nil, "source is nil"},
		{"nil portal client", PortalConfig(nil), nil, "source is nil"},
		{"nil config", FromConfig(nil), nil, "source is nil"},
		{"version 5", change(func(c *b24pull.Config) { c.Server.Version = 5 }), nil, "version 5"},
		{"websockets off", change(func(c *b24pull.Config) { c.Server.WebSocketEnabled = false }), nil, "websockets are off"},
		{"no channel", change(func(c *b24pull.Config) { c.Channels = b24pull.Channels{} }), nil, "neither a private nor a shared channel"},
		{"no websocket", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "" }), nil, "no websocket URL"},
		{"no polling", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "" }), nil, "no long polling URL"},
		{"a websocket URL that is none", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "rt.example/private-id" }), nil, "wss://host/path"},
		{"nil HTTP client", FromConfig(good), WithHTTPClient(nil), "WithHTTPClient"},
		{"nil dialer", FromConfig(good), WithDialer(nil), "WithDialer"},
		{"nil logger", FromConfig(good), WithLogger(nil), "WithLogger"},
		{"nil observer", FromConfig(good), WithObserver(nil), "WithObserver"},
		{"nil backoff", FromConfig(good), WithBackoff(nil), "WithBackoff"},
		{"a transport of another kind", FromConfig(good), WithHTTPClient(&http.Client{Transport: redact.NoRedirect{}}), "WithDialer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := []Option{}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			_, err := Subscribe(tt.source, opts...)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "private-id"):
				t.Errorf("a secret in %v", err)
			}
		})
	}
	if _, err := Subscribe(FromConfig(good), nil); err == nil {
		t.Error("a nil option was taken")
	}
}

func TestEndpoint(t *testing.T) {
	cfg := func(edit func(*b24pull.Config)) *b24pull.Config {
		c := &b24pull.Config{
			Server: b24pull.Server{
				Version: 4, WebSocketEnabled: true,
				WebSocket: "ws://rt.example/plain/", WebSocketSecure: "wss://rt.example/sub/",
				LongPolling: "http://rt.example/plain/", LongPollingSecure: "https://rt.example/sub/",
			},
			Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "aa:bb.cc"}, Shared: &b24pull.Channel{ID: "dd.ee"}},
		}
		if edit != nil {
			edit(c)
		}
		return c
	}
	const query = "CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&binaryMode=true&revision=19"
	tests := []struct {
		name         string
		edit         func(*b24pull.Config)
		socket, poll string
	}{
		{"secure, private channel first", nil, "wss://rt.example/sub/?" + query, "https://rt.example/sub/?" + query},
		{"plain where there is nothing else", func(c *b24pull.Config) { c.Server.WebSocketSecure, c.Server.LongPollingSecure = "", "" },
			"ws://rt.example/plain/?" + query, "http://rt.example/plain/?" + query},
		{"the path exactly, and its own query", func(c *b24pull.Config) {
			c.Server.WebSocketSecure, c.Server.LongPollingSecure = "wss://rt.example/sub", "https://rt.example/sub/?a=b"
		}, "wss://rt.example/sub?" + query, "https://rt.example/sub/?a=b&" + query},
		{"shared only", func(c *b24pull.Config) { c.Channels.Private = nil },
			"wss://rt.example/sub/?CHANNEL_ID=dd.ee&binaryMode=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=dd.ee&binaryMode=true&revision=19"},
		{"a cloud server's client id", func(c *b24pull.Config) { c.ClientID = "c/1" },
			"wss://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&clientId=c%2F1&binaryMode=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&clientId=c%2F1&binaryMode=true&revision=19"},
		{"a token in place of the channels", func(c *b24pull.Config) { c.JWT = "j.w.t" },
			"wss://rt.example/sub/?token=j.w.t&binaryMode=true&revision=19", "https://rt.example/sub/?token=j.w.t&binaryMode=true&revision=19"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ep, err := newEndpoint(cfg(tt.edit))
			if err != nil {
				t.Fatal(err)
			}
			if ep.socket.url != tt.socket || ep.poll.url != tt.poll {
				t.Errorf("got\n%s\n%s, want\n%s\n%s", ep.socket, ep.poll, tt.socket, tt.poll)
			}
			if got := ep.poll.after(midAt(7)).url; got != tt.poll+"&mid="+midAt(7).String() {
				t.Errorf("polls %s", got)
			}
		})
	}
}
