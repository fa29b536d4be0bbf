package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/pulltest"
)

func TestSubscribeChecks(t *testing.T) {
	good := &b24pull.Config{
		Server:   b24pull.Server{Version: 4, WebSocketEnabled: true, WebSocketSecure: "wss://rt.example/sub/", LongPollingSecure: "https://rt.example/sub/"},
		Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "private-id"}},
	}
	change := func(edit func(*b24pull.Config)) ConfigSource {
		c := *good
		edit(&c)
		return FromConfig(&c)
	}
	var noClient *b24pull.Client
	tests := []struct {
		name   string
		source ConfigSource
		opt    Option
		want   string // in the error; empty: none
	}{
		{"good", FromConfig(good), nil, ""},
		{"no source", nil, nil, "source is nil"},
		{"nil client", noClient, nil, "source is nil"},
		{"nil portal client", PortalConfig(nil), nil, "source is nil"},
		{"nil config", FromConfig(nil), nil, "source is nil"},
		{"version 5", change(func(c *b24pull.Config) { c.Server.Version = 5 }), nil, "version 5"},
		{"websockets off", change(func(c *b24pull.Config) { c.Server.WebSocketEnabled = false }), nil, "websockets are off"},
		{"no channel", change(func(c *b24pull.Config) { c.Channels = b24pull.Channels{} }), nil, "neither a private nor a shared channel"},
		{"no websocket", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "" }), nil, "no websocket URL"},
		{"no polling", change(func(c *b24pull.Config) { c.Server.LongPollingSecure = "" }), nil, "no long polling URL"},
		{"a websocket URL that is none", change(func(c *b24pull.Config) { c.Server.WebSocketSecure = "rt.example/private-id" }), nil, "wss://host/path"},
		{"nil HTTP client", FromConfig(good), WithHTTPClient(nil), "WithHTTPClient"},
		{"nil dialer", FromConfig(good), WithDialer(nil), "WithDialer"},
		{"nil logger", FromConfig(good), WithLogger(nil), "WithLogger"},
		{"nil observer", FromConfig(good), WithObserver(nil), "WithObserver"},
		{"nil backoff", FromConfig(good), WithBackoff(nil), "WithBackoff"},
		{"a transport of another kind", FromConfig(good), WithHTTPClient(&http.Client{Transport: redact.NoRedirect{}}), "WithDialer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := []Option{}
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			_, err := Subscribe(tt.source, opts...)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "private-id"):
				t.Errorf("a secret in %v", err)
			}
		})
	}
	if _, err := Subscribe(FromConfig(good), nil); err == nil {
		t.Error("a nil option was taken")
	}
}

func TestEndpoint(t *testing.T) {
	cfg := func(edit func(*b24pull.Config)) *b24pull.Config {
		c := &b24pull.Config{
			Server: b24pull.Server{
				Version: 4, WebSocketEnabled: true,
				WebSocket: "ws://rt.example/plain/", WebSocketSecure: "wss://rt.example/sub/",
				LongPolling: "http://rt.example/plain/", LongPollingSecure: "https://rt.example/sub/",
			},
			Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "aa:bb.cc"}, Shared: &b24pull.Channel{ID: "dd.ee"}},
		}
		if edit != nil {
			edit(c)
		}
		return c
	}
	const query = "CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&binaryMode=true&revision=19"
	tests := []struct {
		name         string
		edit         func(*b24pull.Config)
		socket, poll string
	}{
		{"secure, private channel first", nil, "wss://rt.example/sub/?" + query, "https://rt.example/sub/?" + query},
		{"plain where there is nothing else", func(c *b24pull.Config) { c.Server.WebSocketSecure, c.Server.LongPollingSecure = "", "" },
			"ws://rt.example/plain/?" + query, "http://rt.example/plain/?" + query},
		{"the path exactly, and its own query", func(c *b24pull.Config) {
			c.Server.WebSocketSecure, c.Server.LongPollingSecure = "wss://rt.example/sub", "https://rt.example/sub/?a=b"
		}, "wss://rt.example/sub?" + query, "https://rt.example/sub/?a=b&" + query},
		{"shared only", func(c *b24pull.Config) { c.Channels.Private = nil },
			"wss://rt.example/sub/?CHANNEL_ID=dd.ee&binaryMode=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=dd.ee&binaryMode=true&revision=19"},
		{"a cloud server's client id", func(c *b24pull.Config) { c.ClientID = "c/1" },
			"wss://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&clientId=c%2F1&binaryMode=true&revision=19", "https://rt.example/sub/?CHANNEL_ID=aa%3Abb.cc%2Fdd.ee&clientId=c%2F1&binaryMode=true&revision=19"},
		{"a token in place of the channels", func(c *b24pull.Config) { c.JWT = "j.w.t" },
			"wss://rt.example/sub/?token=j.w.t&binaryMode=true&revision=19", "https://rt.example/sub/?token=j.w.t&binaryMode=true&revision=19"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ep, err := newEndpoint(cfg(tt.edit))
			if err != nil {
				t.Fatal(err)
			}
			if ep.socket.url != tt.socket || ep.poll.url != tt.poll {
				t.Errorf("got\n%s\n%s, want\n%s\n%s", ep.socket, ep.poll, tt.socket, tt.poll)
			}
			if got := ep.poll.after(midAt(7)).url; got != tt.poll+"&mid="+midAt(7).String() {
				t.Errorf("polls %s", got)
			}
		})
	}
}

