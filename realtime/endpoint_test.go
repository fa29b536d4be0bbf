package realtime

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

func TestEndpoint_SubscribeChecks(t *testing.T) {
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
		{"no version", change(func(c *b24pull.Config) { c.Server.Version = 0 }), nil, "version is 0"},
		{"websockets off", change(func(c *b24pull.Config) { c.Server.WebSocketEnabled = false }), nil, ""},
		{"websockets off, and nothing else", change(func(c *b24pull.Config) { c.Server.WebSocketEnabled, c.Server.LongPollingSecure = false, "" }), nil, "neither websockets nor long polling"},
		{"websockets off, and wanted", change(func(c *b24pull.Config) { c.Server.WebSocketEnabled = false }), WithTransport(TransportWebSocket), "websockets are off"},
		{"no channel", change(func(c *b24pull.Config) { c.Channels = b24pull.Channels{} }), nil, "neither a private nor a shared channel"},
		{"no websocket", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "" }), nil, ""},
		{"no polling", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "" }), nil, ""},
		{"no polling, and wanted", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "" }), WithTransport(TransportLongPolling), "no long polling"},
		{"no polling on version 2", change(func(c *b24pull.Config) { c.Server.Version, c.Server.LongPollingSecure = 2, "" }), nil, "no long polling URL"},
		{"no such transport", FromConfig(good), WithTransport(3), "no transport 3"},
		{"a websocket URL that is none, and polls", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "rt.example/private-id" }), nil, ""},
		{"a websocket URL that is none, and wanted", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "rt.example/private-id" }), WithTransport(TransportWebSocket), "websocket_secure: it has no scheme"},
		{"a polling URL that is none, and websockets", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "https:///private-id" }), nil, ""},
		{"a polling URL that is none, and wanted", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "https:///private-id" }), WithTransport(TransportLongPolling), "long_polling_secure: it has no host"},
		{"a polling URL that is none, on version 2", change(func(c *b24pull.Config) { c.Server.Version, c.Server.LongPollingSecure = 2, "https:///private-id" }), nil, "long_polling_secure: it has no host"},
		{"a polling URL that is none, and websockets off", change(func(c *b24pull.Config) {
			c.Server.WebSocketEnabled, c.Server.LongPollingSecure = false, "https:///private-id"
		}), nil, "long_polling_secure: it has no host"},
		{"no URL is one", change(func(c *b24pull.Config) {
			c.Server.WebSocketSecure, c.Server.LongPollingSecure = "https://rt.example/private-id", "https://rt.example:private-id/"
		}), nil, "websocket_secure: its scheme is not wss or ws; want wss://host/path; long_polling_secure: it is not a URL"},
		{"nil HTTP client", FromConfig(good), WithHTTPClient(nil), "WithHTTPClient"},
		{"nil dialer", FromConfig(good), WithDialer(nil), "WithDialer"},
		{"nil logger", FromConfig(good), WithLogger(nil), "WithLogger"},
		{"nil observer", FromConfig(good), WithObserver(nil), "WithObserver"},
		{"nil backoff", FromConfig(good), WithBackoff(nil), "WithBackoff"},
		{"a transport of another kind", FromConfig(good), WithHTTPClient(&http.Client{Transport: redact.NewTransport(nil)}), ""},
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
		{"version 5 speaks JSON-RPC", func(c *b24pull.Config) { c.Server.Version = 5 },
			"wss://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&jsonRpc=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&jsonRpc=true&revision=19"},
		{"version 7 does as well", func(c *b24pull.Config) { c.Server.Version = 7 },
			"wss://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&jsonRpc=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&jsonRpc=true&revision=19"},
		{"version 3 speaks text", func(c *b24pull.Config) { c.Server.Version = 3 },
			"wss://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&revision=19", "https://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&revision=19"},
		{"websockets are off", func(c *b24pull.Config) { c.Server.WebSocketEnabled = false }, "", "https://rt.example/sub/?" + query},
		{"no long polling", func(c *b24pull.Config) { c.Server.LongPolling, c.Server.LongPollingSecure = "", "" }, "wss://rt.example/sub/?" + query, ""},
		{"no usable polling URL", func(c *b24pull.Config) {
			c.Server.LongPolling, c.Server.LongPollingSecure = "ftp://rt.example/", "garbage"
		}, "wss://rt.example/sub/?" + query, ""},
		{"no usable websocket URL", func(c *b24pull.Config) { c.Server.WebSocket, c.Server.WebSocketSecure = "ws:", "wss://#DOMAIN#/sub/" }, "", "https://rt.example/sub/?" + query},
		{"plain where the secure URL is none", func(c *b24pull.Config) { c.Server.WebSocketSecure, c.Server.LongPollingSecure = "garbage", "https://" },
			"ws://rt.example/plain/?" + query, "http://rt.example/plain/?" + query},
		{"secure where the plain URL is none", func(c *b24pull.Config) { c.Server.WebSocket, c.Server.LongPolling = "garbage", "https://" },
			"wss://rt.example/sub/?" + query, "https://rt.example/sub/?" + query},
		{"white space around them", func(c *b24pull.Config) {
			c.Server.WebSocketSecure, c.Server.LongPollingSecure = " wss://rt.example/sub/\n", "\ufeffhttps://rt.example/sub/"
		}, "wss://rt.example/sub/?" + query, "https://rt.example/sub/?" + query},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ep, err := newEndpoint(cfg(tt.edit), false)
			if err != nil {
				t.Fatal(err)
			}
			if ep.socket.URL != tt.socket || ep.poll.URL != tt.poll {
				t.Errorf("got\n%s\n%s, want\n%s\n%s", ep.socket.URL, ep.poll.URL, tt.socket, tt.poll)
			}
			if at := ep.after(ep.poll, midAt(7)); tt.poll != "" && at.URL != tt.poll+"&mid="+midAt(7).String() {
				t.Errorf("reads %s", at.URL)
			}
		})
	}
	t.Run("another server at the same address", func(t *testing.T) {
		of := func(edit func(*b24pull.Config)) *endpoint {
			ep, err := newEndpoint(cfg(edit), false)
			if err != nil {
				t.Fatal(err)
			}
			return &ep
		}
		rename := func(c *b24pull.Config) { c.Server.Hostname = "another.example" }
		replace := func(c *b24pull.Config) {
			c.Channels.Private = &b24pull.Channel{ID: "77.s", Type: "private"}
			c.Channels.Shared = nil
		}
		both := func(c *b24pull.Config) { rename(c); replace(c) }
		cloud := func(edit func(*b24pull.Config)) *endpoint {
			return of(func(c *b24pull.Config) { c.ClientID = "client"; edit(c) })
		}
		for _, tt := range []struct {
			name            string
			from, to        *endpoint
			same, continues bool
		}{
			{"nothing", of(nil), of(nil), true, true},
			{"renamed", of(nil), of(rename), true, true},
			{"channels replaced", of(nil), of(replace), false, true},
			{"renamed, channels replaced", of(nil), of(both), false, false},
			{"renamed in the cloud, channels replaced", cloud(func(*b24pull.Config) {}), cloud(both), false, true},
			{"another of the cloud", cloud(replace), of(nil), false, false},
			{"the name in other letters", of(replace), of(func(c *b24pull.Config) {
				c.Server.LongPollingSecure = strings.Replace(c.Server.LongPollingSecure, "rt.example", "RT.Example", 1)
			}), false, true},
		} {
			if same, continues := tt.from.same(tt.to), tt.from.continues(tt.to); same != tt.same || continues != tt.continues {
				t.Errorf("%s: the same %t, goes on %t", tt.name, same, continues)
			}
		}
	})
	t.Run("insecure where that is wanted", func(t *testing.T) {
		ep, err := newEndpoint(cfg(nil), true)
		if err != nil {
			t.Fatal(err)
		}
		if ep.socket.URL != "ws://rt.example/plain/?"+query || ep.poll.URL != "http://rt.example/plain/?"+query {
			t.Errorf("got\n%s\n%s", ep.socket.URL, ep.poll.URL)
		}
		ep, err = newEndpoint(cfg(func(c *b24pull.Config) { c.Server.WebSocket, c.Server.LongPolling = "garbage", "" }), true)
		if err != nil || ep.socket.URL != "wss://rt.example/sub/?"+query || ep.poll.URL != "https://rt.example/sub/?"+query {
			t.Errorf("with none that is not secure: got\n%s\n%s\n%v", ep.socket.URL, ep.poll.URL, err)
		}
	})
	t.Run("versions 1 and 2 by time and tag", func(t *testing.T) {
		ep, err := newEndpoint(cfg(func(c *b24pull.Config) { c.Server.Version = 1 }), false)
		if err != nil {
			t.Fatal(err)
		}
		for pos, want := range map[wire.Mid]string{
			{}:                              "tag=0&time=Thu,%2001%20Jan%201970%2000:00:01%20GMT",
			{Epoch: 1795421675, Counter: 3}: "tag=3&time=Mon,%2023%20Nov%202026%2008:14:35%20GMT",
			(wire.Mid{Epoch: 1795421675, Counter: 0}).Prev(): "tag=999999999&time=Mon,%2023%20Nov%202026%2008:14:34%20GMT",
		} {
			at := ep.after(ep.poll, pos)
			if _, query, _ := strings.Cut(at.URL, "&revision=19&"); query != want {
				t.Errorf("after %v: %s, want %s", pos, query, want)
			}
		}
	})
}

