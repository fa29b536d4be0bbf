package realtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// idleHour is an hour behind a middle box that ends what has been idle for a
// while, with messages that the server does not keep, each sent just when a
// connection that has been idle since the one before is being replaced.
type idleHour struct {
	reconnects, polls, pings, sent, lost int
}

func (l *life) idleHour(limit time.Duration, portal []pulltest.Option, opts ...Option) (h idleHour) {
	l.t.Helper()
	l.start(append(portal, pulltest.WithIdleTimeout(limit)), opts...)
	time.Sleep(time.Second)
	for end := time.Now().Add(time.Hour); time.Now().Before(end); h.sent++ {
		time.Sleep(limit + 250*time.Millisecond)
		l.portal.Emit(pulltest.Message{Command: fmt.Sprint("transient ", h.sent), Expiry: -1})
	}
	time.Sleep(5 * time.Second)
	s := l.portal.Stats()
	h.reconnects, h.polls, h.pings = len(l.changes(StateWaiting)), s.Polls, s.ClientPings
	h.lost = h.sent - len(l.commands()) - s.DroppedByPing // the server's own pings make holes
	return h
}

// TestIdle_Timeout: a middle box ends what is idle. By default that is noticed,
// and pings of our own come in time; with WithPingInterval they always do. They
// cause no replays.
func TestIdle_Timeout(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for _, limit := range []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 100 * time.Second} {
			t.Run(fmt.Sprintf("version %d %v", version, limit), func(t *testing.T) {
				resttest.Sample(t)
				t.Parallel()
				portal := []pulltest.Option{pulltest.WithVersion(version), pulltest.WithTextPing(0), pulltest.WithGather(0)}
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					if h := l.idleHour(limit, portal, WithPingInterval(0)); h.reconnects < 5 || h.lost < 5 {
						t.Errorf("without pings: %+v: the hour has tested nothing", h)
					}
				})
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					if h := l.idleHour(limit, portal); h.reconnects > 3 || h.polls > 45 || h.lost > max(3, h.sent/50) {
						t.Errorf("%+v", h)
					}
				})
				onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
					h := l.idleHour(limit, portal, WithPingInterval(min(10*time.Second, limit/2)))
					if h.reconnects > 0 || h.polls > 45 || h.lost > 0 || h.pings < 300 {
						t.Errorf("with an interval: %+v", h)
					}
				})
			})
		}
	}
}

// TestIdle_Forgets: after a day without cuts pings of our own are no longer
// sent, and one cut has them sent again.
func TestIdle_Forgets(t *testing.T) {
	skipLong(t)
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithIdleTimeout(time.Minute)})
		days := 3
		if resttest.Thorough {
			days = 6
		}
		time.Sleep(time.Duration(days) * 24 * time.Hour)
		if n := len(l.changes(StateWaiting)); n < 3+days-2 || n > 3+days+1 {
			t.Errorf("%d reconnects in %d days", n, days)
		}
	})
}

