package pulltest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// eventLog is what an observer was told.
type eventLog struct {
	mu   sync.Mutex
	list []pulltest.Event
}

func (l *eventLog) add(e pulltest.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

// take returns what was told since it was last called so: of requests, or of
// everything else.
func (l *eventLog) take(requests bool) []pulltest.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list, rest []pulltest.Event
	for _, e := range l.list {
		if requests == (e.Kind == pulltest.Requested) {
			list = append(list, e)
		} else {
			rest = append(rest, e)
		}
	}
	l.list = rest
	return list
}

// line is an event in short.
func line(e pulltest.Event) string {
	parts := []string{string(e.Kind)}
	if e.Subscriber != 0 {
		parts = append(parts, fmt.Sprint(e.Subscriber, " ", e.Transport))
	}
	parts = append(parts, strings.Join(e.Targets, "+"), e.Module, e.Command, e.Reason)
	for _, word := range []struct {
		name string
		set  bool
	}{{"kept", e.Kept}, {"history", e.History}, {"client", e.Client}, {fmt.Sprint(e.Code), e.Code != 0}} {
		if word.set {
			parts = append(parts, word.name)
		}
	}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}

// watched is an observed portal on virtual time.
type watched struct {
	*testing.T
	*pulltest.Portal
	*eventLog
}

func observed(t *testing.T, f func(w watched), opts ...pulltest.Option) {
	t.Helper()
	l := new(eventLog)
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		f(watched{t, p, l})
	}, append([]pulltest.Option{pulltest.WithObserver(l.add), pulltest.WithPingInterval(0)}, opts...)...)
}

// told checks what was told, but for requests, since the last time.
func (w watched) told(want ...string) []pulltest.Event {
	w.Helper()
	synctest.Wait()
	list := w.take(false)
	var got []string
	for _, e := range list {
		got = append(got, line(e))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return list
}

// listen reads a websocket until it ends.
func (w watched) listen(mid string) *websocket.Conn {
	w.Helper()
	ws := dial(w.T, w.Portal, mid)
	go func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				ws.Close()
				return
			}
		}
	}()
	return ws
}

func TestObserver_WebSocket(t *testing.T) {
	observed(t, func(w watched) {
		first := w.Emit(pulltest.Message{Command: "first"})
		ws := w.listen(zeros)
		time.Sleep(time.Second)
		list := w.told("published private 1 application first kept", "subscribed 1 websocket", "delivered 1 websocket history")
		if list[0].Mid != first || list[2].Mid != first || list[1].Position != zeros || list[1].User != 1 {
			w.Errorf("%+v", list)
		}
		if !strings.Contains(list[0].Body, `"module_id":"application","command":"first"`) {
			w.Errorf("body %s", list[0].Body)
		}
		w.Emit(pulltest.Message{Module: "im", Command: "second", To: pulltest.Both, Expiry: -1})
		time.Sleep(time.Second)
		w.told("published private 1+private 1 public im second", "delivered 1 websocket", "delivered 1 websocket")
		time.Sleep(time.Second)
		w.Ping()
		w.told("ping 1 websocket", "pong 1 websocket")
		ws.WriteMessage(websocket.PingMessage, nil)
		w.told("ping 1 websocket client")
		w.EmitAsClient(pulltest.Message{Command: "third"})
		time.Sleep(time.Second)
		list = w.told("published private 1 public application third kept client", "delivered 1 websocket")
		if list[0].User != 2 {
			w.Errorf("user %d has published", list[0].User)
		}
		w.ReplaceChannel(pulltest.Private)
		w.EmitOld(pulltest.Message{Command: "fourth", Expiry: -1})
		time.Sleep(time.Second)
		w.told("published private 1 old application fourth", "delivered 1 websocket")
		w.CloseWebSockets(4010, "4010: Wrong Channel Id.")
		w.told("unsubscribed 1 websocket close frame 4010")
	})
}

