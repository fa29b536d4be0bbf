package realtime

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// TestStorms_CommandStorm: commands of the server make the config be fetched at
// once, and then less and less often for as long as they go on.
func TestStorms_CommandStorm(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(l *life, n int){
		"get_config": func(l *life, _ int) {
			l.portal.Control("channel_expire", map[string]any{"action": "get_config"}, pulltest.Private)
		},
		"config_expire":  func(l *life, _ int) { l.portal.Control("config_expire", nil, pulltest.Private) },
		"server_restart": func(l *life, _ int) { l.portal.Control("server_restart", nil, pulltest.Private) },
		"replaced":       func(l *life, _ int) { l.portal.ExpireChannel(pulltest.Private, "reconnect") },
		"replaced by get_config": func(l *life, _ int) {
			l.portal.ExpireChannel(pulltest.Private, "get_config")
		},
		"replaced by a forged one": func(l *life, n int) {
			l.portal.Control("channel_expire", map[string]any{"action": "reconnect", "channel": map[string]any{"type": "private"},
				"new_channel": map[string]any{"id": fmt.Sprintf("%032x", n), "type": "private"}}, pulltest.Private)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onVersions(t, func(t *testing.T, l *life, version int) {
				var asked counts
				l.start([]pulltest.Option{pulltest.WithVersion(version), asked.passing()})
				time.Sleep(time.Minute)
				configs, sockets := asked.of("config"), asked.of("websocket")
				times := shorter(600, 150)
				for n := range times {
					order(l, n)
					time.Sleep(5 * time.Minute / time.Duration(times))
				}
				configs, sockets = asked.of("config")-configs, asked.of("websocket")-sockets
				t.Logf("in 5 minutes %d configs, %d websockets", configs, sockets)
				if configs > 12 || sockets > 15 {
					t.Errorf("in 5 minutes %d configs, %d websockets", configs, sockets)
				}
			})
		})
	}
}

// TestStorms_CommandsInOneFrame: 20,000 commands at once are a few requests.
func TestStorms_CommandsInOneFrame(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var asked counts
		l.start([]pulltest.Option{pulltest.WithVersion(version), asked.passing()})
		time.Sleep(time.Minute)
		configs, sockets, polls := asked.of("config"), asked.of("websocket"), asked.of("poll")
		commands := 20_000
		switch {
		case testing.Short():
			commands = 1000
		case !resttest.Thorough:
			commands = 5000
		}
		for n := range commands {
			l.portal.Control("channel_expire", map[string]any{"action": "reconnect", "channel": map[string]any{"type": "private"},
				"new_channel": map[string]any{"id": fmt.Sprintf("%032x", n), "type": "private"}}, pulltest.Shared)
		}
		time.Sleep(time.Minute)
		configs, sockets, polls = asked.of("config")-configs, asked.of("websocket")-sockets, asked.of("poll")-polls
		t.Logf("in a minute %d configs, %d websockets, %d polls", configs, sockets, polls)
		if configs > 5 || sockets > 20 || polls > 60 {
			t.Errorf("in a minute %d configs, %d websockets, %d polls", configs, sockets, polls)
		}
	})
}

// forged is a channel_expire that names a channel and one in its place; ""
// names none.
func forged(channel, next string) map[string]any {
	params := map[string]any{"action": "get_config", "channel": map[string]any{"id": channel, "type": "private"}}
	if next != "" {
		params["action"], params["new_channel"] = "reconnect", map[string]any{"id": next, "type": "private"}
	}
	return params
}

// TestStorms_CommandsGoOn: more commands than are kept in mind, about channels
// of others, while it is too soon for a config, do not keep a later one from
// being carried out.
func TestStorms_CommandsGoOn(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var asked counts
		l.start([]pulltest.Option{pulltest.WithVersion(version), asked.passing()})
		time.Sleep(time.Minute)
		for range waningBurst {
			l.portal.Control("channel_expire", map[string]any{"action": "get_config"}, pulltest.Private)
			time.Sleep(time.Second)
		}
		for n := range maxEnded + 2 {
			l.portal.Control("channel_expire", forged(fmt.Sprintf("%032x", n), ""), pulltest.Private)
		}
		time.Sleep(time.Hour)
		configs := asked.of("config")
		l.portal.ExpireChannel(pulltest.Private, "get_config")
		time.Sleep(time.Minute)
		l.emit("after")
		time.Sleep(time.Second)
		if n := asked.of("config") - configs; n != 1 {
			t.Errorf("%d configs fetched, want 1", n)
		}
		l.want("after")
	})
}

