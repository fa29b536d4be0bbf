package fleet

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// A wrapped source is anybody's: it asks a Client, after some failures.
type wrapped struct {
	client *b24pull.Client
	fails  atomic.Int32
}

func (s *wrapped) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	if s.fails.Add(-1) >= 0 {
		return nil, errors.New("not yet")
	}
	return s.client.GetApplicationConfig(ctx, cache)
}

// TestFleet_AnySource: a key's config can come from anything that is a
// ConfigSource, and where only one request may be under way none of them waits
// for itself.
func TestFleet_AnySource(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		client := w.client(p)
		config, err := client.GetApplicationConfig(t.Context(), false)
		w.must(err)
		webhook, err := b24pull.New(b24pull.Webhook(p.Webhook()), b24pull.WithHTTPClient(p.HTTPClient()))
		w.must(err)
		failing := &wrapped{client: client}
		failing.fails.Store(2)
		f := w.fleet(WithRequests(1), WithSubscription(realtime.WithHTTPClient(p.HTTPClient())))
		sources := map[string]realtime.ConfigSource{
			"client": client, "user's": realtime.PortalConfig(webhook), "file": realtime.FromConfig(config), "wrapped": &wrapped{client: client}, "failing": failing,
		}
		for key, source := range sources {
			w.must(f.Add(key, source, w.heard.of(key)))
		}
		for key := range sources {
			w.eventually(key+" is ready", func() bool { return w.events.of(key, KindReady) == 1 })
		}
		// The portal fails now and then while configs are renewed.
		p.Misbehave(pulltest.REST, pulltest.Refuse(503))
		for _, key := range []string{"client", "wrapped"} {
			w.must(f.Remove(t.Context(), key))
			w.must(f.Add(key, sources[key], w.heard.of(key)))
		}
		time.Sleep(20 * time.Second)
		p.Behave(pulltest.REST)
		for _, key := range []string{"client", "wrapped"} {
			w.eventually(key+" is ready again", func() bool { return w.events.of(key, KindReady) == 2 })
		}
		p.Emit(pulltest.Message{Command: "all", To: pulltest.Shared})
		delete(sources, "user's") // has other channels
		for key := range sources {
			w.eventually(key+" has heard", func() bool { return slices.Contains(w.heard.by(key), "all") })
		}
		w.must(f.Shutdown(t.Context()))
		if s := f.Stats(); s.Requests+s.Waiting != 0 {
			t.Errorf("%d requests are under way and %d wait after Shutdown", s.Requests, s.Waiting)
		}
	})
}

// TestApplication_OneRequest: an application whose portals all need another
// token, and a binding, has no more requests under way than it may, to the
// authorization server neither.
func TestApplication_OneRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		m := &meter{takes: 50 * time.Millisecond}
		w := newWorld(t, 12, n, pulltest.WithHandler(m.before))
		r := w.run()
		for _, p := range w.portals {
			w.must(p.Install(t.Context(), r.at+"/install"))
			w.ready(p, 1)
			emit(p, 1, 1)
			w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		}
		r.stop()
		for _, p := range w.portals {
			p.ExpireToken()
		}
		time.Sleep(time.Second) // the servers see that nobody waits for them any more
		m.reset()
		refreshes := w.portals[0].Stats().Refreshes
		r = w.run(WithRequests(2))
		for _, p := range w.portals {
			w.ready(p, 2)
			emit(p, 2, 2)
		}
		for _, p := range w.portals {
			w.eventually("heard", func() bool { return w.heard.has(p, "n2") })
		}
		if w.portals[0].Stats().Refreshes == refreshes {
			t.Error("no token was refreshed")
		}
		if most := m.reset(); most["requests"] != 2 {
			t.Errorf("at once there were %v", most)
		}
		r.stop()
	})
}