// ends are ways in which a websocket ends, and what is told of it.
func TestObserver_WebSocketEnds(t *testing.T) {
	closing := func(code int) func(watched, *websocket.Conn) {
		return func(_ watched, ws *websocket.Conn) {
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Time{})
		}
	}
	for _, c := range []struct {
		reason  string
		code    int
		version int
		end     func(w watched, ws *websocket.Conn)
		opts    []pulltest.Option
	}{
		{reason: "client closed", end: func(_ watched, ws *websocket.Conn) { ws.Close() }},
		{reason: "client closed", code: 1000, end: closing(1000)},
		{reason: "client closed", code: 4001, end: closing(4001)},
		{reason: "cut", end: func(w watched, _ *websocket.Conn) { w.Cut() }},
		{reason: "close frame", code: 4029, end: func(w watched, _ *websocket.Conn) { w.CloseWebSockets(4029, "") }},
		{reason: "close frame", code: 4013, end: func(_ watched, ws *websocket.Conn) { ws.WriteMessage(websocket.TextMessage, []byte("x")) }},
		{reason: "protocol error", end: func(_ watched, ws *websocket.Conn) { ws.NetConn().Write([]byte{0xff, 0}) }},
		{reason: "ping timeout", end: func(w watched, ws *websocket.Conn) {
			ws.SetPingHandler(func(string) error { return nil })
			w.Ping()
			w.Ping()
		}},
		{reason: "ping timeout", version: 5, end: func(w watched, ws *websocket.Conn) { time.Sleep(time.Minute) }},
		{reason: "idle", opts: []pulltest.Option{pulltest.WithIdleTimeout(time.Minute)}, end: func(watched, *websocket.Conn) { time.Sleep(time.Minute) }},
		{reason: "restart", end: func(w watched, _ *websocket.Conn) { w.RestartServer(0); time.Sleep(time.Second) }},
		{reason: "reset", end: func(w watched, _ *websocket.Conn) { w.Reset() }},
		{reason: "portal closed", end: func(w watched, _ *websocket.Conn) { w.Close() }},
		{reason: "evicted", code: 4029, end: func(w watched, _ *websocket.Conn) {
			for range 100 {
				w.listen("")
			}
		}},
		{reason: "lost answer", version: 5, end: func(w watched, ws *websocket.Conn) {
			w.Misbehave(pulltest.Publishing, pulltest.LoseAnswer)
			ws.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","method":"ping","id":1}`))
		}},
	} {
		version := max(c.version, 4)
		if c.version == 0 {
			version = 4
		}
		t.Run(fmt.Sprint(c.reason, " ", c.code, " version ", version), func(t *testing.T) {
			observed(t, func(w watched) {
				target := subURL(w.T, w.Portal, "")
				if version == 5 {
					target += "&jsonRpc=true"
				}
				ws, _, err := dialURL(w.Portal, target)
				if err != nil {
					w.Fatal(err)
				}
				defer ws.Close()
				go func() {
					for err == nil {
						_, _, err = ws.ReadMessage()
					}
				}()
				synctest.Wait()
				c.end(w, ws)
				synctest.Wait()
				var ends []pulltest.Event
				for _, e := range w.take(false) {
					if e.Kind == pulltest.Unsubscribed && e.Subscriber == 1 {
						ends = append(ends, e)
					}
				}
				if len(ends) != 1 || ends[0].Reason != c.reason || ends[0].Code != c.code || ends[0].Transport != "websocket" {
					w.Errorf("told %+v", ends)
				}
			}, append(c.opts, pulltest.WithVersion(version))...)
		})
	}
}

