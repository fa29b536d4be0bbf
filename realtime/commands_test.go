package realtime

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// orders are the control commands, as a portal sends them.
var controls = []struct {
	command string
	params  map[string]any
}{
	{"channel_expire", map[string]any{"action": "get_config"}},
	{"config_expire", nil},
	{"server_restart", nil},
}

// TestCommands_ServerRestart: the server says so, goes down for half a minute
// and comes back; the config is fetched, and nothing is lost.
func TestCommands_ServerRestart(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start(s.portal, WithTransport(transport))
					time.Sleep(10 * time.Second)
					l.tickFor(time.Minute, time.Second)
					l.portal.RestartServer(30 * time.Second)
					l.tickFor(3*time.Minute, time.Second)
					time.Sleep(time.Minute)
					if len(l.changes(StateWaiting)) == 0 {
						t.Error("the server was never down")
					}
					if r := lifeEvents[Renewal](l); len(r) != 1 || r[0].Reason != RenewServerRestarted || r[0].Err != nil {
						t.Errorf("renewals %+v", r)
					}
					l.wantTicks()
					l.noControl()
				})
			})
		}
	}
}

// TestCommands_ConfigExpiresWhileDown: a config fetched while the push server
// cannot be reached, for the same channels, leaves nothing behind.
func TestCommands_ConfigExpiresWhileDown(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithTransport(TransportWebSocket))
		time.Sleep(10 * time.Second)
		l.tickFor(10*time.Second, time.Second)
		l.portal.ExpireConfig()
		time.Sleep(time.Second)
		l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.BadGateway)
		l.portal.Cut()
		l.tickFor(4*time.Minute, time.Second)
		if r := lifeEvents[Renewal](l); !slices.ContainsFunc(r, func(r Renewal) bool { return r.Reason == RenewConfigExpired }) {
			t.Errorf("renewals %+v", r)
		}
		l.portal.Behave(pulltest.WebSockets | pulltest.Polls)
		l.tickFor(2*time.Minute, time.Second)
		l.wantTicks()
	})
}

// TestCommands_WithoutMeaning: those of old servers are passed over, and what
// is none of these commands is a message.
func TestCommands_WithoutMeaning(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version)})
		for _, command := range []string{"open", "open_exists", "reopen", "Channel_Expire", "ping", "channel_expired"} {
			l.portal.Control(command, map[string]any{"action": "reconnect"}, pulltest.Private)
		}
		for _, o := range controls {
			l.portal.Emit(pulltest.Message{Command: o.command, Params: o.params}) // of the application
		}
		time.Sleep(5 * time.Minute)
		l.want("Channel_Expire", "ping", "channel_expired", "channel_expire", "config_expire", "server_restart")
		if n := l.portal.Stats().Configs; n != 1 {
			t.Errorf("%d configs fetched", n)
		}
	})
}

// TestCommands_ModuleInCapitals: a module's name is compared without regard to
// case.
func TestCommands_ModuleInCapitals(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.Emit(pulltest.Message{Body: `{"module_id":"PULL","command":"config_expire","params":[]}`})
		time.Sleep(5 * time.Minute)
		l.want()
		if r := lifeEvents[Renewal](l); len(r) != 1 {
			t.Errorf("renewals %+v", r)
		}
	})
}

// TestCommands_ForgedCommands: what another client publishes is a message,
// whatever it looks like.
func TestCommands_ForgedCommands(t *testing.T) {
	t.Parallel()
	for _, version := range []int{4, 5} {
		for _, missed := range []bool{false, true} {
			t.Run(fmt.Sprintf("version %d missed %t", version, missed), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start([]pulltest.Option{pulltest.WithVersion(version)})
					time.Sleep(time.Minute)
					if missed {
						l.portal.Cut()
					}
					for _, o := range controls {
						l.portal.EmitAsClient(pulltest.Message{Module: "pull", Command: o.command, Params: o.params})
					}
					time.Sleep(5 * time.Minute)
					l.want("channel_expire", "config_expire", "server_restart")
					for _, m := range l.messages {
						if m.Sender.Type != SenderClient || m.Replayed != missed {
							t.Errorf("%s from %+v, replayed %t", m.Command, m.Sender, m.Replayed)
						}
					}
					if n := l.portal.Stats().Configs; n != 1 {
						t.Errorf("%d configs fetched", n)
					}
				})
			})
		}
	}
}

