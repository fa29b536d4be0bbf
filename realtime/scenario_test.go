package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/gorilla/websocket"
)

// life is a subscription to a portal in memory, on virtual time, and all that
// it does.
type life struct {
	t       *testing.T
	network *pulltest.Network
	portal  *pulltest.Portal
	sub     *Subscription
	ticks   int // sent

	mu       sync.Mutex
	events   []Event
	messages []Message
	err      error
	done     chan struct{}
}

// onVirtualTime runs a scenario in a bubble, beside other tests.
func onVirtualTime(t *testing.T, scenario func(t *testing.T, l *life)) {
	t.Helper()
	resttest.Sample(t)
	t.Parallel()
	onVirtualTimeInTurn(t, scenario)
}

// onVirtualTimeInTurn is the same where a test has several scenarios.
func onVirtualTimeInTurn(t *testing.T, scenario func(t *testing.T, l *life)) {
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

// subscribe makes the subscription; the portal's application is the source
// unless one is given.
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

// run runs the subscription with a handler, nil for one that only takes notes,
// until the test ends.
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

// tick sends the next numbered message, to the private and the shared channel
// by turns.
func (l *life) tick() {
	to := []pulltest.Target{pulltest.Private, pulltest.Shared}[l.ticks%2]
	l.portal.Emit(pulltest.Message{Command: "tick", Params: numbered{l.ticks}, To: to})
	l.ticks++
}

// tickFor sends one every so often, for some time.
func (l *life) tickFor(d, every time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(every) {
		l.tick()
	}
}

// ticked counts what of the numbered messages did not arrive, came again, or
// came after a later one.
func (l *life) ticked() (lost, repeated, outOfOrder int) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := newTally()
	for _, m := range l.messages {
		if m.Command == "tick" {
			got.add(l.t, m)
		}
	}
	return got.count(l.ticks)
}

// wantTicks checks that all numbered messages have come, once and in order, and
// that no gap was reported.
func (l *life) wantTicks() {
	l.t.Helper()
	if lost, repeated, outOfOrder := l.ticked(); lost+repeated+outOfOrder > 0 {
		l.t.Errorf("lost %d, repeated %d, out of order %d of %d", lost, repeated, outOfOrder, l.ticks)
	}
	if n := countEvents[Gap](l); n > 0 {
		l.t.Errorf("%d gaps", n)
	}
}

// lifeEvents are the events of one kind so far.
func lifeEvents[E Event](l *life) (events []E) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e, ok := e.(E); ok {
			events = append(events, e)
		}
	}
	return events
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

// onEveryTransport runs a scenario on every version and transport.
func onEveryTransport(t *testing.T, scenario func(t *testing.T, l *life, portal []pulltest.Option, transport Transport)) {
	t.Helper()
	for _, s := range servers {
		if !resttest.Thorough && !slices.Contains([]string{"version 2", "version 4", "version 5"}, s.name) {
			continue // one of each dialect says most of it
		}
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) { scenario(t, l, s.portal, transport) })
			})
		}
	}
}

// onSockets is a subscription over real sockets, and what it delivers.
type onSockets struct {
	t      *testing.T
	portal *pulltest.Portal
	got    chan Message
}

func runOnSockets(t *testing.T, portal []pulltest.Option, opts ...Option) *onSockets {
	t.Helper()
	return runOn(t, pulltest.NewPortal(slices.Concat([]pulltest.Option{pulltest.WithHistory()}, portal)...), opts...)
}

// runOn is the same with a portal that has been prepared.
func runOn(t *testing.T, portal *pulltest.Portal, opts ...Option) *onSockets {
	t.Helper()
	o := &onSockets{t, portal, make(chan Message, 64)}
	sub, err := Subscribe(client(t, o.portal), append(opts, WithBackoff(soon))...)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sub.Run(context.Background(), HandlerFunc(func(_ context.Context, m Message) error {
			o.got <- m
			return nil
		}))
	}()
	t.Cleanup(func() {
		sub.Close()
		<-done
		o.portal.Close()
	})
	<-sub.Ready()
	return o
}

