package realtime

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// TestCorners_LeftWhereSavingFails: a loop that is left stays left, also where
// the last save fails.
func TestCorners_LeftWhereSavingFails(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		store := new(countingStore)
		l.subscribe(nil, WithCursorStore(store))
		go func() {
			<-l.sub.Ready()
			store.broken.Store(true)
			l.emit("one")
		}()
		for _, err := range l.sub.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	})
}

// gated runs the subscription with a small queue and a handler that waits for
// the gate.
func (l *life) gated() (gate chan struct{}) {
	l.sub.queue.MaxMessages = 5
	gate = make(chan struct{})
	l.run(func(ctx context.Context, _ Message) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return nil
	})
	<-l.sub.Ready()
	time.Sleep(10 * time.Minute)
	l.tickFor(8*time.Second, time.Second)
	time.Sleep(10 * time.Second)
	return gate
}

// TestCorners_ReplacedInAPause: a channel that is replaced while the queue is
// full, as the replay that follows tells.
func TestCorners_ReplacedInAPause(t *testing.T) {
	t.Parallel()
	after := func(t *testing.T, l *life, how string) {
		gate := l.gated()
		if s := l.sub.State(); s != StatePaused {
			t.Fatalf("state is %v", s)
		}
		l.portal.ExpireChannel(pulltest.Private, how)
		close(gate)
		time.Sleep(time.Minute)
		for range 60 {
			l.tick()
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if lost, repeated, _ := l.ticked(); lost+repeated > 0 || l.sub.State() != StateLive {
			t.Errorf("state is %v, lost %d, repeated %d of %d", l.sub.State(), lost, repeated, l.ticks)
		}
	}
	for _, how := range []string{"reconnect", "get_config"} {
		t.Run(how, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil, WithBackoff(soon))
				after(t, l, how)
			})
		})
	}
	t.Run("fixed config", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.fixed(WithBackoff(soon))
			after(t, l, "reconnect")
		})
	})
}

// exceptSockets answers everything but upgrades.
func exceptSockets(answer http.HandlerFunc) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" || strings.HasPrefix(r.URL.Path, "/rest/") {
				next.ServeHTTP(w, r)
				return
			}
			answer(w, r)
		})
	})
}

// TestCorners_PollsDoNotGetThrough: where a proxy lets websockets pass and no
// polls, the history is read by websockets.
func TestCorners_PollsDoNotGetThrough(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4, 5} {
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open(pulltest.WithVersion(version), exceptSockets(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
			l.emit("before")
			l.subscribe(nil, WithBackoff(soon))
			l.run(nil)
			select {
			case <-l.sub.Ready():
			case <-time.After(time.Minute):
				t.Fatalf("version %d: not ready", version)
			}
			l.tickFor(shorter(time.Hour, 20*time.Minute), time.Minute)
			time.Sleep(time.Minute)
			if lost, repeated, _ := l.ticked(); lost+repeated > 0 {
				t.Errorf("version %d: lost %d, repeated %d", version, lost, repeated)
			}
		})
	}
}

// TestCorners_DrainDeliversWhatWaits: what has been received and waits for a
// replay is not thrown away.
func TestCorners_DrainDeliversWhatWaits(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var stalled atomic.Bool
		l.open(stallPolls(&stalled))
		l.subscribe(nil, WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(10 * time.Second)
		stalled.Store(true)
		l.portal.Cut()
		time.Sleep(time.Second)
		l.emit("received")
		time.Sleep(500 * time.Millisecond)
		l.want()
		l.sub.Drain(context.Background())
		<-l.done
		l.want("received")
	})
}

