package realtime

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// TestWatchdog_Acknowledges: a version 5 server is told of each message that it
// has sent, repeats included.
func TestWatchdog_Acknowledges(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5), pulltest.WithPingInterval(0)})
		time.Sleep(10 * time.Second)
		before := l.portal.Stats()
		l.tickFor(10*time.Second, 100*time.Millisecond)
		l.portal.Emit(pulltest.Message{Command: "twice", To: pulltest.Both})
		l.portal.Emit(pulltest.Message{Command: "not kept", Expiry: -1})
		l.portal.Emit(pulltest.Message{Body: `{"module_id":7}`})
		l.portal.ExpireConfig()
		time.Sleep(time.Second)
		after := l.portal.Stats()
		if want := l.ticks + 6; after.Acknowledged-before.Acknowledged != want || after.Sent-before.Sent != want {
			t.Errorf("acknowledged %d of %d, want %d", after.Acknowledged-before.Acknowledged, after.Sent-before.Sent, want)
		}
	})
}

// TestWatchdog_TextPings: they are answered, and do not stand for the pings
// after which there is a replay.
func TestWatchdog_TextPings(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5)})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := l.portal.Stats()
		if s.TextPings < 35 || s.Pongs != s.TextPings || s.PingTimeouts > 0 || s.WebSockets != 1 {
			t.Errorf("%d text pings, %d pongs, %d timeouts, %d websockets", s.TextPings, s.Pongs, s.PingTimeouts, s.WebSockets)
		}
		if n := countEvents[ReplayEnded](l); n > 10 {
			t.Errorf("%d reads in ten minutes", n)
		}
	})
}

// TestWatchdog_NoTextPings: a server that has never sent one is not waited for.
func TestWatchdog_NoTextPings(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithVersion(5), pulltest.WithTextPing(0)})
		time.Sleep(10 * time.Minute)
		if s := l.portal.Stats(); s.WebSockets != 1 || len(l.changes(StateWaiting)) > 0 {
			t.Errorf("%d websockets", s.WebSockets)
		}
	})
}

// deafServer stands in for a push server whose websockets open, say ping once
// where text is spoken, and then fall silent; it notes the code they are closed
// with.
type deafServer struct {
	on   atomic.Bool
	text bool
	code atomic.Int32
}

func (d *deafServer) option() pulltest.Option {
	return socketsFrom(&d.on, func(ws *websocket.Conn) {
		ws.SetPingHandler(func(string) error { return nil })
		if d.text {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("ping"))
		}
		var err error
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			d.code.Store(int32(closed.Code))
		}
	})
}

// TestWatchdog_StuckIsClosed: a connection without signs of life is noticed,
// closed with 3005 and replaced; nothing is lost.
func TestWatchdog_StuckIsClosed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		version int
		after   time.Duration // without any sign of life
	}{
		{1, idleAfter + pongWithin}, {3, idleAfter + pongWithin}, {4, idleAfter + pongWithin}, {5, heartbeatWithin},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint("version ", tt.version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				deaf := deafServer{text: tt.version == 5}
				l.start([]pulltest.Option{pulltest.WithVersion(tt.version), deaf.option()}, WithTransport(TransportWebSocket), WithBackoff(soon))
				time.Sleep(time.Minute)
				deaf.on.Store(true)
				l.portal.CutWebSockets()
				time.Sleep(time.Second)
				began := time.Now()
				deaf.on.Store(false)
				l.tickFor(tt.after-3*time.Second, 500*time.Millisecond)
				if n := len(l.changes(StateWaiting)); n != 1 {
					t.Fatalf("given up %d times within %v", n, time.Since(began))
				}
				l.tickFor(3*time.Second, 500*time.Millisecond)
				wait := l.lastWait()
				if len(l.changes(StateWaiting)) != 2 || !errors.Is(wait.Cause, errStuck) {
					t.Errorf("after %v: %+v", time.Since(began), wait)
				}
				if code := deaf.code.Load(); code != transport.CloseStuck {
					t.Errorf("closed with %d", code)
				}
				l.tickFor(10*time.Second, 500*time.Millisecond)
				time.Sleep(30 * time.Second)
				if lost, repeated, outOfOrder := l.ticked(); lost+repeated+outOfOrder > 0 {
					t.Errorf("lost %d, repeated %d, out of order %d of %d", lost, repeated, outOfOrder, l.ticks)
				}
			})
		})
	}
}

// TestWatchdog_StalledServer: the same with a server that writes nothing for a
// while, not even an answer to an upgrade.
func TestWatchdog_StalledServer(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start(s.portal, WithTransport(transport))
					time.Sleep(time.Minute)
					l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Stall)
					l.tickFor(5*time.Minute, 5*time.Second)
					l.portal.Behave(pulltest.WebSockets | pulltest.Polls)
					time.Sleep(2 * time.Minute)
					if !errors.Is(l.changes(StateWaiting)[0].Cause, errStuck) {
						t.Errorf("waits: %+v", l.changes(StateWaiting))
					}
					l.wantTicks()
				})
			})
		}
	}
}

// TestWatchdog_HistoryByWebSocket: where there are no polls, a second websocket
// reads what was missed, and is closed then.
func TestWatchdog_HistoryByWebSocket(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start([]pulltest.Option{pulltest.WithVersion(version), pulltest.WithoutPolling()})
				time.Sleep(time.Minute)
				for range 5 {
					l.tickFor(30*time.Second, time.Second)
					l.portal.Cut()
					l.tickFor(3*time.Second, 100*time.Millisecond)
				}
				time.Sleep(5 * time.Minute)
				l.wantTicks()
				stats := l.sub.Stats()
				if stats.Found == 0 || stats.Replays < 5 {
					t.Errorf("%d found by %d reads", stats.Found, stats.Replays)
				}
				if s := l.portal.Stats(); s.Polls > 0 || s.Connections != 1 || s.WebSockets < 10 {
					t.Errorf("%d polls, %d websockets, %d connections left", s.Polls, s.WebSockets, s.Connections)
				}
			})
		})
	}
}
