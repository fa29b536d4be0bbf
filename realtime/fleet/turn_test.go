package fleet

import (
	"net/url"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestTurn_TimeStandsStill: a read of the history, or a poll, that waits for its
// turn for longer than it may take has not failed.
func TestTurn_TimeStandsStill(t *testing.T) {
	for _, way := range []realtime.Transport{realtime.TransportWebSocket, realtime.TransportLongPolling} {
		t.Run(way.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				w := newWorld(t, 1, n, pulltest.WithPingInterval(0))
				p := w.portals[0]
				f := w.fleet(WithRequests(1))
				w.add(f, p, realtime.WithTransport(way))
				w.ready(p, 1)
				time.Sleep(10 * time.Minute)
				before, _ := f.Status(p.MemberID())

				push, err := url.Parse(p.PushURL())
				w.must(err)
				const hold = 24 // places, one after the other, each for gate.Patience
				for range hold {
					for _, kind := range []gate.Kind{gate.Replay, gate.Connect} {
						go func() {
							if _, err := f.shared.Gate.Enter(t.Context(), kind, push.Host, nil); err != nil {
								t.Error(err)
							}
						}()
					}
				}
				time.Sleep(time.Millisecond)
				p.Ping() // a read of the history follows
				p.Emit(pulltest.Message{Command: "now", To: pulltest.Shared})
				time.Sleep(2*hold*gate.Patience - 20*time.Second)
				if s := f.Stats(); s.Waiting == 0 {
					t.Error("nothing waits for its turn")
				}
				time.Sleep(2 * time.Minute)
				if !w.heard.has(p, "now") {
					t.Error("the message has not come")
				}
				after, _ := f.Status(p.MemberID())
				if after.Stats.Replays == before.Stats.Replays {
					t.Error("the history was not read")
				}
				if broken := after.Stats.BrokenReplays - before.Stats.BrokenReplays; broken > 0 {
					t.Errorf("%d replays are said to have broken off", broken)
				}
				for cause, times := range after.Stats.Reconnects {
					t.Errorf("%d reconnects: %v", times, cause)
				}
				w.must(f.Shutdown(t.Context()))
			})
		})
	}
}
