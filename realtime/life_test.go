package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// life is a subscription to a portal in memory, on virtual time, and all that it does.
type life struct {
	t       *testing.T
	network *pulltest.Network
	portal  *pulltest.Portal
	sub     *Subscription

	mu       sync.Mutex
	events   []Event
	messages []Message
	err      error
	done     chan struct{}
}

// onVirtualTime runs a scenario in a bubble.
func onVirtualTime(t *testing.T, scenario func(t *testing.T, l *life)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scenario(t, &life{t: t, network: pulltest.NewNetwork(), done: make(chan struct{})})
	})
}

func (l *life) open(opts ...pulltest.Option) {
	l.portal = pulltest.NewPortal(append(opts, pulltest.WithNetwork(l.network))...)
	l.t.Cleanup(func() {
		l.portal.HTTPClient().CloseIdleConnections()
		l.portal.Close()
	})
}

// subscribe makes the subscription; the portal's application is the source unless one is given.
func (l *life) subscribe(source ConfigSource, opts ...Option) {
	l.t.Helper()
	if source == nil {
		source = client(l.t, l.portal)
	}
	opts = append([]Option{WithObserver(l.observe)}, opts...)
	sub, err := Subscribe(source, opts...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.sub = sub
}

func (l *life) observe(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// run runs the subscription with a handler, nil for one that only takes notes, until the test ends.
func (l *life) run(h HandlerFunc) {
	ctx, cancel := context.WithCancel(l.t.Context())
	go func() {
		defer close(l.done)
		err := l.sub.Run(ctx, HandlerFunc(func(ctx context.Context, m Message) error {
			l.mu.Lock()
			l.messages = append(l.messages, m)
			l.mu.Unlock()
			if h != nil {
				return h(ctx, m)
			}
			return nil
		}))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
	}()
	l.t.Cleanup(func() {
		cancel()
		<-l.done
	})
}

// start does all of it and waits until the subscription is ready.
func (l *life) start(portal []pulltest.Option, opts ...Option) {
	l.open(portal...)
	l.subscribe(nil, opts...)
	l.run(nil)
	<-l.sub.Ready()
}

func (l *life) emit(command string) string {
	return l.portal.Emit(pulltest.Message{Command: command})
}

// commands waits until everything is idle, and returns what has been handled.
func (l *life) commands() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var commands []string
	for _, m := range l.messages {
		commands = append(commands, m.Command)
	}
	return commands
}

func (l *life) want(commands ...string) {
	l.t.Helper()
	if got := l.commands(); !slices.Equal(got, commands) {
		l.t.Errorf("handled %q, want %q", got, commands)
	}
}

// changes are the state changes so far, from a state or to it.
func (l *life) changes(to State) []StateChange {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var changes []StateChange
	for _, e := range l.events {
		if c, ok := e.(StateChange); ok && c.To == to {
			changes = append(changes, c)
		}
	}
	return changes
}

func countEvents[E Event](l *life) (n int) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if _, ok := e.(E); ok {
			n++
		}
	}
	return n
}

func TestBeginsNow(t *testing.T) {
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
		time.Sleep(10 * time.Minute) // several pings, and a read after each
		l.emit("later")
		l.want("after", "later")
	})
}

// TestBeginsOnEmptyPortal: with nothing kept the first read has no answer; the subscription is ready all the same.
func TestBeginsOnEmptyPortal(t *testing.T) {
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

// TestPingHole: what the server drops around its pings is found by the read behind the pong.
func TestPingHole(t *testing.T) {
	ping := func(l *life) (lost, dropped int) {
		const n = 6000
		l.network.SetLatency(150 * time.Millisecond)
		l.open(pulltest.WithPingInterval(5 * time.Second))
		l.subscribe(nil)
		if l.t.Name() == "TestPingHole/without_reads" {
			l.sub.poll = noReads{}
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
		l.t.Logf("lost %d, repeated %d, out of order %d of %d, %d found by reads", lost, repeated, disordered, n, got.replayed)
		if repeated+disordered > 0 {
			l.t.Errorf("repeated %d, out of order %d", repeated, disordered)
		}
		return lost, l.portal.Stats().DroppedByPing
	}
	t.Run("with reads", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			if lost, dropped := ping(l); lost > 0 || dropped == 0 {
				l.t.Errorf("lost %d of the %d that the server dropped", lost, dropped)
			}
		})
	})
	t.Run("without reads", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			if lost, _ := ping(l); lost == 0 {
				l.t.Error("nothing was lost without reads: the pings have tested nothing")
			}
		})
	})
}

