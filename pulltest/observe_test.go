package pulltest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// take returns what was told since it was last called: of requests, or of
// everything else.
func (l *eventLog) take(requests bool) []pulltest.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []pulltest.Event
	for _, e := range l.list {
		if requests == (e.Kind == pulltest.Requested) {
			list = append(list, e)
		}
	}
	l.list = nil
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
		w.told("published private 1 public application third kept client", "delivered 1 websocket")
		w.ReplaceChannel(pulltest.Private)
		w.EmitOld(pulltest.Message{Command: "fourth", Expiry: -1})
		time.Sleep(time.Second)
		w.told("published private 1 old application fourth", "delivered 1 websocket")
		w.CloseWebSockets(4010, "4010: Wrong Channel Id.")
		w.told("unsubscribed 1 websocket close frame 4010")
	})
}