func TestRunsOnce(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		if err := l.sub.Run(t.Context(), HandlerFunc(nil)); !errors.Is(err, ErrAlreadyRun) {
			t.Errorf("a second Run returned %v", err)
		}
		for _, err := range l.sub.Messages(t.Context()) {
			if !errors.Is(err, ErrAlreadyRun) {
				t.Errorf("Messages after Run yielded %v", err)
			}
		}
	})
}

func TestRunNeedsHandler(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		if err := l.sub.Run(t.Context(), nil); err == nil {
			t.Error("no error for a nil handler")
		}
	})
}

// TestClose: from a handler, twice, before Run; it never waits, and Run returns nil.
func TestClose(t *testing.T) {
	t.Run("from a handler", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.run(func(ctx context.Context, m Message) error {
				l.sub.Close()
				l.sub.Close()
				if l.sub.State() == StateIdle {
					t.Error("idle within a handler")
				}
				return ctx.Err() // a handler that passes on that it was told to stop
			})
			<-l.sub.Ready()
			l.emit("one")
			l.emit("two")
			<-l.done
			l.want("one")
			if l.err != nil || l.sub.State() != StateClosed {
				t.Errorf("Run returned %v, state %v", l.err, l.sub.State())
			}
		})
	})
	t.Run("before Run", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			l.sub.Close()
			if err := l.sub.Run(t.Context(), HandlerFunc(nil)); err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
	})
	t.Run("ends Messages silently", func(t *testing.T) {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil)
			go func() {
				<-l.sub.Ready()
				l.sub.Close()
			}()
			for m, err := range l.sub.Messages(t.Context()) {
				t.Errorf("yielded %v, %v", m, err)
			}
		})
	})
}

// TestCancelStopsWithinASecond: also while the connection is stuck, and while a read or a delay is under way.
func TestCancelStopsWithinASecond(t *testing.T) {
	situations := map[string]func(l *life){
		"live":       func(*life) {},
		"stuck":      func(l *life) { l.network.SetLatency(time.Hour); l.portal.Ping() },
		"waiting":    func(l *life) { l.portal.Close() },
		"connecting": func(l *life) { l.network.SetLatency(time.Hour); l.portal.Cut(); time.Sleep(time.Second) },
	}
	for name, happens := range situations {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				l.subscribe(nil)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil })) }()
				<-l.sub.Ready()
				happens(l)
				time.Sleep(time.Millisecond)
				begin := time.Now()
				cancel()
				if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Run returned %v", err)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("stopped after %v", took)
				}
			})
		})
	}
}

// TestCancelDuringUpgrade: a server that takes the connection and does not answer the upgrade holds nobody, with a
// dialer of the user's that has no time limit either.
func TestCancelDuringUpgrade(t *testing.T) {
	for _, ends := range []string{"cancelled", "in time"} {
		t.Run(ends, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Header.Get("Upgrade") != "" {
							<-r.Context().Done()
							return
						}
						next.ServeHTTP(w, r)
					})
				}))
				transport := l.portal.HTTPClient().Transport.(*http.Transport)
				l.subscribe(nil, WithDialer(&websocket.Dialer{NetDialContext: transport.DialContext, TLSClientConfig: transport.TLSClientConfig}))
				l.run(nil)
				time.Sleep(time.Second)
				if ends == "cancelled" {
					begin := time.Now()
					l.sub.Close()
					<-l.done
					if took := time.Since(begin); took > time.Second {
						t.Errorf("stopped after %v", took)
					}
					return
				}
				time.Sleep(handshakeTimeout)
				if waits := l.changes(StateWaiting); len(waits) == 0 || !errors.Is(waits[0].Cause, os.ErrDeadlineExceeded) {
					t.Errorf("waits: %v", waits)
				}
			})
		})
	}
}