// TestDelays: the delays before an attempt grow, and a connection that does not last does not reset them.
func TestDelays(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
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

func TestBackoffBounds(t *testing.T) {
	for _, attempt := range []int{-1, 0, 1, 2, 5, 63, 64, 65, 1 << 40} {
		if d := defaultBackoff(attempt); d < 500*time.Millisecond || d > 72*time.Second {
			t.Errorf("attempt %d: %v", attempt, d)
		}
		if d := readBackoff(attempt); d < 100*time.Millisecond || d > 36*time.Second {
			t.Errorf("read attempt %d: %v", attempt, d)
		}
	}
}

// TestStuck: a connection that falls silent without breaking is noticed and replaced.
func TestStuck(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start([]pulltest.Option{pulltest.WithPingInterval(0)})
		begin := time.Now()
		l.network.SetLatency(24 * time.Hour)
		l.emit("unheard")
		for l.sub.State() == StateLive {
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

// TestSlowHandlerKeepsConnection: pings are answered while a handler sleeps.
func TestSlowHandlerKeepsConnection(t *testing.T) {
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

// TestFullQueuePauses: a full queue disconnects, and what did not fit arrives later, once and in order.
func TestFullQueuePauses(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil, WithBackoff(soon))
		l.sub.queue.maxMessages = 50
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		<-l.sub.Ready()
		const n = 3000 // three times as fast as they are handled
		load{messages: n, minEvery: n + 1}.publishAndCut(l.portal)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if lost, repeated, disordered := got.count(n); lost+repeated+disordered > 0 {
			t.Errorf("lost %d, repeated %d, out of order %d", lost, repeated, disordered)
		}
		if len(l.changes(StatePaused)) == 0 {
			t.Error("the queue was never full")
		}
	})
}

// TestFullOfWaiting: messages that wait for a read that does not answer fill the queue; they are let through, and
// nothing stands still.
func TestFullOfWaiting(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if stalled.Load() && strings.Contains(r.URL.RawQuery, "mid=") {
					<-r.Context().Done()
					return
				}
				next.ServeHTTP(w, r)
			})
		}))
		l.subscribe(nil, WithBackoff(soon))
		l.sub.queue.maxMessages = 5
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			return nil
		})
		<-l.sub.Ready()
		stalled.Store(true)
		l.portal.Cut()
		time.Sleep(time.Second)
		const n = 300
		load{messages: n, minEvery: n + 1}.publishAndCut(l.portal)
		time.Sleep(10 * time.Second)
		stalled.Store(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if lost, repeated, _ := got.count(n); lost+repeated > 0 {
			t.Errorf("lost %d, repeated %d", lost, repeated)
		}
		if len(l.changes(StatePaused)) == 0 {
			t.Error("the queue was never full")
		}
	})
}

// slowPolls makes polls with a mid wait, or trickle, while how says so.
func slowPolls(how func(w http.ResponseWriter, r *http.Request, next http.Handler)) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "mid=") {
				how(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
}

// TestSlowFirstAnswer: a server that takes long over the first read does not turn its past into news.
func TestSlowFirstAnswer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			select {
			case <-time.After(2100 * time.Millisecond):
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		}))
		for range 50 {
			l.emit("past")
			time.Sleep(time.Minute)
		}
		l.subscribe(nil)
		l.run(nil)
		<-l.sub.Ready()
		l.emit("one")
		time.Sleep(10 * time.Minute)
		l.emit("two")
		time.Sleep(10 * time.Minute)
		l.want("one", "two")
	})
}

// trickle sends a recorded answer in pieces, one every so often.
func trickle(w http.ResponseWriter, r *http.Request, next http.Handler, piece int, every time.Duration) {
	whole := httptest.NewRecorder()
	next.ServeHTTP(whole, r)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(whole.Code)
	body := whole.Body.Bytes()
	for len(body) > 0 && r.Context().Err() == nil {
		n := min(piece, len(body))
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
		body = body[n:]
		time.Sleep(every)
	}
}

// TestTrickle: a read whose answer comes slowly gets on, message by message and within one.
func TestTrickle(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var slow atomic.Bool
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if slow.Load() {
				trickle(w, r, next, 100, 5*time.Second)
				return
			}
			next.ServeHTTP(w, r)
		}))
		l.emit("before")
		l.subscribe(nil, WithBackoff(func(int) time.Duration { return time.Minute }))
		l.run(nil)
		<-l.sub.Ready()
		slow.Store(true)
		l.portal.CutWebSockets()
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint("missed", i))
			l.portal.Emit(pulltest.Message{Command: want[i], Params: map[string]string{"text": strings.Repeat("x", 500)}})
		}
		time.Sleep(30 * time.Minute)
		l.want(want...)
	})
}

// TestStalledPollsRepeatNothing: polls that stall for long, while live delivery goes on, make nothing come twice.
func TestStalledPollsRepeatNothing(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if stalled.Load() {
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		}))
		l.subscribe(nil)
		got := newTally()
		l.run(func(_ context.Context, m Message) error {
			got.add(t, m)
			return nil
		})
		<-l.sub.Ready()
		const n = 9000
		for i := range n { // a quarter of an hour
			stalled.Store(i > 1000 && i < 8000)
			l.portal.Emit(pulltest.Message{Params: numbered{i}})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lost, repeated, _ := got.count(n); lost+repeated > 0 { // what a ping took came late
			t.Errorf("lost %d, repeated %d", lost, repeated)
		}
	})
}

