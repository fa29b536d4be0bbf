package pulltest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// arrival is a frame and when it came.
type arrival struct {
	texts []string
	at    time.Duration
}

// listener collects frames until the websocket ends; then err holds why.
type listener struct {
	frames chan arrival
	last   string // mid
	err    error
}

func listen(t *testing.T, ws *websocket.Conn) *listener {
	l := &listener{frames: make(chan arrival, 10000)}
	start := time.Now()
	go func() {
		defer close(l.frames)
		for {
			var frame []byte
			if _, frame, l.err = ws.ReadMessage(); l.err != nil {
				return
			}
			messages := decode(t, frame)
			l.last = messages[len(messages)-1].Mid
			l.frames <- arrival{texts(t, messages), time.Since(start)}
		}
	}()
	return l
}

// soFar returns what has come up to now.
func (l *listener) soFar() (texts []string) {
	synctest.Wait()
	for {
		select {
		case a, ok := <-l.frames:
			if !ok {
				return texts
			}
			texts = append(texts, a.texts...)
		default:
			return texts
		}
	}
}

func kept(t *testing.T, p *pulltest.Portal, after string) []string {
	t.Helper()
	return texts(t, decode(t, pollMid(t, p, after).body))
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestHoles_HandoverHole(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		seen := p.Emit(text("a"))
		p.Emit(text("b"))
		ws := dial(t, p, seen)
		defer ws.Close()
		l := listen(t, ws)
		synctest.Wait()
		p.Emit(text("lost"))
		time.Sleep(2 * time.Second)
		p.Emit(text("live"))
		time.Sleep(time.Second)
		expect(t, "the websocket heard", l.soFar(), "b", "live")
		expect(t, "the history holds", kept(t, p, seen), "b", "lost", "live")
	}, pulltest.WithHandover(time.Second))
}

func TestHoles_HandoverHoleOfPolls(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		seen := p.Emit(text("a"))
		hanging := pollLater(t, p, seen)
		synctest.Wait()
		p.Emit(text("lost"))
		time.Sleep(2 * time.Second)
		p.Emit(text("live"))
		r := <-hanging
		expect(t, "the poll answered", texts(t, decode(t, r.body)), "live")
	}, pulltest.WithHandover(time.Second), pulltest.WithProcesses(2, 1))
}

// A client that resumes from the last mid it saw, as the official one does,
// loses messages where the handover is wide.
func TestHoles_NaiveClientLosesAtHandover(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		const n = 500
		go func() {
			for i := range n {
				p.Emit(text(fmt.Sprint(i)))
				time.Sleep(time.Millisecond)
			}
		}()
		seen := make(map[string]bool)
		last := zeros
		for range 8 {
			ws := dial(t, p, last)
			l := listen(t, ws)
			time.Sleep(80 * time.Millisecond)
			p.Cut()
			for a := range l.frames {
				for _, s := range a.texts {
					if seen[s] {
						t.Errorf("message %s came twice", s)
					}
					seen[s] = true
				}
			}
			if l.last != "" {
				last = l.last
			}
			ws.Close()
		}
		all := kept(t, p, zeros)
		if len(all) != n {
			t.Fatalf("%d messages are kept", len(all))
		}
		if lost := n - len(seen); lost == 0 {
			t.Error("nothing was lost: there is no hole")
		}
	}, pulltest.WithHostileTiming(), pulltest.WithDisorder(0), pulltest.WithGather(0))
}

func TestHoles_PingHole(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		l := listen(t, ws)
		n.SetLatency(300 * time.Millisecond)
		p.Emit(text("sent"))
		p.Emit(text("gathered"))
		p.Ping()
		p.Emit(text("before the pong"))
		time.Sleep(599 * time.Millisecond)
		p.Emit(text("just before the pong"))
		time.Sleep(2 * time.Millisecond)
		p.Emit(text("after the pong"))
		time.Sleep(time.Second)
		expect(t, "the websocket heard", l.soFar(), "sent", "after the pong")
		if got := p.Stats().DroppedByPing; got != 3 {
			t.Errorf("%d messages were dropped by the ping", got)
		}
		expect(t, "the history holds", kept(t, p, zeros),
			"sent", "gathered", "before the pong", "just before the pong", "after the pong")
	})
}