// TestCancelIsYieldedOnce: a cancelled context is the one error of Messages.
func TestCancelIsYieldedOnce(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-l.sub.Ready()
			cancel()
		}()
		var got []error
		for _, err := range l.sub.Messages(ctx) {
			got = append(got, err)
		}
		if len(got) != 1 || !errors.Is(got[0], context.Canceled) {
			t.Errorf("yielded %v", got)
		}
	})
}

// TestEndTellsTheTrouble: a context that ends while nothing can be reached is told with the reason; a state change
// has a cause only if something went wrong.
func TestEndTellsTheTrouble(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		l.portal.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Run returned %v", err)
		}
	})
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.start(nil)
		l.sub.Close()
		<-l.done
		if end := l.changes(StateClosed); len(end) != 1 || end[0].Cause != nil {
			t.Errorf("ended with %+v", end)
		}
	})
}

// TestHandlerError stops Run, and leaves the message to whoever goes on from the cursor before it.
func TestHandlerError(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		failure := errors.New("database is down")
		l.run(func(_ context.Context, m Message) error {
			if m.Command == "bad" {
				return failure
			}
			return nil
		})
		<-l.sub.Ready()
		l.emit("good")
		l.emit("bad")
		l.emit("unseen")
		<-l.done
		var handler *HandlerError
		if !errors.As(l.err, &handler) || handler.Message.Command != "bad" || !errors.Is(l.err, failure) {
			t.Fatalf("Run returned %v", l.err)
		}
		l.want("good", "bad")

		again, err := Subscribe(client(t, l.portal), WithCursor(l.messages[0].Cursor()))
		if err != nil {
			t.Fatal(err)
		}
		var commands []string
		for m, err := range again.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if commands = append(commands, m.Command); len(commands) == 2 {
				break
			}
		}
		if fmt.Sprint(commands) != "[bad unseen]" {
			t.Errorf("went on with %v", commands)
		}
	})
}

// TestPanicStopsEverything: a panic of the loop's body passes through, and no goroutine stays.
func TestPanicStopsEverything(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.subscribe(nil)
		go func() {
			<-l.sub.Ready()
			l.emit("one")
		}()
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
			synctest.Wait()
			if n := l.portal.Stats().Connections; n != 0 {
				t.Errorf("%d connections left", n)
			}
		}()
		for range l.sub.Messages(t.Context()) {
			panic("boom")
		}
	})
}

func TestMux(t *testing.T) {
	type order struct {
		ID int `json:"id"`
	}
	var got []string
	note := func(text string) HandlerFunc {
		return func(context.Context, Message) error { got = append(got, text); return nil }
	}
	mux := new(Mux)
	On(mux, "CRM", "order", func(_ context.Context, o order, m Message) error {
		got = append(got, fmt.Sprintf("order %d", o.ID))
		return nil
	})
	mux.HandleMessage("application", "other", note("other"))
	send := func(module, command, params string) error {
		return mux.Handle(t.Context(), Message{Module: module, Command: command, Params: []byte(params)})
	}
	for _, err := range []error{
		send("crm", "order", `{"id":7}`),
		send("crm", "order", `[]`), // PHP's empty object
		send("crm", "order", ``),
		send("application", "other", `{}`),
		send("application", "order", `{}`), // nobody's
	} {
		if err != nil {
			t.Error(err)
		}
	}
	mux.HandleDefault(note("default"))
	if err := send("application", "order", `{}`); err != nil {
		t.Error(err)
	}
	if want := "[order 7 order 0 order 0 other default]"; fmt.Sprint(got) != want {
		t.Errorf("handled %v, want %v", got, want)
	}
	if err := send("crm", "order", `{"id":"x"}`); err == nil || !strings.Contains(err.Error(), "crm order") {
		t.Errorf("params that do not fit: %v", err)
	}
	if err := send("crm", "order", `[1]`); err == nil {
		t.Error("a list that is not empty was taken for an object")
	}
	for name, register := range map[string]func(){
		"twice":        func() { mux.HandleMessage("crm", "order", note("")) },
		"nil":          func() { mux.HandleMessage("crm", "x", nil) },
		"nil function": func() { On[order](mux, "crm", "x", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			register()
		}()
	}
}

func TestQueueRefusesAndTells(t *testing.T) {
	q := newQueue(2, 100)
	if !q.admit(1000) {
		t.Error("an empty queue refused a message for its size")
	}
	if q.admit(1) {
		t.Error("over the bytes")
	}
	q.push(Message{size: 1000})
	if _, err := q.pop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.room:
	default:
		t.Error("nobody was told of the room")
	}
	for i, want := range []bool{true, true, false} {
		if got := q.admit(10); got != want {
			t.Errorf("message %d of a queue of two: %v", i+1, got)
		}
	}
	q.push(Message{size: 10, Command: "a"})
	q.push(Message{size: 10, Command: "b"})
	q.finish(errLeft)
	for _, want := range []string{"a", "b"} {
		if m, err := q.pop(t.Context()); err != nil || m.Command != want {
			t.Errorf("popped %q, %v", m.Command, err)
		}
	}
	if _, err := q.pop(t.Context()); err != errLeft {
		t.Errorf("the end is %v", err)
	}
}