// TestEndpoint_Lengths: what becomes a part of addresses, and is looked for in
// all that is printed, has a length, whoever has made the config.
func TestEndpoint_Lengths(t *testing.T) {
	for name, set := range map[string]func(c *b24pull.Config, long string){
		"jwt":                              func(c *b24pull.Config, long string) { c.JWT = b24pull.Secret(long) },
		"clientId":                         func(c *b24pull.Config, long string) { c.ClientID = long },
		"hostname":                         func(c *b24pull.Config, long string) { c.Server.Hostname = long },
		"websocket_secure":                 func(c *b24pull.Config, long string) { c.Server.WebSocketSecure = long },
		"long_polling_secure":              func(c *b24pull.Config, long string) { c.Server.LongPollingSecure = long },
		"publish":                          func(c *b24pull.Config, long string) { c.Server.Publish = long },
		"id of the private channel":        func(c *b24pull.Config, long string) { c.Channels.Private.ID = b24pull.Secret(long) },
		"public_id of the private channel": func(c *b24pull.Config, long string) { c.Channels.Private.PublicID = b24pull.Secret(long) },
		"id of the shared channel":         func(c *b24pull.Config, long string) { c.Channels.Shared = &b24pull.Channel{ID: b24pull.Secret(long)} },
	} {
		for size, refused := range map[int]bool{config.MaxIdentifier: false, config.MaxIdentifier + 1: true, 562_000: true} {
			cfg := &b24pull.Config{
				Server:   b24pull.Server{Version: 4, WebSocketEnabled: true, WebSocketSecure: "wss://rt.example/", LongPollingSecure: "https://rt.example/"},
				Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "s3cr3t-id"}},
			}
			const begin = "wss://s3cr3t/"
			set(cfg, begin+strings.Repeat("ab:cdefghij.", size/12+1)[:size-len(begin)])
			_, err := newEndpoint(cfg, false)
			want := fmt.Sprintf("its %s has %d bytes; want %d at most", name, size, config.MaxIdentifier)
			switch {
			case !refused && err != nil:
				t.Errorf("%s of %d bytes was refused", name, size)
			case refused && (!errors.Is(err, b24pull.ErrInvalidConfig) || !strings.HasSuffix(err.Error(), want)):
				t.Errorf("%s of %d bytes: the error does not end with %q", name, size, want)
			}
		}
	}
}
