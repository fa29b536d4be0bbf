package realtime

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// attempts notes what a backoff function is asked for.
type attempts struct {
	mu    sync.Mutex
	asked []int
}

func (a *attempts) backoff(delay time.Duration) func(int) time.Duration {
	return func(attempt int) time.Duration {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, attempt)
		return delay
	}
}

func (a *attempts) take() []int {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

// TestDelays_WithBackoff: the user's delays are kept to, and asked for by the
// number of the attempt, which begins at 1 once a connection has lasted ten
// seconds.
func TestDelays_WithBackoff(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				const delay = 7 * time.Second
				var asked attempts
				l.start(nil, WithTransport(transport), WithBackoff(asked.backoff(delay)))
				time.Sleep(time.Minute)
				faulty := pulltest.WebSockets
				if transport == TransportLongPolling {
					faulty = pulltest.Polls
				}
				l.portal.Misbehave(faulty, pulltest.BadGateway)
				l.portal.Cut()
				time.Sleep(4*delay + time.Second)
				if got := asked.take(); !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
					t.Errorf("asked for attempts %v", got)
				}
				for _, c := range l.changes(StateWaiting) {
					if c.Delay != delay {
						t.Errorf("attempt %d after %v", c.Attempt, c.Delay)
					}
				}
				l.portal.Behave(faulty)
				time.Sleep(delay)
				live := l.changes(StateLive)
				up := live[len(live)-1]
				if l.sub.State() != StateLive || up.Transport != transport {
					t.Fatalf("state is %v by %v", l.sub.State(), up.Transport)
				}
				asked.take()
				fail := func() { // a poll that is cut would be repeated by net/http
					l.portal.Misbehave(faulty, pulltest.BadGateway)
					l.portal.Cut()
					synctest.Wait()
					l.portal.Behave(faulty)
				}
				fail() // after less than 10 s
				if got := asked.take(); !slices.Equal(got, []int{6}) {
					t.Errorf("cut too soon, asked for attempts %v", got)
				}
				time.Sleep(delay + 45*time.Second) // a poll has to be answered
				fail()
				if got := asked.take(); !slices.Equal(got, []int{1}) {
					t.Errorf("cut later, asked for attempts %v", got)
				}
			})
		})
	}
}

// TestDelays_BackoffOfNothing: a function that returns no delay, or less, does
// not make the subscription spin.
func TestDelays_BackoffOfNothing(t *testing.T) {
	t.Parallel()
	for i, delay := range []time.Duration{0, -time.Hour, time.Nanosecond} {
		for j, service := range []pulltest.Service{pulltest.WebSockets, pulltest.REST} {
			if testing.Short() && (i+j)%2 > 0 {
				continue // each delay and each service is met
			}
			onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
				var asked attempts
				l.open()
				l.portal.Misbehave(service, pulltest.BadGateway)
				l.subscribe(nil, WithTransport(TransportWebSocket), WithBackoff(asked.backoff(delay)))
				l.run(nil)
				time.Sleep(time.Second)
				if n := len(asked.take()); n < 10 || n > 110 {
					t.Errorf("%d attempts in a second", n)
				}
				for _, c := range l.changes(StateWaiting) {
					if c.Delay <= 0 {
						t.Fatalf("a delay of %v", c.Delay)
					}
				}
				l.portal.Behave(service)
				<-l.sub.Ready()
			})
		}
	}
}

// TestDelays_RenewalIsTriedAgain: a renewal that fails is repeated by the same
// delays; the connection goes on meanwhile.
func TestDelays_RenewalIsTriedAgain(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var mu sync.Mutex
		var asked []time.Time
		l.start([]pulltest.Option{pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requestKind(r) == "config" {
					mu.Lock()
					asked = append(asked, time.Now())
					mu.Unlock()
				}
				next.ServeHTTP(w, r)
			})
		})})
		for round := range 2 { // the second one begins with the first delay again
			time.Sleep(waningReset)
			before, states := len(lifeEvents[Renewal](l)), countEvents[StateChange](l)
			asked = nil
			l.portal.Misbehave(pulltest.REST, pulltest.BadGateway)
			l.portal.ExpireChannel(pulltest.Private, "get_config")
			for range 60 { // over the shared channel: the private one is another now
				l.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{l.ticks}, To: pulltest.Shared})
				l.ticks++
				time.Sleep(time.Second)
			}
			l.portal.Behave(pulltest.REST)
			time.Sleep(time.Minute)
			renewals := lifeEvents[Renewal](l)[before:]
			base := []time.Duration{500 * time.Millisecond, 5 * time.Second, 25 * time.Second, 45 * time.Second}
			if len(asked) != len(base)+1 {
				t.Fatalf("round %d: asked %d times, renewals %+v", round, len(asked), renewals)
			}
			for i, delay := range base {
				if d := asked[i+1].Sub(asked[i]); d < delay || d > delay*12/10+time.Second {
					t.Errorf("round %d: asked again after %v, want %v", round, d, delay)
				}
			}
			failed, last := 0, renewals[len(renewals)-1]
			for _, r := range renewals[:len(renewals)-1] {
				failed += r.Count
				if r.Err == nil || r.Changed || r.Reason != RenewChannelExpired || r.Delay < base[0] {
					t.Errorf("round %d: renewal %+v", round, r)
				}
			}
			if failed != len(base) || last != (Renewal{Reason: RenewChannelExpired, Changed: true, Count: 1}) {
				t.Errorf("round %d: %d renewals have failed, the last one is %+v", round, failed, last)
			}
			if n := countEvents[StateChange](l) - states; n > 0 {
				t.Errorf("round %d: %d state changes", round, n)
			}
			l.tick() // private or shared
			l.tick()
			time.Sleep(time.Second)
			l.wantTicks()
		}
	})
}