// TestStorms_PassedOver: of successors that are named at once, and not gone
// over to, what was sent there is lost. That is told.
func TestStorms_PassedOver(t *testing.T) {
	t.Parallel()
	for _, named := range []string{"of an unnamed channel", "one of another"} {
		t.Run(named, func(t *testing.T) {
			onVersions(t, func(t *testing.T, l *life, version int) {
				l.start([]pulltest.Option{pulltest.WithVersion(version)})
				time.Sleep(time.Minute)
				ends, _ := channel(t, l.portal, "private")["id"].(string)
				for n := range 100 {
					next := fmt.Sprintf("%032x", n)
					if named == "of an unnamed channel" {
						ends = ""
					}
					l.portal.Control("channel_expire", forged(ends, next), pulltest.Shared)
					ends = next
				}
				time.Sleep(controlAfter + controlSpread + time.Minute) // all at once have the config fetched that late
				gaps := lifeEvents[Gap](l)
				if len(gaps) == 0 || len(gaps) > 4 || slices.ContainsFunc(gaps, func(g Gap) bool { return g.Reason != GapChannelReplaced }) {
					t.Errorf("gaps %v", gaps)
				}
			})
		})
	}
}

// TestStorms_RefusedAfterAWhile: a server that refuses the channels each time a
// connection has lasted for a while has the config fetched once in a minute,
// not with each of the first delays.
func TestStorms_RefusedAfterAWhile(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var asked counts
		l.start([]pulltest.Option{pulltest.WithVersion(version), asked.passing()}, WithTransport(TransportWebSocket))
		configs := asked.of("config")
		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			time.Sleep(stableAfter + time.Second)
			l.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
		}
		configs = asked.of("config") - configs
		t.Logf("%d configs in an hour", configs)
		if configs < 10 || configs > 60 {
			t.Errorf("%d configs in an hour", configs)
		}
		l.emit("after")
		time.Sleep(2 * refusedMost)
		l.want("after")
	})
}

// TestStorms_StormOverRefusedTokens: a storm of commands from a portal that
// refuses every token has neither itself nor the authorization server, which
// many portals share, asked often.
func TestStorms_StormOverRefusedTokens(t *testing.T) {
	t.Parallel()
	onVersions(t, func(t *testing.T, l *life, version int) {
		var asked counts
		var refuses atomic.Bool
		l.open(pulltest.WithVersion(version), asked.count(func(w http.ResponseWriter, r *http.Request) bool {
			if refuses.Load() && requestKind(r) == "config" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"expired_token","error_description":"The access token provided has expired."}`)
				return true
			}
			return false
		}))
		registered, given := l.portal.Application(), l.portal.Token(1)
		tokens, err := oauth.NewTokens(&oauth.Application{
			ClientID: registered.ClientID, ClientSecret: b24pull.Secret(registered.ClientSecret), AuthServer: l.portal.AuthServer(), HTTPClient: l.portal.HTTPClient(),
		}, new(oauth.MemoryStore))
		if err != nil {
			t.Fatal(err)
		}
		token := &oauth.Token{Token: oauth2.Token{AccessToken: given.AccessToken, RefreshToken: given.RefreshToken, Expiry: given.Expires}, Portal: l.portal.URL(), MemberID: l.portal.MemberID()}
		if err := tokens.Put(t.Context(), "portal", token); err != nil {
			t.Fatal(err)
		}
		c, err := b24pull.New(b24pull.OAuth(l.portal.URL(), tokens.Source("portal")), b24pull.WithHTTPClient(l.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		l.subscribe(c)
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Minute)
		refuses.Store(true)
		configs, refreshes := asked.of("config"), l.portal.Stats().Refreshes
		for range 600 {
			l.portal.Control("channel_expire", map[string]any{"action": "get_config"}, pulltest.Private)
			time.Sleep(500 * time.Millisecond)
		}
		configs, refreshes = asked.of("config")-configs, l.portal.Stats().Refreshes-refreshes
		t.Logf("in 5 minutes %d calls, %d refreshes", configs, refreshes)
		if configs > 20 || refreshes == 0 || refreshes > 5 {
			t.Errorf("in 5 minutes %d calls, %d refreshes", configs, refreshes)
		}
		refuses.Store(false)
		time.Sleep(6 * time.Minute)
		l.emit("after")
		time.Sleep(time.Second)
		l.want("after")
	})
}
