package realtime

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// lifecycle is a subscription that is taken through its life, and what it has
// received.
type lifecycle struct {
	t      *testing.T
	portal *pulltest.Portal
	sub    *Subscription
	sent   int

	// mayBeLate is set over real sockets: on a machine that has much to do a
	// read may take so long that what it finds comes late, and says so.
	mayBeLate bool

	mu     sync.Mutex
	got    []int
	late   []int
	events []Event
	err    error
	done   chan struct{}
}

func begin(t *testing.T, portal *pulltest.Portal, transport Transport, opts ...Option) *lifecycle {
	t.Helper()
	c := &lifecycle{t: t, portal: portal, done: make(chan struct{})}
	opts = append([]Option{WithTransport(transport), WithBackoff(soon), WithObserver(c.observe)}, opts...)
	sub, err := Subscribe(client(t, portal), opts...)
	if err != nil {
		t.Fatal(err)
	}
	c.sub = sub
	go func() {
		defer close(c.done)
		err := sub.Run(t.Context(), HandlerFunc(func(_ context.Context, m Message) error {
			n, err := Decode[numbered](m)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, n.N)
			if m.Late && c.mayBeLate {
				c.late = append(c.late, n.N)
			}
			if m.Sender.Type != SenderBackend || m.Module != "application" {
				t.Errorf("message %+v", m)
			}
			return err
		}))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
	}()
	t.Cleanup(func() {
		sub.Close()
		<-c.done
	})
	select {
	case <-sub.Ready():
	case <-c.done:
		t.Fatalf("Run returned %v", c.err)
	}
	return c
}

func (c *lifecycle) observe(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

// emit publishes the next numbers to the private and the shared channel by
// turns.
func (c *lifecycle) emit(n int) {
	for range n {
		to := []pulltest.Target{pulltest.Private, pulltest.Shared}[c.sent%2]
		c.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{c.sent}, To: to})
		c.sent++
	}
}

// arrived waits until all that was sent has arrived, half a minute at the most,
// and checks that it came once and in order.
func (c *lifecycle) arrived(when string) {
	c.t.Helper()
	for range 600 {
		c.mu.Lock()
		n := len(c.got)
		c.mu.Unlock()
		if n >= c.sent {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	got := slices.Clone(c.got)
	for _, n := range c.late {
		got = slices.DeleteFunc(got, func(m int) bool { return m == n })
		got = slices.Insert(got, min(n, len(got)), n)
	}
	for i, n := range got {
		if i != n {
			c.t.Fatalf("%s: received %v where %d belongs", when, c.got[i:min(i+10, len(c.got))], i)
		}
	}
	if len(c.got) != c.sent {
		c.t.Fatalf("%s: received %d of %d", when, len(c.got), c.sent)
	}
}

func eventsOf[E Event](c *lifecycle) (events []E) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e, ok := e.(E); ok {
			events = append(events, e)
		}
	}
	return events
}

// run takes the lifecycle: connect, receive, cut, resume, channel replaced,
// config renewed, stop.
func (c *lifecycle) run() {
	renewals := func(n int) {
		c.t.Helper()
		eventually(c.t, fmt.Sprint(n, " renewals"), func() bool { return len(eventsOf[Renewal](c)) >= n })
		c.emit(4)
		c.arrived(fmt.Sprint("after renewal ", n))
	}
	c.emit(6)
	c.arrived("connected")
	c.portal.Cut()
	c.emit(4)
	c.arrived("cut")

	c.portal.ExpireChannel(pulltest.Private, "reconnect")
	c.emit(4)
	c.arrived("private channel replaced")
	renewals(1)
	c.portal.ExpireChannel(pulltest.Shared, "reconnect")
	c.emit(4)
	c.arrived("shared channel replaced")
	renewals(2)
	c.portal.ExpireChannel(pulltest.Private, "get_config")
	c.emit(4)
	c.arrived("channel expired, config to be fetched")
	renewals(3)
	c.portal.Cut()
	c.emit(4)
	c.arrived("cut again")
	for _, r := range eventsOf[Renewal](c) {
		if r.Reason != RenewChannelExpired || !r.Changed || r.Err != nil {
			c.t.Errorf("renewal %+v", r)
		}
	}
	if gaps := eventsOf[Gap](c); len(gaps) > 0 {
		c.t.Errorf("gaps: %+v", gaps)
	}
	if undecodable := eventsOf[Undecodable](c); len(undecodable) > 0 {
		c.t.Errorf("undecodable: %+v", undecodable)
	}
}

func (c *lifecycle) stop() {
	c.sub.Close()
	<-c.done
	if c.err != nil {
		c.t.Errorf("Run returned %v", c.err)
	}
}

// TestVersions_Lives runs the same lifecycle on every version and transport, on
// virtual time and over real sockets.
func TestVersions_Lives(t *testing.T) {
	t.Parallel()
	t.Run("in memory", func(t *testing.T) {
		onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
			resttest.Sample(t)
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				life := shorter(12*time.Hour, 2*time.Hour)
				portal := pulltest.NewPortal(append(opts[:len(opts):len(opts)], pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithChannelLife(life))...)
				defer portal.Close()
				c := begin(t, portal, transport)
				c.run()
				c.live24h(life)
				c.stop()
			})
		})
	})
	t.Run("real sockets", func(t *testing.T) {
		if !resttest.Thorough {
			t.Skip("takes half a minute: B24PULL_LONG=1")
		}
		onEveryServerAtOnce(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
			portal := pulltest.NewPortal(opts...)
			defer portal.Close()
			c := begin(t, portal, transport)
			c.mu.Lock()
			c.mayBeLate = true
			c.mu.Unlock()
			c.run()
			c.stop()
		})
	})
}

// live24h lets a day pass, or little more than the life of a channel, with a
// message now and then: channels end, and their config is renewed.
func (c *lifecycle) live24h(life time.Duration) {
	before := len(eventsOf[Renewal](c))
	day, every := 24*time.Hour, 5*time.Minute
	if !resttest.Thorough {
		day, every = life+time.Hour, 20*time.Minute
	}
	for end := time.Now().Add(day); time.Now().Before(end); time.Sleep(every) {
		c.emit(1)
	}
	c.arrived("a day later")
	if n := len(eventsOf[Renewal](c)) - before; n < int(day/life) {
		c.t.Errorf("%d renewals in %v", n, day)
	}
}