func TestRingKeepsOrder(t *testing.T) {
	var r ring
	in, out := 0, 0
	for round := range 50 {
		for range round {
			r.push(Message{size: in})
			in++
		}
		for range round / 2 {
			m, ok := r.pop()
			if !ok || m.size != out {
				t.Fatalf("popped %d, want %d", m.size, out)
			}
			out++
		}
	}
	for ; out < in; out++ {
		if m, ok := r.pop(); !ok || m.size != out {
			t.Fatalf("popped %d, want %d", m.size, out)
		}
	}
	if _, ok := r.pop(); ok {
		t.Error("more came out than went in")
	}
}

// TestNoSecretIsTold: neither errors nor events nor the log name a channel, also where the server repeats what it
// was asked.
func TestNoSecretIsTold(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		var log strings.Builder
		var echo atomic.Int32
		l.open(pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked := r.URL.RequestURI()
				switch echo.Load() {
				case 1:
					http.Error(w, "404 not found: "+asked, http.StatusNotFound)
				case 2:
					w.Header().Set("Location", asked+"%")
					w.WriteHeader(http.StatusFound)
				case 3:
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					fmt.Fprintf(conn, "%s\r\n\r\n", asked) // no HTTP
					_ = conn.Close()
				default:
					next.ServeHTTP(w, r)
				}
			})
		}))
		l.subscribe(nil, WithLogger(newTestLogger(&log)))
		l.run(nil)
		<-l.sub.Ready()
		cfg, err := client(t, l.portal).GetApplicationConfig(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		l.portal.Cut()
		l.portal.Emit(pulltest.Message{Body: "{"})
		l.portal.CloseWebSockets(1008, "channel "+string(cfg.Channels.Private.ID)[:60])
		time.Sleep(time.Minute)
		for mode := range int32(4) {
			echo.Store(mode)
			l.portal.Cut()
			time.Sleep(5 * time.Minute)
		}
		l.portal.HTTPClient().CloseIdleConnections()
		l.portal.Close() // every connection is refused from now on
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		l.mu.Lock()
		told := fmt.Sprintf("%+v %v", l.events, log.String())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			told += fmt.Sprintf(verb, l.sub) + fmt.Sprintf(verb, FromConfig(cfg)) + fmt.Sprintf(verb, l.sub.source)
		}
		for _, e := range l.events {
			if c, ok := e.(StateChange); ok {
				told += fmt.Sprintf("%v %+v %#v", c.Cause, c.Cause, c.Cause)
			}
		}
		l.mu.Unlock()
		if len(told) < 1000 {
			t.Errorf("hardly anything was told: %s", told)
		}
		for _, id := range []string{string(cfg.Channels.Private.ID), string(cfg.Channels.Shared.ID)} {
			for _, part := range strings.FieldsFunc(id, func(r rune) bool { return r == ':' || r == '.' }) {
				if strings.Contains(told, part[:12]) {
					t.Errorf("a channel id was told: %s", told)
				}
			}
		}
	})
}
