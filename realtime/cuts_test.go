package realtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// load is what a scenario publishes, 300 messages a second, and how often it
// cuts all connections.
type load struct {
	messages         int
	minEvery, spread int // a cut every minEvery to minEvery+spread messages
}

func (l load) publishAndCut(p *pulltest.Portal) (cuts int) {
	random := rand.New(rand.NewPCG(1, 2))
	next := l.minEvery
	for i := range l.messages {
		if i == next {
			next += l.minEvery + random.IntN(l.spread+1)
			n, err := p.Cut()
			if n == 0 { // polls keep a distance to each other under such a load
				time.Sleep(100 * time.Millisecond)
				n, err = p.Cut()
			}
			if err != nil {
				panic(err)
			}
			if n > 0 {
				cuts++
			}
		}
		p.Emit(pulltest.Message{Command: "tick", Params: numbered{i}})
		time.Sleep(time.Second / 300)
	}
	return cuts
}

// surviveCuts subscribes, publishes under cuts, and waits until all messages
// have come or a minute has passed since the last was published.
func surviveCuts(t *testing.T, load load, change func(*Subscription), opts ...pulltest.Option) (*tally, int) {
	portal := pulltest.NewPortal(opts...)
	defer portal.Close()
	defer portal.HTTPClient().CloseIdleConnections()
	sub, err := Subscribe(client(t, portal), WithBackoff(soon))
	if err != nil {
		t.Fatal(err)
	}
	change(sub)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := newTally()
	var wg sync.WaitGroup
	wg.Go(func() {
		err := sub.Run(ctx, HandlerFunc(func(_ context.Context, m Message) error {
			if got.add(t, m) == load.messages {
				sub.Close()
			}
			return nil
		}))
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-sub.Ready()
	cuts := load.publishAndCut(portal)
	timeout := time.AfterFunc(time.Minute, cancel)
	wg.Wait()
	timeout.Stop()
	return got, cuts
}

// cutsFor is how many cuts a test makes: the usual number, or what B24PULL_CUTS
// says.
func cutsFor(t *testing.T, usual int) int { return wiretest.Number(t, "B24PULL_CUTS", usual) }

// TestCuts_SurvivesCuts: 100 cuts while 300 messages a second are published, on
// every version and transport in virtual time, and over real sockets; every
// message arrives, once and in order.
func TestCuts_SurvivesCuts(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, load load, wanted int, transport Transport, opts ...pulltest.Option) {
		got, cuts := surviveCuts(t, load, func(s *Subscription) { s.opts.transport = transport }, opts...)
		n := load.messages
		lost, repeated, disordered := got.count(n)
		t.Logf("lost %d, repeated %d, out of order %d of %d; cuts %d, found by reads %d", lost, repeated, disordered, n, cuts, got.replayed)
		if lost+repeated+disordered > 0 {
			t.Errorf("lost %d, repeated %d, out of order %d", lost, repeated, disordered)
		}
		if cuts < wanted {
			t.Errorf("only %d cuts hit a connection", cuts)
		}
	}
	t.Run("in memory", func(t *testing.T) {
		resttest.Sample(t)
		t.Parallel()
		onEveryServer(t, func(t *testing.T, opts []pulltest.Option, transport Transport) {
			t.Parallel()
			usual := shorter(20, 8)
			if len(opts) == 1 && transport != TransportAuto && resttest.Thorough { // nothing but the version is special
				usual = 100
			}
			synctest.Test(t, func(t *testing.T) {
				cuts := cutsFor(t, usual)
				opts := append(opts[:len(opts):len(opts)], pulltest.WithNetwork(pulltest.NewNetwork()))
				check(t, load{messages: 20 * cuts, minEvery: 5, spread: 26}, cuts, transport, opts...)
			})
		})
	})
	t.Run("real sockets", func(t *testing.T) {
		if !resttest.Thorough {
			t.Skip("takes half a minute: B24PULL_LONG=1")
		}
		t.Parallel()
		check(t, load{messages: 10_000, minEvery: 40, spread: 70}, 100, TransportAuto, pulltest.WithGather(100*time.Millisecond))
	})
}

// TestCuts_LoseWithoutReplays is the twin of TestCuts_SurvivesCuts without the
// replays: what arrives live alone has holes.
func TestCuts_LoseWithoutReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4000
		got, cuts := surviveCuts(t, load{messages: n, minEvery: 30, spread: 300}, func(s *Subscription) { s.poll = noReplays{} }, pulltest.WithNetwork(pulltest.NewNetwork()))
		lost, _, _ := got.count(n)
		t.Logf("lost %d of %d in %d cuts", lost, n, cuts)
		if lost == 0 {
			t.Error("nothing was lost without replays: the cuts have tested nothing")
		}
	})
}

// wideHoles is a portal whose holes are wider than those of any real server, of
// two processes of each kind.
func wideHoles(version int) []pulltest.Option {
	return []pulltest.Option{pulltest.WithVersion(version), pulltest.WithProcesses(2, 2), pulltest.WithHostileTiming()}
}

// survive publishes under cuts, some of it not to be kept, and counts what has
// become of the rest. For the time deaf only reads bring something.
func survive(t *testing.T, n int, transport Transport, deaf time.Duration, portal []pulltest.Option, opts ...Option) (lost, repeated int) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(portal...)
		l.subscribe(nil, append(opts, WithBackoff(soon), WithTransport(transport))...)
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			if m.Command == "tick" {
				got.add(t, m)
			}
			return nil
		})
		<-l.sub.Ready()
		l.network.SetLatency(20 * time.Millisecond) // so that a cut lasts a while
		l.portal.Silence(0, deaf)
		l.portal.Silence(1, deaf)
		for i := range n {
			if i%3 > 0 { // so that both publishers have ticks
				l.portal.Emit(pulltest.Message{Command: "transient", Expiry: -1})
			}
			l.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{i}})
			if i%5 == 4 {
				l.portal.Cut()
			}
			time.Sleep(time.Duration(50+i%150) * time.Millisecond) // so slowly that no publisher has a queue
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		lost, repeated, _ = got.count(n)
	})
	return lost, repeated
}

// TestCuts_HostileTiming: with wide holes nothing is lost or comes twice either.
func TestCuts_HostileTiming(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 5; version++ {
		for _, transport := range both {
			t.Run(fmt.Sprint("version ", version, " ", transport), func(t *testing.T) {
				if lost, repeated := survive(t, shorter(600, 200), transport, 0, wideHoles(version)); lost+repeated > 0 {
					t.Errorf("lost %d, repeated %d", lost, repeated)
				}
			})
		}
	}
}

// TestCuts_HostileTimingWithoutSettling: with a disorder of a second, messages
// are lost if the cursor may stand on what has just come.
func TestCuts_HostileTimingWithoutSettling(t *testing.T) {
	lost, _ := survive(t, 600, TransportLongPolling, time.Hour, wideHoles(4), WithSettleTime(time.Nanosecond))
	if lost == 0 {
		t.Error("nothing is lost: the disorder shows nothing")
	}
}