func TestObserver_PollEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		mid  string
		end  func(w watched, cancel func())
		want []string
		opts []pulltest.Option
	}{
		{name: "live", end: func(w watched, _ func()) { w.Emit(pulltest.Message{Command: "x"}) },
			want: []string{"subscribed 1 poll", "published private 1 application x kept", "delivered 1 poll", "unsubscribed 1 poll answered"}},
		{name: "history", mid: zeros, end: func(watched, func()) {},
			want: []string{"subscribed 1 poll", "delivered 1 poll history", "unsubscribed 1 poll answered"}},
		{name: "timeout", end: func(watched, func()) { time.Sleep(40 * time.Second) }, want: []string{"subscribed 1 poll", "unsubscribed 1 poll timeout"}},
		{name: "client", end: func(_ watched, cancel func()) { cancel() }, want: []string{"subscribed 1 poll", "unsubscribed 1 poll client closed"}},
		{name: "cut", end: func(w watched, _ func()) { w.CutPolls() }, want: []string{"subscribed 1 poll", "unsubscribed 1 poll cut"}},
		{name: "idle", end: func(watched, func()) { time.Sleep(10 * time.Second) }, want: []string{"subscribed 1 poll", "unsubscribed 1 poll idle"},
			opts: []pulltest.Option{pulltest.WithIdleTimeout(10 * time.Second)}},
		{name: "reset", end: func(w watched, _ func()) { w.Reset() }, want: []string{"subscribed 1 poll", "unsubscribed 1 poll reset"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			observed(t, func(w watched) {
				if c.mid != "" {
					w.Emit(pulltest.Message{Command: "before"})
					synctest.Wait()
					w.take(false)
				}
				ctx, cancel := context.WithCancel(w.Context())
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, subURL(w.T, w.Portal, c.mid), nil)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if resp, err := w.HTTPClient().Do(req); err == nil {
						resp.Body.Close()
					}
				}()
				synctest.Wait()
				c.end(w, cancel)
				w.told(c.want...)
				<-done
			}, c.opts...)
		})
	}
}

// TestObserver_Versions: messages and connections are told of in all versions,
// each once.
func TestObserver_Versions(t *testing.T) {
	for version := 1; version <= 5; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			observed(t, func(w watched) {
				path := "/sub/"
				if version < 3 {
					path = "/subws/"
				}
				ws, _, err := dialURL(w.Portal, framedURL(w, path))
				if err != nil {
					w.Fatal(err)
				}
				defer ws.Close()
				poll := pollAt(w.HTTPClient(), framedURL(w, "/sub/"))
				synctest.Wait()
				mid := w.Emit(pulltest.Message{Command: "x"})
				if err := ending(w.T, poll); err != nil {
					w.Fatal(err)
				}
				ws.ReadMessage()
				got := w.told("subscribed 1 websocket", "subscribed 2 poll", "published private 1 application x kept",
					"delivered 1 websocket", "delivered 2 poll", "unsubscribed 2 poll answered")
				for _, e := range got {
					if e.Kind != pulltest.Published && e.User != 1 {
						w.Errorf("%s: user %d", line(e), e.User)
					}
					if (e.Kind == pulltest.Published || e.Kind == pulltest.Delivered) && (e.Mid == "" || mid != "" && e.Mid != mid) {
						w.Errorf("%s: mid %q, want %q", line(e), e.Mid, mid)
					}
				}
			}, pulltest.WithVersion(version), pulltest.WithHandover(0), pulltest.WithTextPing(0))
		})
	}
}

// TestObserver_Subscribers: the open connections, and what they were sent.
func TestObserver_Subscribers(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		began := time.Now()
		first := p.Emit(text("x"))
		ws := dial(t, p, zeros)
		defer ws.Close()
		go func() {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Second)
		poll := pollLater(t, p, first)
		time.Sleep(time.Second)
		pinged := time.Now()
		p.Ping()
		time.Sleep(time.Second)
		list := p.Subscribers()
		want := []pulltest.Subscriber{
			{Number: 1, Transport: "websocket", User: 1, Since: began, Position: zeros, Mid: first, LastPing: pinged, LastPong: pinged, Replayed: 1},
			{Number: 2, Transport: "poll", User: 1, Since: began.Add(time.Second), Position: first},
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		last := p.Emit(text("y"))
		<-poll
		list = p.Subscribers()
		if len(list) != 1 || list[0].Live != 1 || list[0].Mid != last {
			t.Errorf("%+v", list)
		}
		ws.Close()
		synctest.Wait()
		if list := p.Subscribers(); len(list) != 0 {
			t.Errorf("%+v", list)
		}
	}, pulltest.WithPingInterval(0))
}
