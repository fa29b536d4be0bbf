package realtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// TestChaos runs many lives in which everything happens at random, on every
// version and transport by turns. No kept message may be lost, no message
// repeated, and where the server has sent them in order the kept ones stay in
// order.
func TestChaos(t *testing.T) {
	t.Parallel()
	type way struct {
		portal    []pulltest.Option
		transport Transport
	}
	var ways []way
	for _, s := range servers {
		for _, transport := range s.transports {
			ways = append(ways, way{s.portal, transport})
		}
	}
	for seed := range wiretest.Seeds(t, len(ways)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			way := ways[seed%len(ways)]
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, uint64(seed), way.portal, way.transport)
				defer s.portal.Close()
				s.run()
			})
		})
	}
}

// storm is one such life.
type storm struct {
	t         *testing.T
	seed      uint64
	random    *rand.Rand
	network   *pulltest.Network
	portal    *pulltest.Portal
	processes int
	transport Transport
	polls     bool // the history is read by polls

	harsh     bool // faults that leave the order in doubt
	replaces  bool // channels are replaced now and then
	restarts  bool // the subscription is stopped now and then, and goes on from a cursor
	shortLife bool // of the channels
	replaced  time.Time
	old       pulltest.Target // whose channel was replaced then
	known     int             // renewals before it
	sent      int
	slow      time.Duration

	mu              sync.Mutex
	kept, transient *tally
	cursor          Cursor
	stopAt          int // messages handled after which the subscription stops
	handled         int
	renewed         int // configs with other channels
	gaps            []Gap
	ready           chan struct{}
	cancel          context.CancelFunc
	done            chan struct{}
}

var errStop = errors.New("stop here")

func newStorm(t *testing.T, seed uint64, opts []pulltest.Option, transport Transport) *storm {
	s := &storm{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), network: pulltest.NewNetwork(), transport: transport,
		kept: newTally(), transient: newTally(), ready: make(chan struct{}), done: make(chan struct{}),
	}
	s.harsh = s.chance(2)
	s.shortLife = s.harsh && s.chance(3)
	s.processes = 1
	opts = append(opts[:len(opts):len(opts)],
		pulltest.WithNetwork(s.network),
		pulltest.WithPingInterval(2*time.Second+s.upTo(10*time.Second)),
		pulltest.WithGather(s.upTo(400*time.Millisecond)),
		pulltest.WithHandover(s.upTo(50*time.Millisecond)),
	)
	if s.chance(2) {
		s.processes = 2
		opts = append(opts, pulltest.WithProcesses(2, 2))
	}
	if s.harsh {
		opts = append(opts, pulltest.WithDisorder(s.upTo(2*time.Second)), pulltest.WithClockShift(s.upTo(4*time.Hour)-2*time.Hour))
	}
	if s.shortLife {
		opts = append(opts, pulltest.WithChannelLife(4*time.Minute+s.upTo(10*time.Minute)))
	}
	s.portal = pulltest.NewPortal(opts...)
	cfg, err := client(t, s.portal).GetApplicationConfig(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	s.polls = cfg.Server.LongPollingSecure != ""
	return s
}

func (s *storm) chance(of int) bool { return s.random.IntN(of) == 0 }

func (s *storm) upTo(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d) + 1))
}

