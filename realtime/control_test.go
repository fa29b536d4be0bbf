package realtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// both sends to the private and the shared channel of the present config, and
// wants the messages.
func (l *life) both(when string) {
	l.t.Helper()
	before := len(l.commands())
	l.portal.Emit(pulltest.Message{Command: when + " private"})
	l.portal.Emit(pulltest.Message{Command: when + " shared", To: pulltest.Shared})
	time.Sleep(5 * time.Second)
	got := strings.Join(l.commands()[before:], ", ")
	if want := when + " private, " + when + " shared"; got != want {
		l.t.Errorf("%s: handled %q, want %q", when, got, want)
	}
}

// noControl checks that nothing that holds channel ids has been delivered.
func (l *life) noControl() {
	l.t.Helper()
	l.commands()
	for _, m := range l.messages {
		if m.Module == "pull" && m.Sender.Type == SenderBackend && strings.Contains(string(m.Params), "channel") {
			l.t.Errorf("delivered %s", m.Command)
		}
	}
}

const applicationID = "local.5f3c0d1b2a4e60.71829304"

// TestControl_ChannelExpire: a channel is replaced whatever a portal's command
// names; where that is not enough to tell by which channel, the config is
// fetched.
func TestControl_ChannelExpire(t *testing.T) {
	t.Parallel()
	type params = map[string]any
	tests := []struct {
		name   string
		to     pulltest.Target
		params func(old, fresh params) any
		fetch  bool
	}{
		{"private by id", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "private"}, "new_channel": fresh}
		}, false},
		{"private by its whole id", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": old["id"]}, "new_channel": fresh}
		}, false},
		{"private by type", pulltest.Private, func(_, fresh params) any {
			return params{"action": "reconnect", "channel": params{"type": "private"}, "new_channel": fresh}
		}, false},
		{"private by the new channel's type", pulltest.Private, func(_, fresh params) any {
			return params{"action": "reconnect", "new_channel": fresh}
		}, false},
		{"shared by id, its type the application", pulltest.Shared, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": applicationID}, "new_channel": fresh}
		}, true},
		{"shared by id and type", pulltest.Shared, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "shared"}, "new_channel": fresh}
		}, false},
		{"shared by id alone", pulltest.Shared, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": old["id"]}, "new_channel": fresh}
		}, true},
		{"private, its successor shared", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "private"}, "new_channel": typed(fresh, "shared")}
		}, true},
		{"shared, its successor private", pulltest.Shared, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "shared"}, "new_channel": typed(fresh, "private")}
		}, true},
		{"private, its successor of another type", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "private"}, "new_channel": typed(fresh, applicationID)}
		}, true},
		{"private, the type the shared one's", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "shared"}, "new_channel": typed(fresh, "shared")}
		}, true},
		{"a type in capitals", pulltest.Private, func(old, fresh params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string)), "type": "PRIVATE"}, "new_channel": fresh}
		}, false},
		{"shared by type", pulltest.Shared, func(_, fresh params) any {
			return params{"action": "reconnect", "channel": params{"type": "shared"}, "new_channel": fresh}
		}, false},
		{"shared, its type the application and no id", pulltest.Shared, func(_, fresh params) any {
			return params{"action": "reconnect", "channel": params{"type": applicationID}, "new_channel": fresh}
		}, true},
		{"new channel without an id", pulltest.Private, func(old, _ params) any {
			return params{"action": "reconnect", "channel": params{"id": privateID(old["id"].(string))}, "new_channel": params{"type": "private"}}
		}, true},
		{"reconnect to nothing", pulltest.Private, func(params, params) any { return params{"action": "reconnect", "new_channel": []any{}} }, true},
		{"get_config", pulltest.Private, func(_, fresh params) any {
			return params{"action": "get_config", "channel": params{"type": "private"}, "new_channel": fresh}
		}, true},
		{"get_config for the shared channel", pulltest.Shared, func(old, _ params) any {
			return params{"action": "get_config", "channel": params{"id": privateID(old["id"].(string)), "type": applicationID}}
		}, true},
		{"another action", pulltest.Private, func(params, params) any { return params{"action": "dance"} }, true},
		{"no params", pulltest.Private, func(params, params) any { return nil }, true},
		{"params of another shape", pulltest.Private, func(params, params) any { return []any{1, "x"} }, true},
	}
	for _, version := range []int{1, 3, 4, 5} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("version %d %s", version, tt.name), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start([]pulltest.Option{pulltest.WithVersion(version)})
					kind := map[pulltest.Target]string{pulltest.Private: "private", pulltest.Shared: "shared"}[tt.to]
					old := channel(t, l.portal, kind)
					l.portal.ReplaceChannel(tt.to)
					l.portal.EmitOld(pulltest.Message{Module: "pull", Command: "channel_expire", Params: tt.params(old, channel(t, l.portal, kind)), To: tt.to})
					l.both("replaced")
					renewals := lifeEvents[Renewal](l)
					if len(renewals) != 1 || renewals[0] != (Renewal{Reason: RenewChannelExpired, Changed: true, Count: 1}) {
						t.Errorf("renewals %+v", renewals)
					}
					configs := 1
					if tt.fetch || version == 5 { // a token names the channels there
						configs = 2
					}
					if n := l.portal.Stats().Configs; n != configs {
						t.Errorf("%d configs fetched, want %d", n, configs)
					}
					if n := countEvents[Gap](l); n > 0 {
						t.Errorf("%d gaps", n)
					}
					l.noControl()
				})
			})
		}
	}
}

