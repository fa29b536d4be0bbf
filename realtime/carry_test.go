package realtime

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// onEveryTransport runs a scenario on every version and transport.
func onEveryTransport(t *testing.T, scenario func(t *testing.T, l *life, portal []pulltest.Option, transport Transport)) {
	t.Helper()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				t.Parallel()
				onVirtualTime(t, func(t *testing.T, l *life) { scenario(t, l, s.portal, transport) })
			})
		}
	}
}

// TestChannelOmitted: a config that lacks a channel, as portals give at a rollover, is asked for again soon; what goes to
// the channel meanwhile arrives at once, over a cut as well, and what its successor got before anybody told of it, too.
func TestChannelOmitted(t *testing.T) {
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

// TestChannelOmittedOnSockets: the same over real sockets.
func TestChannelOmittedOnSockets(t *testing.T) {
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				t.Parallel()
				portal := pulltest.NewPortal(s.portal...)
				defer portal.Close()
				sub, err := Subscribe(client(t, portal), WithTransport(transport), WithBackoff(soon))
				if err != nil {
					t.Fatal(err)
				}
				got := make(chan string, 16)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = sub.Run(t.Context(), HandlerFunc(func(_ context.Context, m Message) error {
						got <- m.Command
						return nil
					}))
				}()
				<-sub.Ready()
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
				missing := map[string]bool{"successor": true, "old": true, "shared": true}
				for len(missing) > 0 {
					select {
					case command := <-got:
						if !missing[command] {
							t.Errorf("got %q", command)
						}
						delete(missing, command)
					case <-time.After(time.Minute):
						t.Fatalf("missing %v", missing)
					}
				}
				sub.Close()
				<-done
			})
		}
	}
}

func countCommand(l *life, command string) (n int) {
	for _, c := range l.commands() {
		if c == command {
			n++
		}
	}
	return n
}

// TestChannelOmittedForGood: where a channel never comes again, the config is asked for at a bounded rate, the old channel
// is listened to until its end, and the other one works; when it does come again, it is found.
func TestChannelOmittedForGood(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, l *life, portal []pulltest.Option, transport Transport) {
		portal = append(portal, pulltest.WithChannelLife(2*time.Hour))
		l.start(portal, WithTransport(transport), WithBackoff(soon))
		l.portal.OmitChannel(pulltest.Private, -1)
		l.portal.ExpireConfig()
		l.tickFor(2*time.Hour-time.Minute, 30*time.Second)
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
		shared(300)
		if n := l.portal.Stats().Configs; n > 100 {
			t.Errorf("%d configs fetched in seven hours", n)
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

// TestChannelOmittedAndRefused: channels that the server refuses are not carried over.
func TestChannelOmittedAndRefused(t *testing.T) {
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

// TestEveryChannelOmitted: a config without any channel is no config.
func TestEveryChannelOmitted(t *testing.T) {
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