// want waits for messages, each once, in any order, and returns them.
func (o *onSockets) want(commands ...string) (messages []Message) {
	o.t.Helper()
	for len(commands) > 0 {
		select {
		case m := <-o.got:
			i := slices.Index(commands, m.Command)
			if i < 0 {
				o.t.Fatalf("got %q, missing %q", m.Command, commands)
			}
			commands = slices.Delete(commands, i, i+1)
			messages = append(messages, m)
		case <-time.After(time.Minute):
			o.t.Fatalf("missing %q", commands)
		}
	}
	return messages
}

// versions 1 to 5, one for each dialect and what differs within one.
var versions = []int{1, 2, 3, 4, 5}

func onEveryVersion(t *testing.T, scenario func(t *testing.T, l *life, version int)) {
	t.Helper()
	for _, version := range versions {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) { scenario(t, l, version) })
		})
	}
}

// channel is a channel of the portal's config, as it stands there.
func channel(t *testing.T, p *pulltest.Portal, kind string) map[string]any {
	t.Helper()
	var config struct{ Channels map[string]map[string]any }
	if err := json.Unmarshal(p.ConfigJSON(), &config); err != nil {
		t.Fatal(err)
	}
	return config.Channels[kind]
}

// numbered is what the numbered messages of these tests carry.
type numbered struct {
	N int `json:"n"`
}

// onVersions runs a scenario on a version of each dialect.
func onVersions(t *testing.T, scenario func(t *testing.T, l *life, version int)) {
	t.Helper()
	for _, version := range versions {
		if version == 1 {
			continue // as version 2
		}
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) { scenario(t, l, version) })
		})
	}
}

// servers are the push servers a subscription must work on, as pulltest plays
// them.
var servers = []struct {
	name       string
	portal     []pulltest.Option
	transports []Transport
}{
	{"version 1", []pulltest.Option{pulltest.WithVersion(1)}, both},
	{"version 2", []pulltest.Option{pulltest.WithVersion(2)}, both},
	{"version 3", []pulltest.Option{pulltest.WithVersion(3)}, both},
	{"version 4", []pulltest.Option{pulltest.WithVersion(4)}, both},
	{"version 4 shared", []pulltest.Option{pulltest.WithVersion(4), pulltest.WithSharedMode()}, both},
	{"version 5", []pulltest.Option{pulltest.WithVersion(5)}, both},
	{"version 5 shared", []pulltest.Option{pulltest.WithVersion(5), pulltest.WithSharedMode()}, both},
	{"version 5 without polling", []pulltest.Option{pulltest.WithVersion(5), pulltest.WithoutPolling()}, []Transport{TransportAuto}},
	{"version 4 without websockets", []pulltest.Option{pulltest.WithVersion(4), pulltest.WithoutWebSockets()}, []Transport{TransportAuto}},
}

var both = []Transport{TransportWebSocket, TransportLongPolling}

// onEveryServer runs a test for each server and transport.
func onEveryServer(t *testing.T, test func(t *testing.T, portal []pulltest.Option, transport Transport)) {
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) { test(t, s.portal, transport) })
		}
	}
}

// onEveryServerAtOnce is onEveryServer over real sockets, where tests wait more
// than they work.
func onEveryServerAtOnce(t *testing.T, test func(t *testing.T, portal []pulltest.Option, transport Transport)) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, s := range servers {
		for _, transport := range s.transports {
			all.Go(func() {
				t.Run(s.name+" "+transport.String(), func(t *testing.T) { test(t, s.portal, transport) })
			})
		}
	}
}

// socketsFrom has websockets be served by serve, in the portal's place, while
// on.
func socketsFrom(on *atomic.Bool, serve func(*websocket.Conn)) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !on.Load() || !websocket.IsWebSocketUpgrade(r) {
				next.ServeHTTP(w, r)
				return
			}
			ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			serve(ws)
		})
	})
}