// TestCommands_MissedCommands: what was sent while disconnected is found by a
// replay, and carried out as well.
func TestCommands_MissedCommands(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			for _, action := range []string{"reconnect", "get_config", ""} {
				t.Run(s.name+" "+transport.String()+" "+action, func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) {
						l.start(s.portal, WithTransport(transport))
						time.Sleep(10 * time.Second)
						l.tickFor(20*time.Second, time.Second)
						l.portal.Cut()
						reason, long := RenewChannelExpired, time.Minute
						if action == "" {
							reason, long = RenewConfigExpired, 3*time.Minute
							l.portal.ExpireConfig()
						} else {
							l.portal.ExpireChannel(pulltest.Private, action)
						}
						l.tickFor(long, 2*time.Second)
						time.Sleep(20 * time.Second)
						if r := lifeEvents[Renewal](l); len(r) != 1 || r[0].Reason != reason || r[0].Err != nil {
							t.Errorf("renewals %+v", r)
						}
						l.wantTicks()
						l.noControl()
					})
				})
			}
		}
	}
}

// TestCommands_PastCommands: what stood in the history before the beginning has
// been carried out by the config.
func TestCommands_PastCommands(t *testing.T) {
	t.Parallel()
	for _, before := range []time.Duration{0, time.Second, time.Minute, time.Hour} {
		t.Run(before.String(), func(t *testing.T) {
			onEveryVersion(t, func(t *testing.T, l *life, version int) {
				l.open(pulltest.WithVersion(version))
				for _, o := range controls {
					l.portal.Control(o.command, o.params, pulltest.Private)
					l.portal.Control(o.command, o.params, pulltest.Shared)
				}
				time.Sleep(before)
				l.subscribe(nil)
				l.run(nil)
				<-l.sub.Ready()
				time.Sleep(time.Second)
				l.portal.Cut() // so that there are reads
				time.Sleep(5 * time.Minute)
				if n := l.portal.Stats().Configs; n != 1 {
					t.Errorf("%d configs fetched", n)
				}
				l.want()
			})
		})
	}
}

// TestCommands_OverReplacedChannels: nobody carries them out, live or found by
// the read of their end.
func TestCommands_OverReplacedChannels(t *testing.T) {
	t.Parallel()
	onEveryVersion(t, func(t *testing.T, l *life, version int) {
		l.start([]pulltest.Option{pulltest.WithVersion(version)})
		time.Sleep(time.Minute)
		old := channel(t, l.portal, "private")
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(5 * time.Second)
		configs, renewals := l.portal.Stats().Configs, countEvents[Renewal](l)
		for range 2 {
			for _, o := range controls {
				l.portal.EmitOld(pulltest.Message{Module: "pull", Command: o.command, Params: o.params})
			}
			l.portal.EmitOld(pulltest.Message{Module: "pull", Command: "channel_expire", Params: map[string]any{
				"action": "get_config", "channel": map[string]any{"id": privateID(old["id"].(string)), "type": "private"},
			}})
			time.Sleep(5 * time.Second)
			l.portal.Cut()
		}
		time.Sleep(5 * time.Minute)
		if n := l.portal.Stats().Configs - configs; n > 1 { // the portal is asked once whether it knows of the replacement
			t.Errorf("%d configs fetched", n)
		}
		if n := countEvents[Renewal](l) - renewals; n > 0 {
			t.Errorf("%d renewals", n)
		}
		l.want()
		l.both("afterwards")
	})
}

// TestCommands_ChannelExpiresBeforeConfig: a config that has expired is fetched
// also when a channel of it is replaced before.
func TestCommands_ChannelExpiresBeforeConfig(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.ExpireConfig()
		time.Sleep(5 * time.Second)
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(3 * time.Minute)
		reasons := ""
		for _, r := range lifeEvents[Renewal](l) {
			reasons += r.Reason.String() + "; "
		}
		if n := l.portal.Stats().Configs; n != 2 || reasons != "channel expired; config expired; " {
			t.Errorf("%d configs fetched, renewals: %s", n, reasons)
		}
	})
}

// TestCommands_ChannelExpiresDuringFetch: an answer that was under way when a
// channel was replaced does not bring it back.
func TestCommands_ChannelExpiresDuringFetch(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var slow atomic.Bool
		l.start([]pulltest.Option{pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/rest/") || !slow.Load() {
					next.ServeHTTP(w, r)
					return
				}
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				time.Sleep(3 * time.Second)
				w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
				_, _ = w.Write(answer.Body.Bytes())
			})
		})})
		time.Sleep(time.Minute)
		slow.Store(true)
		l.portal.ExpireChannel(pulltest.Shared, "get_config")
		synctest.Wait() // the answer is made
		time.Sleep(time.Second)
		l.portal.ExpireChannel(pulltest.Private, "reconnect")
		time.Sleep(time.Second)
		slow.Store(false)
		time.Sleep(time.Minute)
		l.both("afterwards")
		if n := countEvents[Gap](l); n > 0 {
			t.Errorf("%d gaps", n)
		}
	})
}
