package realtime

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

func TestLife_BeginsNow(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.emit("long before")
		time.Sleep(time.Hour)
		l.emit("before")
		time.Sleep(time.Minute)
		l.emit("just before")
		l.subscribe(nil)
		l.run(nil)
		<-l.sub.Ready()
		l.emit("after")
		time.Sleep(10 * time.Minute) // several pings, and a replay after each
		l.emit("later")
		l.want("after", "later")
	})
}

// TestLife_BeginsOnEmptyPortal: with nothing kept the first replay has no
// answer; the subscription is ready all the same.
func TestLife_BeginsOnEmptyPortal(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		begin := time.Now()
		l.start(nil)
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("ready after %v", took)
		}
		l.emit("one")
		time.Sleep(5 * time.Minute)
		l.emit("two")
		l.portal.Cut()
		l.emit("three")
		time.Sleep(time.Minute)
		l.want("one", "two", "three")
	})
}

// TestLife_PingHole: what the server drops around its pings is found by the
// replay behind the pong.
func TestLife_PingHole(t *testing.T) {
	t.Parallel()
	ping := func(l *life, replays bool) (lost, dropped int) {
		n := shorter(6000, 3000)
		l.network.SetLatency(150 * time.Millisecond)
		l.open(pulltest.WithPingInterval(5 * time.Second))
		l.subscribe(nil)
		if !replays {
			l.sub.poll = noReplays{}
		}
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(l.t, m)
			return nil
		})
		<-l.sub.Ready()
		load{messages: n, minEvery: n + 1}.publishAndCut(l.portal)
		time.Sleep(time.Minute)
		synctest.Wait()
		lost, repeated, disordered := got.count(n)
		l.t.Logf("lost %d, repeated %d, out of order %d of %d, %d found by replays", lost, repeated, disordered, n, got.replayed)
		if repeated+disordered > 0 {
			l.t.Errorf("repeated %d, out of order %d", repeated, disordered)
		}
		return lost, l.portal.Stats().DroppedByPing
	}
	t.Run("with replays", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			if lost, dropped := ping(l, true); lost > 0 || dropped == 0 {
				l.t.Errorf("lost %d of the %d that the server dropped", lost, dropped)
			}
		})
	})
	t.Run("without replays", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			if lost, _ := ping(l, false); lost == 0 {
				l.t.Error("nothing was lost without replays: the pings have tested nothing")
			}
		})
	})
}

// TestLife_Delays: the delays before an attempt grow, and a connection that
// does not last does not reset them.
func TestLife_Delays(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithTransport(TransportWebSocket))
		time.Sleep(time.Minute)
		for range 6 { // each connection is cut as soon as it is up
			l.portal.Cut()
			synctest.Wait()
			time.Sleep(l.changes(StateWaiting)[len(l.changes(StateWaiting))-1].Delay + time.Millisecond)
			synctest.Wait()
			if s := l.sub.State(); s != StateLive {
				t.Fatalf("state is %v, want live", s)
			}
		}
		time.Sleep(time.Minute) // this one lasts
		l.portal.Cut()
		base := []time.Duration{500 * time.Millisecond, 5 * time.Second, 25 * time.Second, 45 * time.Second, time.Minute, time.Minute, 500 * time.Millisecond}
		changes := l.changes(StateWaiting)
		if len(changes) != len(base) {
			t.Fatalf("%d delays, want %d", len(changes), len(base))
		}
		for i, c := range changes {
			if c.Delay < base[i] || c.Delay > base[i]*12/10 {
				t.Errorf("delay %d is %v, want %v and up to 20 %% more", i, c.Delay, base[i])
			}
			if c.Cause == nil {
				t.Errorf("delay %d has no cause", i)
			}
		}
	})
}

func TestLife_BackoffBounds(t *testing.T) {
	for _, attempt := range []int{-1, 0, 1, 2, 5, 63, 64, 65, math.MaxInt} {
		if d := defaultBackoff(attempt); d < 500*time.Millisecond || d > 72*time.Second {
			t.Errorf("attempt %d: %v", attempt, d)
		}
		if d := replayBackoff(attempt); d < 100*time.Millisecond || d > 36*time.Second {
			t.Errorf("read attempt %d: %v", attempt, d)
		}
	}
}

// TestLife_Stuck: a connection that falls silent without breaking is noticed
// and replaced.
func TestLife_Stuck(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithPingInterval(0)})
		begin := time.Now()
		l.network.SetLatency(24 * time.Hour)
		l.emit("unheard")
		for l.sub.State() == StateLive || l.sub.State() == StateDegraded {
			time.Sleep(time.Second)
		}
		if took := time.Since(begin); took < 150*time.Second || took > 175*time.Second {
			t.Errorf("noticed after %v", took)
		}
		l.network.SetLatency(0)
		time.Sleep(2 * time.Minute)
		l.want("unheard")
	})
}

