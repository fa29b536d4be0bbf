package realtime

import (
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestReady_QuietPortal: a server that says by itself that it keeps nothing any
// more is believed, at a restart and while it is connected, without a Gap where
// nothing can have been missed.
func TestReady_QuietPortal(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			short := func(l *life) {
				for range 3 {
					l.portal.Emit(pulltest.Message{Command: "short", Expiry: time.Minute})
					time.Sleep(4 * time.Second)
				}
			}
			l.open(opts...)
			short(l)
			store := new(MemoryStore)
			l.subscribe(nil, WithTransport(transport), WithCursorStore(store))
			l.run(nil)
			<-l.sub.Ready()
			short(l)
			time.Sleep(30 * time.Minute) // what the cursor stands on has expired
			if s := l.sub.State(); s != StateLive || len(l.changes(StateDegraded)) > 0 {
				t.Errorf("it is %v", s)
			}
			short(l)
			time.Sleep(20 * time.Second)
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			begin := time.Now()
			next := l.goOn(store, nil, WithTransport(transport))
			<-next.sub.Ready()
			if took := time.Since(begin); took > 42*time.Second {
				t.Errorf("after a restart ready in %v", took)
			}
			next.tickFor(time.Minute, 10*time.Second)
			time.Sleep(10 * time.Minute)
			next.wantTicks()
			if n := len(next.changes(StateDegraded)) + countEvents[Gap](l); n > 0 {
				t.Errorf("degraded, or gaps: %d", n)
			}
		})
	})
}

// TestReady_Time: how long it takes until a subscription is ready.
func TestReady_Time(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		t.Parallel()
		for _, empty := range []bool{true, false} {
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				if empty {
					l.open(opts...)
				} else {
					l.withOld(opts...)
				}
				begin := time.Now()
				l.subscribe(nil, WithTransport(transport))
				l.run(nil)
				<-l.sub.Ready()
				took, most := time.Since(begin), 500*time.Millisecond
				if empty {
					most = 2500 * time.Millisecond
				}
				t.Logf("empty %v: %v", empty, took)
				if took > most {
					t.Errorf("empty %v: ready after %v", empty, took)
				}
			})
		}
	})
}

// TestReady_Requests: over a websocket a subscription begins with one call, one
// handshake, and one replay: where something is kept the first replay is also
// the one that has to follow a connect. Where it has no answer another one waits
// for the server's word. (On version 5 a first one without an answer is made
// twice.)
func TestReady_Requests(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		t.Parallel()
		if transport != TransportWebSocket {
			t.Skip("a connection by polls begins with several")
		}
		for _, empty := range []bool{true, false} {
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				replays := 1
				if empty {
					replays = 2
					l.open(opts...)
				} else {
					l.withOld(opts...)
				}
				var cfg b24pull.Config
				if err := cfg.UnmarshalJSON(l.portal.ConfigJSON()); err != nil {
					t.Fatal(err)
				}
				if empty && cfg.Server.Version == 5 {
					replays = 3
				}
				before := l.portal.Stats()
				l.subscribe(nil, WithTransport(transport))
				l.run(nil)
				<-l.sub.Ready()
				time.Sleep(5 * time.Second)
				got := l.portal.Stats()
				if calls, sockets, polls := got.Calls-before.Calls, got.WebSockets-before.WebSockets, got.Polls-before.Polls; calls != 1 || sockets != 1 || polls != replays {
					t.Errorf("empty %v: %d calls, %d websockets, %d replays; want 1, 1, %d", empty, calls, sockets, polls, replays)
				}
			})
		}
	})
}

// TestReady_WithHistory: on a portal with something from before a subscription
// is ready at once, on every server, and is given none of it. By polls it waits
// until one has hung long enough to be sure that the server has it.
func TestReady_WithHistory(t *testing.T) {
	t.Parallel()
	onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
		t.Parallel()
		for name, before := range map[string]pulltest.Option{
			"the portal's own": pulltest.WithHistory(),
			"private":          pulltest.WithHistory(pulltest.Message{Command: "old"}),
			"shared":           pulltest.WithHistory(pulltest.Message{Command: "old", To: pulltest.Shared}),
		} {
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				begin := time.Now()
				l.start(append(opts, before), WithTransport(transport))
				took, most := time.Since(begin), 10*time.Millisecond
				if l.portal.Stats().WebSockets == 0 {
					most = shortReplayAfter
				}
				if took > most {
					t.Errorf("%s: ready after %v", name, took)
				}
				l.emit("new")
				time.Sleep(time.Minute)
				l.want("new")
			})
		}
	})
}