// TestIdle_ByChance: cuts that are not for silence, and those whose ages
// differ, cause no pings.
func TestIdle_ByChance(t *testing.T) {
	now := time.Unix(1795421100, 0)
	type cut struct{ after, silence time.Duration }
	const s = time.Second
	tests := []struct {
		name string
		cuts []cut // the silence is survived where it is negative
		want time.Duration
	}{
		{"three at one age", []cut{{0, 60 * s}, {61 * s, 60 * s}, {61 * s, 60 * s}}, 40 * s},
		{"two", []cut{{0, 60 * s}, {61 * s, 60 * s}}, 0},
		{"about the same, the shortest counts", []cut{{0, 62 * s}, {61 * s, 60 * s}, {61 * s, 64 * s}}, 40 * s},
		{"differing", []cut{{0, 60 * s}, {61 * s, 100 * s}, {61 * s, 60 * s}, {61 * s, 20 * s}}, 0},
		{"not silent", []cut{{0, 3 * s}, {61 * s, 3 * s}, {61 * s, 3 * s}}, 0},
		{"hardly silent", []cut{{0, 6 * s}, {61 * s, 6 * s}, {61 * s, 6 * s}}, 4 * s},
		{"far apart", []cut{{0, 60 * s}, {2 * time.Hour, 60 * s}, {2 * time.Hour, 60 * s}}, 0},
		{"a longer silence was survived", []cut{{0, 60 * s}, {61 * s, 60 * s}, {61 * s, -90 * s}, {61 * s, 60 * s}}, 0},
		{"that silence was survived by a hair", []cut{{0, 60 * s}, {61 * s, 60 * s}, {61 * s, -60 * s}, {61 * s, 60 * s}}, 40 * s},
		{"and then a shorter one", []cut{{0, 60 * s}, {s, 60 * s}, {s, 60 * s}, {s, 30 * s}, {s, 30 * s}, {s, 30 * s}}, 20 * s},
	}
	for _, tt := range tests {
		var i idling
		at := now
		for _, c := range tt.cuts {
			at = at.Add(c.after)
			if c.silence < 0 {
				i.survived(-c.silence)
			} else {
				i.cut(c.silence, at)
			}
		}
		if got := i.every(at); got != tt.want {
			t.Errorf("%s: every %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestIdle_ForgottenSocket: a middle box that forgets what is silent, and tells
// nobody, is found out as well.
func TestIdle_ForgottenSocket(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		hole := newBlackHole(time.Minute, l.network.DialContext)
		l.open(pulltest.WithPingInterval(0))
		through := *l.portal.HTTPClient()
		transport := through.Transport.(*http.Transport).Clone()
		transport.DialContext = hole.dial
		through.Transport = transport
		t.Cleanup(transport.CloseIdleConnections)
		l.subscribe(nil, WithHTTPClient(&through), WithTransport(TransportWebSocket))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Hour)
		learned := len(l.changes(StateWaiting))
		time.Sleep(shorter(10*time.Hour, 3*time.Hour))
		if n := len(l.changes(StateWaiting)) - learned; n > 0 || learned < 3 || learned > 12 {
			t.Errorf("%d reconnects in the first hour, %d in the ten after", learned, n)
		}
	})
}

// TestIdle_MutedSocket: a middle box that looks only at what we send ends a
// connection that the server is busy on as well.
func TestIdle_MutedSocket(t *testing.T) {
	t.Parallel()
	minutes := resttest.Rounds(60)
	muted := func(t *testing.T, version int, limit, every time.Duration, opts ...Option) (reconnects, lost int) {
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open(pulltest.WithVersion(version), pulltest.WithTextPing(0), pulltest.WithGather(0))
			through := *l.portal.HTTPClient()
			transport := through.Transport.(*http.Transport).Clone()
			transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := l.network.DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return &mutedConn{Conn: c, limit: limit, timer: time.AfterFunc(limit, func() { c.Close() })}, nil
			}
			through.Transport = transport
			t.Cleanup(transport.CloseIdleConnections)
			l.subscribe(nil, append(opts, WithHTTPClient(&through), WithTransport(TransportWebSocket), WithBackoff(soon))...)
			l.run(nil)
			<-l.sub.Ready()
			sent := 0
			for end := time.Now().Add(time.Duration(minutes) * time.Minute); time.Now().Before(end); sent++ {
				time.Sleep(every)
				l.portal.Emit(pulltest.Message{Command: fmt.Sprint(sent), Expiry: -1})
			}
			time.Sleep(10 * time.Second)
			reconnects = len(l.changes(StateWaiting))
			lost = sent - len(l.commands()) - l.portal.Stats().DroppedByPing
		})
		return reconnects, lost
	}
	for _, version := range versions {
		for _, limit := range []time.Duration{5 * time.Second, 20 * time.Second, time.Minute} {
			for _, every := range []time.Duration{time.Second, limit * 3 / 4} {
				t.Run(fmt.Sprintf("version %d %v a message every %v", version, limit, every), func(t *testing.T) {
					resttest.Sample(t)
					t.Parallel()
					if reconnects, lost := muted(t, version, limit, every); reconnects > 4 || lost > 4 {
						t.Errorf("%d reconnects, %d lost", reconnects, lost)
					}
				})
			}
		}
	}
	t.Run("without pings", func(t *testing.T) {
		t.Parallel()
		if reconnects, _ := muted(t, 4, time.Minute, shorter(1*time.Second, 5*time.Second), WithPingInterval(0)); reconnects < minutes/3 {
			t.Errorf("%d reconnects in %d minutes: they have tested nothing", reconnects, minutes)
		}
	})
}