// TestCorners_CursorOfAnOlderServer: a server whose sequence stands below the
// cursor's is read from its beginning, and what is saved then is a position of
// that server.
func TestCorners_CursorOfAnOlderServer(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(MemoryStore)
		l.start(nil, WithCursorStore(store))
		l.emit("one")
		time.Sleep(10 * time.Minute)
		l.portal.Cut()
		l.emit("two")
		time.Sleep(10 * time.Minute)
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		c := &store.cursor // now of another server, whose sequence has begun later
		c.position.Bound.Server++
		c.position.Watermark.Epoch += 1000
		for i := range c.position.Acked {
			c.position.Acked[i].Mid.Epoch += 1000
		}
		second := l.goOn(store, nil)
		<-second.sub.Ready()
		time.Sleep(3 * time.Second)
		if err := second.stop(); err != nil {
			t.Fatal(err)
		}
		l.emit("while down")
		third := l.goOn(store, nil)
		time.Sleep(time.Minute)
		if got := third.commands(); !slices.Contains(got, "while down") {
			t.Errorf("handled %q", got)
		}
	})
}

// TestCorners_PlainBesideSecure: an address that is not secure is not used
// where the other way is.
func TestCorners_PlainBesideSecure(t *testing.T) {
	cfg := &b24pull.Config{
		Server:   b24pull.Server{Version: 4, WebSocketEnabled: true, WebSocket: "ws://h/sub/", LongPollingSecure: "https://h/sub/"},
		Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "id", Type: "private"}},
	}
	tests := []struct {
		name                 string
		o                    options
		swap                 bool
		socketUsed, pollUsed bool
	}{
		{"a plain websocket", options{}, false, false, true},
		{"a plain websocket that is wanted", options{transport: TransportWebSocket}, false, true, true},
		{"plain addresses are welcome", options{insecure: true}, false, true, true},
		{"plain polls", options{}, true, true, false},
	}
	for _, tt := range tests {
		c := *cfg
		if tt.swap {
			c.Server.WebSocket, c.Server.WebSocketSecure = "", "wss://h/sub/"
			c.Server.LongPolling, c.Server.LongPollingSecure = "http://h/sub/", ""
		}
		ep, err := tt.o.endpoint(&c)
		if err != nil || (ep.socket.URL != "") != tt.socketUsed || (ep.poll.URL != "") != tt.pollUsed {
			t.Errorf("%s: %v, %v, %v", tt.name, ep.socket.URL, ep.poll.URL, err)
		}
	}
	broken := *cfg
	broken.Server.WebSocketSecure = "#DOMAIN#"
	if ep, err := new(options).endpoint(&broken); err != nil || ep.socket.URL != "" || ep.poll.URL == "" {
		t.Errorf("a secure address that is none: %v, %v, %v", ep.socket.URL, ep.poll.URL, err)
	}
}

// TestCorners_FixedConfigDoubtsARefusal: one HTTP 400, which may be a proxy's,
// does not end a config that has no successor.
func TestCorners_FixedConfigDoubtsARefusal(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.fixed(WithBackoff(soon))
		l.run(nil)
		<-l.sub.Ready()
		time.Sleep(time.Minute)
		l.portal.Misbehave(pulltest.WebSockets, pulltest.Refuse(http.StatusBadRequest))
		l.portal.Cut()
		time.Sleep(30 * time.Millisecond)
		l.portal.Behave(pulltest.WebSockets)
		time.Sleep(time.Minute)
		if s := l.sub.State(); s != StateLive {
			t.Errorf("state is %v", s)
		}
	})
}

// TestCorners_PollsProveThemselves: polls that fail after a while, as behind a
// gateway that gives up, are tried less and less.
func TestCorners_PollsProveThemselves(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var bad atomic.Bool
		l.open(slowPolls(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !bad.Load() {
				next.ServeHTTP(w, r)
				return
			}
			time.Sleep(11 * time.Second)
			w.WriteHeader(http.StatusGatewayTimeout)
		}))
		l.subscribe(nil, WithTransport(TransportLongPolling))
		l.run(nil)
		<-l.sub.Ready()
		bad.Store(true)
		time.Sleep(shorter(60*time.Minute, 20*time.Minute))
		greatest := 0
		for _, c := range l.changes(StateWaiting) {
			greatest = max(greatest, c.Attempt)
		}
		if greatest < 10 {
			t.Errorf("attempt %d in the end", greatest)
		}
	})
}