// run lives the life: what was there before, some minutes of one kind of
// trouble and another, and then rest.
func (s *storm) run() {
	s.network.SetLatency(s.upTo(60 * time.Millisecond))
	for n := range s.random.IntN(5) { // these are no news
		s.portal.Emit(pulltest.Message{Params: numbered{-n - 1}, To: pulltest.Target(s.random.IntN(2))})
		time.Sleep(s.upTo(20 * time.Second))
	}
	if s.harsh {
		time.Sleep(2 * time.Second) // until the last of them is stored
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	s.cancel = cancel
	go s.subscribe(ctx)
	<-s.ready
	for range 1 + s.random.IntN(2) {
		switch kind := s.random.IntN(3); {
		case kind == 0 && s.harsh:
			s.replaces = true
		case kind == 1 && !s.shortLife:
			s.restarts = true
		}
		s.slow = s.upTo(4 * time.Millisecond)
		for end := s.sent + shorter(1000, 400); s.sent < end; {
			s.publish()
			if s.chance(30) {
				s.trouble()
			}
		}
		s.calm()
	}
	cancel()
	<-s.done
	s.check()
}

// calm ends all trouble, and waits until it is overcome.
func (s *storm) calm() {
	s.replaces, s.restarts = false, false
	s.mu.Lock()
	s.stopAt = 0
	s.mu.Unlock()
	s.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
	s.network.SetLatency(s.upTo(60 * time.Millisecond))
	time.Sleep(10 * time.Minute)
	synctest.Wait()
}

// subscribe runs subscription after subscription, each from where the one
// before has stopped.
func (s *storm) subscribe(ctx context.Context) {
	defer close(s.done)
	queues := rand.New(rand.NewPCG(s.seed, 8))
	for first := true; ; first = false {
		s.mu.Lock()
		cursor := s.cursor
		s.kept.last, s.stopAt = -1, 0
		s.mu.Unlock()
		sub, err := Subscribe(client(s.t, s.portal), WithTransport(s.transport), WithBackoff(soon), WithObserver(s.observe), WithCursor(cursor))
		if err != nil {
			s.t.Error(err)
			return
		}
		if queues.IntN(2) == 0 {
			sub.queue.MaxMessages = 20 + queues.IntN(200)
		}
		if first {
			go func() {
				select {
				case <-sub.Ready():
				case <-ctx.Done():
				}
				close(s.ready)
			}()
		}
		err = sub.Run(ctx, HandlerFunc(s.handle))
		if !errors.Is(err, errStop) {
			if !errors.Is(err, context.Canceled) {
				s.t.Errorf("Run returned %v", err)
			}
			return
		}
	}
}

func (s *storm) observe(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case Renewal:
		if e.Changed {
			s.renewed++
		}
	case Gap:
		if e.Reason != GapPaused {
			s.gaps = append(s.gaps, e)
		}
	}
}

func (s *storm) handle(ctx context.Context, m Message) error {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled++
	if s.stopAt > 0 && s.handled > s.stopAt && (!s.cursor.position.Watermark.IsZero() || len(slices.Collect(s.cursor.position.Keys())) > 0) { // a first replay that a fault has left without an answer begins at zero
		return errStop
	}
	if m.Command == "transient" {
		s.transient.add(s.t, m)
	} else {
		s.kept.add(s.t, m)
	}
	text, err := m.Cursor().MarshalText() // as a user would, in the transaction of m
	if err == nil {
		s.cursor = Cursor{}
		err = s.cursor.UnmarshalText(text)
	}
	return err
}

// publish sends a few messages, and lets some time pass.
func (s *storm) publish() {
	for range 1 + s.random.IntN(5) {
		m := pulltest.Message{Params: numbered{s.sent}}
		switch {
		case s.chance(4):
			m.Command, m.Expiry = "transient", -1
		default:
			m.To = []pulltest.Target{pulltest.Private, pulltest.Private, pulltest.Shared, pulltest.Both}[s.random.IntN(4)]
			s.kept.expect(s.sent)
		}
		if time.Since(s.replaced) < 10*time.Second && s.chance(4) {
			m.To = s.old
			s.portal.EmitOld(m)
		} else {
			s.portal.Emit(m)
		}
		s.sent++
	}
	switch {
	case s.chance(50):
		time.Sleep(s.upTo(10 * time.Second))
	case s.harsh && s.chance(200):
		time.Sleep(s.upTo(5 * time.Minute))
	default:
		time.Sleep(s.upTo(200 * time.Millisecond))
	}
}

func (s *storm) check() {
	lost, repeated, disordered := s.kept.check()
	_, again, _ := s.transient.check()
	if s.harsh {
		disordered = 0
	}
	if lost+repeated+disordered+again > 0 {
		s.t.Errorf("lost %d, repeated %d (and %d not kept), out of order %d of %d", lost, repeated, again, disordered, s.sent)
	}
	for n := range s.kept.seen {
		if n < 0 {
			s.t.Errorf("message %d, from before the beginning, arrived", n)
		}
	}
	if len(s.gaps) > 0 {
		s.t.Errorf("gaps: %+v", s.gaps)
	}
}