// TestLife_SlowHandlerKeepsConnection: pings are answered while a handler
// sleeps.
func TestLife_SlowHandlerKeepsConnection(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		l.run(func(ctx context.Context, m Message) error {
			time.Sleep(time.Hour)
			return nil
		})
		<-l.sub.Ready()
		l.emit("slow")
		time.Sleep(50 * time.Minute)
		if s := l.portal.Stats(); s.WebSockets != 1 || s.PingTimeouts != 0 || s.Pings < 20 {
			t.Errorf("%d websockets, %d ping timeouts, %d pings", s.WebSockets, s.PingTimeouts, s.Pings)
		}
		time.Sleep(time.Hour)
	})
}

func (fakeConn) Ping() error     { return nil }
func (fakeConn) Received(string) {}
func (fakeConn) Close(int)       {}

// TestLife_Crowded: after «too many connections» the subscription stays away
// for long.
func TestLife_Crowded(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.CloseWebSockets(4029, "4029: Too many connections")
		waits := l.changes(StateWaiting)
		if len(waits) != 1 || waits[0].Delay < time.Minute {
			t.Fatalf("waits: %+v", waits)
		}
		var closed *CloseError
		if !errors.As(waits[0].Cause, &closed) || closed.Code != 4029 {
			t.Errorf("cause is %v", waits[0].Cause)
		}
	})
}

// TestLife_RefusedChannel: close code 4010 has the config fetched anew, past
// the cache; a fixed config is at its end.
func TestLife_RefusedChannel(t *testing.T) {
	t.Parallel()
	t.Run("client", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.start(nil)
			l.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
			time.Sleep(time.Second)
			synctest.Wait()
			if n := l.portal.Stats().Configs; n != 2 {
				t.Errorf("%d configs fetched, want 2", n)
			}
			l.emit("after")
			time.Sleep(time.Second)
			l.want("after")
		})
	})
	t.Run("fixed config", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			cfg, err := client(t, l.portal).GetApplicationConfig(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			l.subscribe(FromConfig(cfg), WithHTTPClient(l.portal.HTTPClient()))
			l.run(nil)
			<-l.sub.Ready()
			l.portal.CloseWebSockets(4010, "4010: Wrong Channel Id.")
			<-l.done
			if !errors.Is(l.err, ErrConfigExpired) {
				t.Errorf("Run returned %v", l.err)
			}
			if l.sub.State() != StateClosed {
				t.Errorf("state is %v", l.sub.State())
			}
		})
	})
}

// TestLife_WebhookRefused: today's portals refuse the application's config to a
// webhook; the error names the way out.
func TestLife_WebhookRefused(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		c, err := b24pull.New(b24pull.Webhook(l.portal.Webhook()), b24pull.WithHTTPClient(l.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		l.subscribe(c)
		l.run(nil)
		<-l.done
		if !errors.Is(l.err, b24pull.ErrWrongAuthType) || !strings.Contains(l.err.Error(), "PortalConfig") {
			t.Errorf("Run returned %v", l.err)
		}
	})
}

// TestLife_PortalConfig: the channels of the webhook's user.
func TestLife_PortalConfig(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		c, err := b24pull.New(b24pull.Webhook(l.portal.Webhook()), b24pull.WithHTTPClient(l.portal.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		l.subscribe(PortalConfig(c))
		l.run(nil)
		<-l.sub.Ready()
	})
}

// TestLife_CursorResumes: a subscription that goes on from a message's cursor
// gets what followed it, and nothing twice.
func TestLife_CursorResumes(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.emit("before")
		var cursor Cursor
		n, total := resttest.Rounds(700), resttest.Rounds(2000)
		got := newTally()
		for run := range 2 {
			sub, err := Subscribe(client(t, l.portal), WithCursor(cursor), WithBackoff(soon))
			if err != nil {
				t.Fatal(err)
			}
			if run == 0 {
				go func() {
					<-sub.Ready()
					load{messages: total, minEvery: total / 20, spread: total / 20}.publishAndCut(l.portal)
				}()
			} else {
				time.Sleep(time.Minute)
			}
			for m, err := range sub.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				count := got.add(t, m)
				text, err := m.Cursor().MarshalText() // as a user would, in the transaction of m
				if err != nil {
					t.Fatal(err)
				}
				if err := cursor.UnmarshalText(text); err != nil {
					t.Fatal(err)
				}
				if (run == 0 && count == n) || count == total {
					break
				}
			}
		}
		time.Sleep(time.Minute)
		if lost, repeated, disordered := got.count(total); lost+repeated+disordered > 0 {
			t.Errorf("lost %d, repeated %d, out of order %d", lost, repeated, disordered)
		}
	})
}