// A client's own ping is answered even while its pong is under way, and the
// pong to it says that sending has resumed.
func TestHoles_PongOfServerComesAfterHole(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		ws.SetPingHandler(func(string) error {
			ws.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Minute))
			return ws.WriteControl(websocket.PingMessage, []byte("resumed?"), time.Now().Add(time.Minute))
		})
		ws.SetPongHandler(func(data string) error {
			if data != "resumed?" {
				t.Errorf("pong %q", data)
			}
			p.Emit(text("resumed"))
			return nil
		})
		n.SetLatency(300 * time.Millisecond)
		l := listen(t, ws)
		p.Ping()
		time.Sleep(5 * time.Second)
		expect(t, "the websocket heard", l.soFar(), "resumed")
	})
}

func TestHoles_PingTimer(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		answering, silent := dial(t, p, ""), dial(t, p, "")
		defer answering.Close()
		defer silent.Close()
		l := listen(t, answering)
		time.Sleep(239 * time.Second)
		if s := p.Stats(); s.Pings != 2 || s.PingTimeouts != 0 || s.Connections != 2 {
			t.Errorf("after one ping: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := p.Stats(); s.Pings != 3 || s.PingTimeouts != 1 || s.Connections != 1 {
			t.Errorf("after two pings: %+v", s)
		}
		silent.SetReadDeadline(time.Now().Add(time.Minute))
		_, _, err := silent.ReadMessage()
		if !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
			t.Errorf("the silent client sees %v", err)
		}
		p.Emit(text("still there"))
		expect(t, "the answering client heard", l.soFar(), "still there")
	})
}

func TestHoles_Gathering(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		l := listen(t, ws)
		for i := range 4 {
			p.Emit(text(fmt.Sprint(i)))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		p.Emit(text("alone"))
		time.Sleep(time.Second)
		want := []arrival{
			{[]string{"0"}, 0},
			{[]string{"1", "2", "3"}, 400 * time.Millisecond},
			{[]string{"alone"}, 1400 * time.Millisecond},
		}
		for _, w := range want {
			if got := <-l.frames; !slices.Equal(got.texts, w.texts) || got.at != w.at {
				t.Errorf("frame %v, want %v", got, w)
			}
		}
	})
}

func TestHoles_HistoryIsOneFrame(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		const n = 2000
		for i := range n {
			m := text(fmt.Sprint(i))
			if i%2 == 1 {
				m.To = pulltest.Shared
			}
			p.Emit(m)
		}
		ws := dial(t, p, zeros)
		defer ws.Close()
		l := listen(t, ws)
		time.Sleep(time.Second)
		got := <-l.frames
		for i := range n {
			if len(got.texts) != n || got.texts[i] != fmt.Sprint(i) {
				t.Fatalf("a frame of %d messages is out of order at %d", len(got.texts), i)
			}
		}
	})
}

func TestHoles_BothArrivesTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		both := text("both")
		both.To = pulltest.Both
		mid := p.Emit(both)
		first, second := next(t, ws), next(t, ws)
		history := decode(t, pollMid(t, p, zeros).body)
		for _, m := range append(append(first, second...), history...) {
			if m.Mid != mid {
				t.Errorf("mid %s, want %s", m.Mid, mid)
			}
		}
		if len(first) != 1 || len(second) != 1 || len(history) != 2 {
			t.Errorf("%d and %d live, %d in the history", len(first), len(second), len(history))
		}
		if s := p.Stats(); s.Published != 1 || s.Stored != 1 || s.Sent != 4 || s.Replayed != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestHoles_CloseWebSockets(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		if n, err := p.CloseWebSockets(4011, "4011: try later"); n != 1 || err != nil {
			t.Errorf("closed %d", n)
		}
		ws.SetReadDeadline(time.Now().Add(time.Minute))
		_, _, err := ws.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 4011 || closed.Text != "4011: try later" {
			t.Errorf("read %v", err)
		}
		until(t, func() bool { return p.Stats().Connections == 0 })
	})
}