// TestGarbledFramesAreBounded: however many frames cannot be read, reads keep their distance.
func TestGarbledFramesAreBounded(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		s := fakeSocket{frames: make(chan []byte)}
		l.open()
		l.emit("before")
		l.subscribe(nil)
		l.sub.dial = s
		l.run(nil)
		<-l.sub.Ready()
		before := l.portal.Stats().Polls
		for range 2000 {
			s.frames <- []byte("garbage")
			time.Sleep(5 * time.Millisecond)
		}
		l.emit("found by a read")
		s.frames <- []byte("garbage")
		time.Sleep(10 * time.Second)
		if polls := l.portal.Stats().Polls - before; polls < 2 || polls > 5 {
			t.Errorf("%d reads in 20 seconds", polls)
		}
		l.want("found by a read")
	})
}

// fakeSocket is a live transport whose frames the test sends.
type fakeSocket struct{ frames chan []byte }

func (s fakeSocket) open(ctx context.Context, _ address, _ sink) (conn, error) {
	return fakeConn{s, ctx}, nil
}

type fakeConn struct {
	fakeSocket
	ctx context.Context
}

func (c fakeConn) next() (io.Reader, error) {
	select {
	case b := <-c.frames:
		return bytes.NewReader(b), nil
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

func (fakeConn) ping() error { return nil }
func (fakeConn) close(int)   {}

// TestRunWaitsForItsTasks: when Run returns, what it has started has stopped.
func TestRunWaitsForItsTasks(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		slow := &slowToStop{}
		l.sub.dial = slow
		l.run(nil)
		time.Sleep(time.Second)
		l.sub.Close()
		<-l.done
		if !slow.stopped.Load() {
			t.Error("Run returned before a connection attempt of its own had ended")
		}
	})
}

// slowToStop is a transport that takes a while to give up.
type slowToStop struct{ stopped atomic.Bool }

func (s *slowToStop) open(ctx context.Context, _ address, _ sink) (conn, error) {
	<-ctx.Done()
	time.Sleep(300 * time.Millisecond)
	s.stopped.Store(true)
	return nil, ctx.Err()
}

// TestUndecodable: a message that cannot be decoded is reported once, and those around it arrive.
func TestUndecodable(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.emit("one")
		l.portal.Emit(pulltest.Message{Body: `{"module_id":`})
		l.emit("two")
		time.Sleep(10 * time.Minute)
		l.want("one", "two")
		if n := countEvents[Undecodable](l); n != 1 {
			t.Errorf("reported %d times", n)
		}
	})
}

// TestTwoReceivers: a message for two channels of the connection arrives once.
func TestTwoReceivers(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.portal.Emit(pulltest.Message{Command: "both", To: pulltest.Both})
		time.Sleep(5 * time.Minute)
		l.want("both")
		if countEvents[Repeat](l) == 0 {
			t.Error("the repeat was not reported")
		}
	})
}

// TestCrowded: after «too many connections» the subscription stays away for long.
func TestCrowded(t *testing.T) {
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

// TestRefusedChannel: close code 4010 has the config fetched anew, past the cache; a fixed config is at its end.
func TestRefusedChannel(t *testing.T) {
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

// TestWebhookRefused: today's portals refuse the application's config to a webhook; the error names the way out.
func TestWebhookRefused(t *testing.T) {
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

// TestPortalConfig: the channels of the webhook's user.
func TestPortalConfig(t *testing.T) {
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

// TestPassingFailures: a portal and a push server that answer a proxy's page are tried again.
func TestPassingFailures(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var down atomic.Bool
		down.Store(true)
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if down.Load() {
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(http.StatusBadGateway)
					_, _ = w.Write([]byte("<html>" + r.URL.String() + "</html>"))
					return
				}
				next.ServeHTTP(w, r)
			})
		}))
		l.subscribe(nil)
		l.run(nil)
		time.Sleep(3 * time.Minute)
		if s := l.sub.State(); s != StateWaiting {
			t.Errorf("state is %v", s)
		}
		down.Store(false)
		<-l.sub.Ready()
		down.Store(true)
		l.portal.Cut()
		l.emit("missed")
		time.Sleep(3 * time.Minute)
		down.Store(false)
		time.Sleep(2 * time.Minute)
		l.want("missed")
	})
}

// TestCursorResumes: a subscription that goes on from a message's cursor gets what followed it, and nothing twice.
func TestCursorResumes(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.emit("before")
		var cursor Cursor
		const n, total = 700, 2000
		got := newTally()
		for run := range 2 {
			sub, err := Subscribe(client(t, l.portal), WithCursor(cursor), WithBackoff(soon))
			if err != nil {
				t.Fatal(err)
			}
			if run == 0 {
				go func() {
					<-sub.Ready()
					load{messages: total, minEvery: 100, spread: 100}.publishAndCut(l.portal)
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