// TestDelays_ReplayGoesOnWhenConnected: a replay that broke off does not sit
// out its delay once the connection stands again, so that what was missed comes
// before what is new.
func TestDelays_ReplayGoesOnWhenConnected(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithTransport(TransportWebSocket), WithBackoff(func(int) time.Duration { return 100 * time.Millisecond }))
		time.Sleep(time.Minute)
		l.portal.Misbehave(pulltest.Polls, pulltest.BadGateway)
		l.portal.CutWebSockets()
		time.Sleep(3 * time.Minute) // connected, and the delay before the replay goes on is 30 s by now
		broken := l.sub.Stats().BrokenReplays
		for l.sub.Stats().BrokenReplays == broken {
			time.Sleep(100 * time.Millisecond)
		}
		l.portal.Behave(pulltest.Polls)
		l.portal.CutWebSockets()
		l.tickFor(20*time.Second, 50*time.Millisecond)
		time.Sleep(5 * time.Second)
		l.wantTicks()
		if s := l.sub.Stats(); s.Found == 0 {
			t.Error("nothing was missed")
		}
	})
}

// TestDelays_WithSettleTime: where a publish takes longer than the default
// allows for, what is stored behind a message with a greater id is lost to the
// replays. With the option it is not, neither on the first channels nor on
// those that replace them, nor on another server.
func TestDelays_WithSettleTime(t *testing.T) {
	t.Parallel()
	const slowest = 40 * time.Second
	slow := []pulltest.Option{pulltest.WithProcesses(1, 2), pulltest.WithDisorder(slowest), pulltest.WithPingInterval(7 * time.Second)}
	begin := map[string]func(l *life, next *pulltest.Portal, source *movable){
		"first channels": func(*life, *pulltest.Portal, *movable) {},
		"replaced":       func(l *life, _ *pulltest.Portal, _ *movable) { l.portal.ExpireChannel(pulltest.Private, "reconnect") },
		"another server": func(l *life, next *pulltest.Portal, source *movable) {
			source.at.Store(client(l.t, next))
			l.portal.ExpireChannel(pulltest.Private, "get_config")
			l.portal = next
		},
	}
	lost := func(begin func(*life, *pulltest.Portal, *movable), opts ...Option) (lost int) {
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open(slow...)
			next := pulltest.NewPortal(append(slow, pulltest.WithNetwork(l.network))...)
			t.Cleanup(next.Close)
			first := l.portal
			t.Cleanup(func() { l.portal = first })
			both := trusting(first, next)
			t.Cleanup(both.CloseIdleConnections)
			source := new(movable)
			source.at.Store(client(t, l.portal))
			l.subscribe(source, append(opts, WithHTTPClient(both))...)
			l.run(nil)
			<-l.sub.Ready()
			begin(l, next, source)
			time.Sleep(5 * time.Minute)
			l.portal.Silence(0, time.Hour) // reads alone bring something
			l.tickFor(shorter(20*time.Minute, 10*time.Minute), 3*time.Second)
			time.Sleep(5 * time.Minute)
			var repeated int
			if lost, repeated, _ = l.ticked(); repeated > 0 {
				t.Errorf("%d repeated", repeated)
			}
		})
		return lost
	}
	for name, begin := range begin {
		if testing.Short() && name != "replaced" {
			continue
		}
		if n := lost(begin, WithSettleTime(slowest+5*time.Second)); n > 0 {
			t.Errorf("%s: %d lost", name, n)
		}
		if n := lost(begin); n < 10 || n > 350 {
			t.Errorf("%s: %d of 400 are lost without the option", name, n)
		}
	}
	for _, d := range []time.Duration{0, -time.Second, time.Minute + 1} {
		if _, err := Subscribe(FromConfig(new(b24pull.Config)), WithSettleTime(d)); err == nil || !strings.Contains(err.Error(), "WithSettleTime") {
			t.Errorf("%v: %v", d, err)
		}
	}
}
