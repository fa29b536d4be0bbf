package realtime

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestCarry_ChannelOmitted: a config that lacks a channel, as portals give at a
// rollover, is asked for again soon; what goes to the channel meanwhile arrives
// at once, over a cut as well, and what its successor got before anybody told
// of it, too.
func TestCarry_ChannelOmitted(t *testing.T) {
	t.Parallel()
	for _, kind := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
		for _, replaced := range []bool{false, true} {
			t.Run(fmt.Sprintf("target %d replaced %v", kind, replaced), func(t *testing.T) {
				onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
					l.start(portal, WithTransport(transport), WithBackoff(soon))
					l.tickFor(2*time.Minute, 2*time.Second)
					l.portal.OmitChannel(kind, 3)
					seconds := 60
					if replaced {
						l.portal.ReplaceChannel(pulltest.Private)
						l.portal.ReplaceChannel(pulltest.Shared)
						l.portal.EmitOld(pulltest.Message{Module: "pull", Command: "channel_expire", Params: map[string]any{"action": "get_config"}, To: kind})
					} else {
						l.portal.ExpireConfig()
						seconds += 120
					}
					old := 0
					for range seconds {
						l.tickFor(time.Second, 500*time.Millisecond)
						if l.portal.Stats().Configs == 3 && old == 0 { // two configs without it
							l.portal.Cut()
							time.Sleep(time.Second)
							if replaced {
								l.portal.EmitOld(pulltest.Message{Command: "old", To: kind})
								old++
								time.Sleep(1500 * time.Millisecond)
								if n := countCommand(l, "old"); n != 1 {
									t.Errorf("%d of what went to the channel whose successor is missing has arrived", n)
								}
							}
						}
					}
					time.Sleep(time.Minute)
					lost, repeated, _ := l.ticked()
					if lost+repeated > 0 || countEvents[Gap](l) > 0 {
						t.Errorf("lost %d, repeated %d of %d; %d gaps", lost, repeated, l.ticks, countEvents[Gap](l))
					}
					if n := l.portal.Stats().Configs; n < 5 || n > 6 {
						t.Errorf("%d configs fetched", n)
					}
				})
			})
		}
	}
}

// TestCarry_ChannelsOnSockets: a config that lacks a channel, and a channel
// whose successor is named wrongly, over real sockets.
func TestCarry_ChannelsOnSockets(t *testing.T) {
	t.Parallel()
	onEveryServerAtOnce(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		o := runOnSockets(t, opts, WithTransport(transport))
		portal := o.portal
		portal.OmitChannel(pulltest.Private, 1)
		portal.ReplaceChannel(pulltest.Private)
		portal.ReplaceChannel(pulltest.Shared)
		portal.EmitOld(pulltest.Message{Module: "pull", Command: "channel_expire", Params: map[string]any{"action": "get_config"}})
		portal.Emit(pulltest.Message{Command: "successor"})
		for portal.Stats().Configs < 2 {
			time.Sleep(5 * time.Millisecond)
		}
		portal.Cut()
		portal.EmitOld(pulltest.Message{Command: "old"})
		portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
		o.want("successor", "old", "shared")
		for _, to := range []pulltest.Target{pulltest.Private, pulltest.Shared} {
			portal.RetireChannel(to)
			portal.Emit(pulltest.Message{Command: "the portal's own", To: pulltest.UserShared})
			portal.Emit(pulltest.Message{Command: "successor", To: to})
			o.want("successor")
		}
	})
}

func countCommand(l *life, command string) (n int) {
	for _, c := range l.commands() {
		if c == command {
			n++
		}
	}
	return n
}

// TestCarry_ChannelOmittedForGood: where a channel never comes again, the
// config is asked for at a bounded rate, the old channel is listened to until
// its end, and the other one works; when it does come again, it is found.
func TestCarry_ChannelOmittedForGood(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		life := shorter(2*time.Hour, 1*time.Hour)
		portal = append(portal, pulltest.WithChannelLife(life))
		l.start(portal, WithTransport(transport), WithBackoff(soon))
		l.portal.OmitChannel(pulltest.Private, -1)
		l.portal.ExpireConfig()
		l.tickFor(life-time.Minute, shorter(30*time.Second, 2*time.Minute))
		time.Sleep(30 * time.Second)
		l.wantTicks()
		shared := func(n int) {
			before := countCommand(l, "shared")
			for range n {
				l.portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
				time.Sleep(time.Minute)
			}
			time.Sleep(30 * time.Second)
			if got := countCommand(l, "shared") - before; got != n {
				t.Errorf("%d of %d over the shared channel", got, n)
			}
		}
		shared(shorter(300, 30))
		if n := l.portal.Stats().Configs; n > 100 {
			t.Errorf("%d configs fetched", n)
		}
		l.portal.OmitChannel(pulltest.Private, 0)
		time.Sleep(15 * time.Minute)
		l.emit("back")
		time.Sleep(5 * time.Second)
		if n := countCommand(l, "back"); n != 1 {
			t.Errorf("%d of what was sent to the channel that is there again", n)
		}
		if n := len(l.changes(StateWaiting)); n > 0 {
			t.Errorf("%d connections lost", n)
		}
	})
}

