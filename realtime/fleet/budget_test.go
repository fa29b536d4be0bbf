package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestQueueBytes: the handlers of all portals are stuck while each portal sends
// more than there is room for. What is queued never takes more than the budget
// and the subscriptions' own shares; the subscriptions pause, and go on when
// the handlers do: nothing is lost, and nothing comes twice.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	for _, way := range []realtime.Transport{realtime.TransportWebSocket, realtime.TransportLongPolling} {
		t.Run(way.String(), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			inBubble(t, func(t *testing.T, n *pulltest.Network) {
				const budget, messages, size = 512 << 10, 100, 2 << 10
				all, portals := 40, 4
				if testing.Short() {
					all, portals = 12, 2
				}
				c := newCrowd(t, n, portals)
				stuck := make(chan struct{})
				c.heard.do = func(string, realtime.Message) error {
					<-stuck
					return nil
				}
				f := c.fleet(WithQueueBytes(budget))
				c.listen(f, all, realtime.WithTransport(way))
				c.everyone("is ready", func(key string) bool { return c.events.of(key, KindReady) == 1 })
				var want []string
				most := 0
				look := func() Stats {
					s := f.Stats()
					most = max(most, s.Total.QueuedBytes)
					return s
				}
				for i := range messages {
					want = append(want, fmt.Sprint("n", i+1))
					for _, p := range c.portals {
						p.Emit(pulltest.Message{Command: want[i], Params: map[string]string{"text": strings.Repeat("x", size)}, To: pulltest.Shared})
					}
					time.Sleep(10 * time.Millisecond)
					look()
				}
				for range 300 {
					time.Sleep(time.Second)
					look()
				}
				s := look()
				if bound := budget + all*queueShare; most > bound || most < bound*3/4 {
					t.Errorf("%d bytes were queued, want %d at the most, and not much less", most, bound)
				}
				if paused := int(s.Total.Reconnects[realtime.CausePaused]); paused < all {
					t.Errorf("%d of %d have paused", paused, all)
				}
				if way == realtime.TransportWebSocket {
					for _, key := range c.keys {
						if status, _ := f.Status(key); status.Stats.QueuedBytes < queueShare/2 {
							t.Errorf("%s has %d bytes queued: others have taken its share", key, status.Stats.QueuedBytes)
						}
					}
				}
				close(stuck)
				c.everyone("has heard all", func(key string) bool { return len(c.heard.by(key)) >= messages })
				c.must(f.Shutdown(t.Context()))
				for _, key := range c.keys {
					if got := c.heard.by(key); !slices.Equal(got, want) {
						t.Fatalf("%s has heard %q", key, got)
					}
				}
				if taken := f.shared.Budget.Taken(); taken != 0 {
					t.Errorf("%d bytes of the budget are taken by nobody", taken)
				}
			})
		})
	}
}

// TestQueueBytes_FailedRun: what a run that failed had not handled takes nothing
// of the fleet's bytes any more.
func TestQueueBytes_FailedRun(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		f := w.fleet(WithQueueBytes(1<<20), WithRestart(func(string, error, int) Restart { return Wait() }))
		release := make(chan struct{})
		w.must(f.Add("a", w.client(p), realtime.HandlerFunc(func(context.Context, realtime.Message) error {
			<-release
			return errors.New("the database is down")
		})))
		w.eventually("ready", func() bool { return w.events.of("a", KindReady) == 1 })
		for i := range 200 {
			p.Emit(pulltest.Message{Command: fmt.Sprint("n", i), Params: map[string]string{"text": strings.Repeat("x", 2<<10)}, To: pulltest.Shared})
		}
		time.Sleep(10 * time.Second)
		if f.shared.Budget.Taken() == 0 {
			t.Error("nothing is taken while the handler is stuck")
		}
		close(release)
		w.eventually("waiting", func() bool { return w.events.of("a", KindWaiting) == 1 })
		if got := f.shared.Budget.Taken(); got != 0 {
			t.Errorf("%d bytes are taken by a run that has ended", got)
		}
	})
}
