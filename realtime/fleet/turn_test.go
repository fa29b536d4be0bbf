package fleet

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
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

// TestTurn_StaleTokens: of an application whose portals all need another token
// at its start, and have to wait for longer than a call or a refresh may take,
// none has failed.
func TestTurn_StaleTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		portals, takes := 30, 4*time.Second
		if testing.Short() {
			portals, takes = 12, 8*time.Second
		}
		m := new(meter)
		w := newWorld(t, portals, n, pulltest.WithHandler(m.before))
		r := w.run()
		for _, p := range w.portals {
			w.must(p.Install(t.Context(), r.at+"/install"))
			w.ready(p, 1)
		}
		r.stop()
		for _, p := range w.portals {
			p.ExpireToken()
		}
		time.Sleep(time.Second)
		m.takes = takes // each of which is waited for by all
		refreshes := w.portals[0].Stats().Refreshes
		r = w.run(WithRequests(1))
		time.Sleep(2 * time.Minute)
		if r.app.Fleet().Stats().Waiting == 0 {
			t.Error("nothing waits for its turn")
		}
		time.Sleep(10 * time.Minute)
		for _, p := range w.portals {
			w.ready(p, 2)
		}
		if asked := w.portals[0].Stats().Refreshes - refreshes; asked == 0 {
			t.Error("no token was refreshed")
		}
		if said := w.out.String(); strings.Contains(said, "deadline exceeded") {
			t.Errorf("the log says that something took too long:\n%s", said)
		}
		r.stop()
	})
}

// TestTurn_Suspect: another config is asked for where the push server does not
// answer, and the question has not failed that waits for its turn.
func TestTurn_Suspect(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet(WithRequests(1), WithLogger(slog.New(slog.NewTextHandler(w.out, nil))))
		w.add(f, p)
		w.ready(p, 1)
		p.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(http.StatusNotFound))
		_, err := p.Cut()
		w.must(err)
		time.Sleep(2 * time.Minute)
		const hold = 24 // places, each for gate.Patience
		for i := range hold {
			go func() {
				if _, err := f.shared.Gate.Enter(t.Context(), gate.REST, fmt.Sprint("other", i), nil); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(hold*gate.Patience - 10*time.Second)
		if s := f.Stats(); s.Waiting == 0 {
			t.Error("nothing waits for its turn")
		}
		p.Behave(pulltest.WebSockets | pulltest.Polls)
		time.Sleep(5 * time.Minute)
		after, _ := f.Status(p.MemberID())
		if after.Subscription != realtime.StateLive {
			t.Errorf("the state is %v", after.Subscription)
		}
		if said := w.out.String(); !strings.Contains(said, "reason=unreachable") || strings.Contains(said, "deadline exceeded") {
			t.Errorf("the log says:\n%s", said)
		}
		w.must(f.Shutdown(t.Context()))
	})
}