// typed is a channel with another type.
func typed(channel map[string]any, kind string) map[string]any {
	channel = maps.Clone(channel)
	channel["type"] = kind
	return channel
}

// TestControl_ChannelRetired: the portal's agent names its own shared channel
// in place of any that it deletes. Nobody goes over to that: what is sent to
// the successor in the config arrives, and nothing of what is the portal's own.
func TestControl_ChannelRetired(t *testing.T) {
	t.Parallel()
	for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
		for _, s := range servers {
			for _, transport := range s.transports {
				t.Run(fmt.Sprint(to, s.name, transport), func(t *testing.T) {
					onVirtualTime(t, func(t *testing.T, l *life) {
						l.start(s.portal, WithTransport(transport))
						l.tickFor(10*time.Second, time.Second)
						l.portal.RetireChannel(to)
						l.tickFor(5*time.Second, 100*time.Millisecond)
						for range 10 {
							l.portal.Emit(pulltest.Message{Command: "the portal's own", To: pulltest.UserShared})
							l.tickFor(10*time.Second, time.Second)
						}
						time.Sleep(time.Minute)
						l.wantTicks()
						l.noControl()
						if slices.Contains(l.commands(), "the portal's own") {
							t.Error("the portal's own channel was listened to")
						}
					})
				})
			}
		}
	}
}

// TestControl_ChannelExpireElsewhere: the end of a channel that is not ours
// concerns nobody.
func TestControl_ChannelExpireElsewhere(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.Control("channel_expire", map[string]any{
			"action": "get_config", "channel": map[string]any{"id": strings.Repeat("ab", 16), "type": "private"},
		}, pulltest.Private)
		time.Sleep(5 * time.Minute)
		if n := l.portal.Stats().Configs; n != 1 {
			t.Errorf("%d configs fetched", n)
		}
		l.want()
	})
}