// TestCarry_ChannelOmittedAtStart: the first config may lack a channel as well.
// It is asked for again before it is taken, and taken as it is where the
// channel does not come.
func TestCarry_ChannelOmittedAtStart(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]pulltest.Target{"private": pulltest.Private, "shared": pulltest.Shared} {
		for _, omitted := range []int{1, 2, -1} {
			t.Run(fmt.Sprint(name, " ", omitted), func(t *testing.T) {
				onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
					l.open(portal...)
					l.portal.Emit(pulltest.Message{Command: "old", To: kind})
					time.Sleep(time.Minute)
					l.portal.OmitChannel(kind, omitted)
					l.subscribe(nil, WithTransport(transport))
					l.run(nil)
					began := time.Now()
					<-l.sub.Ready()
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("ready after %v", took)
					}
					l.tickFor(10*time.Minute, 10*time.Second)
					time.Sleep(time.Minute)
					configs, want := l.portal.Stats().Configs, omitted+1
					if omitted < 0 {
						want = 1 + missingAtStart
						lostToBe := l.ticks / 2
						if kind == pulltest.Private && bytes.Contains(l.portal.ConfigJSON(), []byte(`"jwt"`)) {
							lostToBe = 0 // a token brings the user's own whatever the config names
						}
						if lost, _, _ := l.ticked(); lost != lostToBe {
							t.Errorf("lost %d of %d, half of which went to the other channel", lost, l.ticks)
						}
					} else {
						l.wantTicks()
					}
					if configs != want || countCommand(l, "old") > 0 {
						t.Errorf("%d configs fetched, %d old messages", configs, countCommand(l, "old"))
					}
				})
			})
		}
	}
}

// TestCarry_ChannelOmittedThenNoAnswer: what there is is taken where asking
// again fails, also for good.
func TestCarry_ChannelOmittedThenNoAnswer(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"INTERNAL_SERVER_ERROR", "SERVER_ERROR"} {
		t.Run(code, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.portal.OmitChannel(pulltest.Private, 1)
				l.subscribe(nil)
				l.run(nil)
				time.Sleep(time.Second)
				l.portal.Misbehave(pulltest.REST, pulltest.RESTError(500, code))
				<-l.sub.Ready()
				l.portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
				time.Sleep(5 * time.Second) // past the replays that follow the connection
				l.want("shared")
			})
		})
	}
}

// TestCarry_ChannelLackingInFixedConfig: a config that nobody can ask for again
// is taken at once.
func TestCarry_ChannelLackingInFixedConfig(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		cfg, err := client(t, l.portal).GetApplicationConfig(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Channels.Private = nil
		l.portal.Emit(pulltest.Message{Command: "before", To: pulltest.Shared})
		l.subscribe(FromConfig(cfg), WithHTTPClient(l.portal.HTTPClient()))
		began := time.Now()
		l.run(nil)
		<-l.sub.Ready()
		if took := time.Since(began); took > time.Second {
			t.Errorf("ready after %v", took)
		}
	})
}

// TestCarry_ChannelOmittedAtStartOnSockets is TestCarry_ChannelOmittedAtStart
// over real sockets.
func TestCarry_ChannelOmittedAtStartOnSockets(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()

	for _, s := range servers {
		all.Go(func() {
			t.Run(s.name, func(t *testing.T) {
				portal := pulltest.NewPortal(slices.Concat(s.portal, []pulltest.Option{pulltest.WithHistory()})...)
				portal.OmitChannel(pulltest.Private, 1)
				o := runOn(t, portal)
				portal.Emit(pulltest.Message{Command: "private"})
				portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
				o.want("private", "shared")
			})
		})
	}
}

// TestCarry_ChannelOmittedAndRefused: channels that the server refuses are not
// carried over.
func TestCarry_ChannelOmittedAndRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithVersion(version)}, WithBackoff(soon))
				time.Sleep(time.Minute)
				l.portal.OmitChannel(pulltest.Private, -1)
				l.portal.CloseWebSockets(4019, "4019: invalid channel id")
				time.Sleep(time.Minute)
				l.portal.Emit(pulltest.Message{Command: "private"})
				l.portal.Emit(pulltest.Message{Command: "shared", To: pulltest.Shared})
				time.Sleep(20 * time.Second)
				if n := countCommand(l, "shared"); n != 1 || l.sub.State() != StateLive {
					t.Errorf("%d over the shared channel, state %v", n, l.sub.State())
				}
				if n := l.portal.Stats().WebSockets; n > 12 {
					t.Errorf("%d websockets", n)
				}
			})
		})
	}
}

// TestCarry_EveryChannelOmitted: a config without any channel is no config.
func TestCarry_EveryChannelOmitted(t *testing.T) {
	t.Parallel()
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		l.start(portal, WithTransport(transport), WithBackoff(soon))
		l.portal.OmitChannel(pulltest.Private, 3)
		l.portal.OmitChannel(pulltest.Shared, 3)
		l.portal.ExpireConfig()
		l.tickFor(5*time.Minute, time.Second)
		time.Sleep(time.Minute)
		l.wantTicks()
	})
}