// mutedConn ends when nothing has been written to it for a while.
type mutedConn struct {
	net.Conn
	limit time.Duration
	timer *time.Timer
}

func (c *mutedConn) Write(b []byte) (int, error) {
	c.timer.Reset(c.limit)
	return c.Conn.Write(b)
}

func (c *mutedConn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}

// TestIdle_PollsThatFailSoon: polls that a gateway ends after a few seconds may
// be those of a server that is down: they are not repeated at once.
func TestIdle_PollsThatFailSoon(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(pulltest.WithIdleTimeout(5 * time.Second))
		l.emit("kept")
		l.subscribe(nil, WithTransport(TransportLongPolling))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Hour)
		if n := l.portal.Stats().Polls; n > 250 {
			t.Errorf("%d polls in an hour", n)
		}
	})
}

// blackHole dials connections that go dead in silence, both ways.
type blackHole struct {
	limit time.Duration
	dialF func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newBlackHole(limit time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *blackHole {
	return &blackHole{limit, dial}
}

func (h *blackHole) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := h.dialF(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &forgottenConn{Conn: c, limit: h.limit, last: time.Now()}, nil
}

type forgottenConn struct {
	net.Conn
	limit time.Duration
	mu    sync.Mutex
	last  time.Time
	dead  bool
}

// passes reports whether something gets through now.
func (c *forgottenConn) passes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.dead = c.dead || now.Sub(c.last) >= c.limit
	c.last = now
	return !c.dead
}

func (c *forgottenConn) Write(b []byte) (int, error) {
	if !c.passes() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *forgottenConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || c.passes() {
			return n, err
		}
	}
}

// TestIdle_Polls: polls that a middle box ends while they hang, at the same age
// again and again, are repeated at once, and nobody waits longer from time to
// time.
func TestIdle_Polls(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for _, kept := range []bool{true, false} {
			t.Run(fmt.Sprintf("version %d kept %v", version, kept), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.open(pulltest.WithVersion(version), pulltest.WithIdleTimeout(30*time.Second))
					if kept {
						l.emit("kept")
					}
					l.subscribe(nil, WithTransport(TransportLongPolling))
					l.run(nil)
					<-l.sub.Ready()
					n := shorter(60, 30)
					for i := range n {
						time.Sleep(61 * time.Second)
						l.portal.Emit(pulltest.Message{Command: fmt.Sprint(i), Expiry: -1})
					}
					time.Sleep(5 * time.Second)
					waits, polls, lost := len(l.changes(StateWaiting)), l.portal.Stats().Polls, n-len(l.commands())
					if polls > 650 || lost > 5 {
						t.Errorf("%d waits, %d polls, lost %d", waits, polls, lost)
					}
					if kept && waits > 3 {
						t.Errorf("%d waits", waits)
					}
				})
			})
		}
	}
}

// TestIdle_PingIntervalOption: what cannot be an interval is refused.
func TestIdle_PingIntervalOption(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, time.Nanosecond, time.Second - 1} {
		if _, err := Subscribe(FromConfig(new(b24pull.Config)), WithPingInterval(d)); err == nil || !strings.Contains(err.Error(), "WithPingInterval") {
			t.Errorf("%v: %v", d, err)
		}
	}
	for _, d := range []time.Duration{0, time.Second, time.Hour} {
		if err := WithPingInterval(d)(new(options)); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// TestIdle_StuckBetweenPings: pings of our own that go out while one is not
// answered do not put off that this is noticed.
func TestIdle_StuckBetweenPings(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil, WithTransport(TransportWebSocket), WithPingInterval(5*time.Second))
		time.Sleep(time.Minute)
		l.portal.Misbehave(pulltest.WebSockets, pulltest.Stall)
		time.Sleep(5*time.Second + pongWithin + time.Second)
		if n := len(l.changes(StateWaiting)); n != 1 || !errors.Is(l.lastWait().Cause, errStuck) {
			t.Errorf("given up %d times", n)
		}
		l.portal.Behave(pulltest.WebSockets)
		time.Sleep(2 * time.Minute)
		l.both("again")
	})
}