// TestControl_BothChannelsExpire: the end of one channel, told while another
// takes the place of the other, is not passed over.
func TestControl_BothChannelsExpire(t *testing.T) {
	t.Parallel()
	t.Run("at once", func(t *testing.T) {
		onEveryVersion(t, func(t *testing.T, l *life, version int) {
			l.start([]pulltest.Option{pulltest.WithVersion(version)})
			l.portal.ExpireChannel(pulltest.Private, "reconnect")
			l.portal.ExpireChannel(pulltest.Shared, "reconnect")
			l.both("replaced")
		})
	})
	t.Run("found by one read while disconnected", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.start(nil, WithTransport(TransportWebSocket), WithBackoff(func(int) time.Duration { return 500 * time.Millisecond }))
			time.Sleep(time.Minute)
			l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
			l.portal.CutWebSockets()
			time.Sleep(time.Second) // connected, and the replay is to be tried again
			l.portal.Misbehave(pulltest.WebSockets, pulltest.BadGateway)
			l.portal.CutWebSockets()
			time.Sleep(time.Second)
			l.portal.ExpireChannel(pulltest.Private, "reconnect")
			l.portal.ExpireChannel(pulltest.Shared, "reconnect")
			l.portal.Behave(pulltest.Polls)
			time.Sleep(30 * time.Second)
			l.portal.Behave(pulltest.WebSockets)
			time.Sleep(30 * time.Second)
			l.both("replaced")
			if n := countEvents[Gap](l); n > 0 {
				t.Errorf("%d gaps", n)
			}
		})
	})
}

// configExpires checks that the config is fetched once, 10 to 120 s from now,
// while all goes on, and returns the delay.
func configExpires(t *testing.T, l *life, why RenewReason) time.Duration {
	t.Helper()
	before, began, configs := len(lifeEvents[Renewal](l)), time.Now(), l.portal.Stats().Configs
	for range 121 {
		time.Sleep(time.Second)
		l.tick()
		if len(lifeEvents[Renewal](l)) > before {
			break
		}
	}
	took := time.Since(began)
	if took < 10*time.Second || took > 121*time.Second {
		t.Errorf("renewed after %v", took)
	}
	time.Sleep(10 * time.Second)
	renewals := lifeEvents[Renewal](l)[before:]
	if len(renewals) != 1 || renewals[0].Reason != why || renewals[0].Err != nil {
		t.Errorf("renewals: %+v", renewals)
	}
	if n := l.portal.Stats().Configs - configs; n != 1 {
		t.Errorf("%d configs fetched", n)
	}
	return took
}

// TestControl_ConfigExpire: the config is fetched after the documented delay,
// spread by chance, and nobody notices.
func TestControl_ConfigExpire(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start(s.portal, WithTransport(transport))
					states := countEvents[StateChange](l)
					least, most := time.Hour, time.Duration(0)
					for range 6 {
						time.Sleep(waningReset) // sooner it would wait for longer each time
						l.portal.ExpireConfig()
						took := configExpires(t, l, RenewConfigExpired)
						least, most = min(least, took), max(most, took)
					}
					if most-least < 5*time.Second { // seven in a million
						t.Errorf("the delays lie between %v and %v", least, most)
					}
					if n := countEvents[StateChange](l) - states; n > 0 {
						t.Errorf("%d state changes", n)
					}
					l.wantTicks()
					l.noControl()
				})
			})
		}
	}
}

// TestControl_EndsDuringFetch: a channel that ends while a config is fetched which
// still names it is not gone over to for long. Of version 5 its end may be told
// before: a token stands for channels that the config beside it lacks.
func TestControl_EndsDuringFetch(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		var fetched atomic.Int32
		l.open(portal...)
		l.subscribe(changed{client(t, l.portal), func(*b24pull.Config) {
			if fetched.Add(1) == 3 {
				l.portal.RetireChannel(pulltest.Private)
				time.Sleep(time.Second)
			}
		}}, WithTransport(transport))
		l.run(nil)
		<-l.sub.Ready()
		l.portal.OmitChannel(pulltest.Private, 1)
		l.portal.ReplaceChannel(pulltest.Private)
		l.portal.ReplaceChannel(pulltest.Shared)
		l.portal.EmitOld(pulltest.Message{Module: "pull", Command: "channel_expire", Params: map[string]any{"action": "get_config"}})
		time.Sleep(20 * time.Second)
		if n := fetched.Load(); n < 3 {
			t.Fatalf("%d configs fetched", n)
		}
		l.both("after")
		l.noControl()
	})
}
