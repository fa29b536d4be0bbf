package pulltest_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func TestLiveOverWebSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		first := p.Emit(text("one"))
		got := next(t, ws)
		want := []received{{Mid: first, Body: got[0].Body, Expiry: 86400, Sender: 2}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got := got[0].text(t); got != "one" {
			t.Errorf("text %q", got)
		}
		shared := text("shared")
		shared.To = pulltest.Shared
		p.Emit(shared)
		if got := texts(t, next(t, ws)); !slices.Equal(got, []string{"shared"}) {
			t.Errorf("shared: %q", got)
		}
	}, pulltest.WithGather(0))
}

func TestPollHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		first := p.Emit(text("one"))
		p.Emit(text("two"))
		r := pollMid(t, p, zeros)
		if got := texts(t, decode(t, r.body)); r.status != 200 || !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("from zeros: %d %q", r.status, got)
		}
		r = pollMid(t, p, first)
		if got := texts(t, decode(t, r.body)); !slices.Equal(got, []string{"two"}) {
			t.Errorf("after the first: %q", got)
		}
	})
}

func TestCut(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		a, b := dial(t, p, ""), dial(t, p, "")
		defer a.Close()
		defer b.Close()
		hanging := pollLater(t, p, "")
		until(t, func() bool { return p.Stats().Connections == 3 })
		if n, err := p.Cut(); n != 3 || err != nil {
			t.Errorf("cut %d connections", n)
		}
		for _, ws := range []*websocket.Conn{a, b} {
			ws.SetReadDeadline(time.Now().Add(time.Minute))
			_, _, err := ws.ReadMessage()
			var closed *websocket.CloseError
			if err == nil || errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
				t.Errorf("a cut websocket reads %v", err)
			}
		}
		if r, ok := <-hanging; ok {
			t.Errorf("a cut poll answered %d", r.status)
		}
		if s := p.Stats(); s.Connections != 0 || s.WebSockets != 2 || s.Polls != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestBurst(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ws := dial(t, p, "")
		defer ws.Close()
		n := 3000
		if testing.Short() {
			n = 1000
		}
		for i := range n {
			p.Emit(text(fmt.Sprint(i)))
		}
		for i := range n {
			if got := texts(t, next(t, ws)); !slices.Equal(got, []string{fmt.Sprint(i)}) {
				t.Fatalf("message %d is %q", i, got)
			}
		}
	}, pulltest.WithGather(0))
}

func TestCutByKind(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		ws := dial(t, p, "")
		defer ws.Close()
		hanging := pollLater(t, p, "")
		synctest.Wait()
		if n, err := p.CutPolls(); n != 1 || err != nil {
			t.Errorf("cut %d polls", n)
		}
		if _, ok := <-hanging; ok {
			t.Error("the cut poll was answered")
		}
		p.Emit(text("alive"))
		expect(t, "the websocket heard", texts(t, next(t, ws)), "alive")
		if n, err := p.CutWebSockets(); n != 1 || err != nil {
			t.Errorf("cut %d websockets", n)
		}
		if _, _, err := ws.ReadMessage(); err == nil {
			t.Error("the cut websocket reads on")
		}
	})
}

// A poll whose client does not read the history is cut like a hanging one.
func TestCutOfStreamingPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Emit(pulltest.Message{Body: strings.Repeat("x", 2<<20)})
		resp, err := p.HTTPClient().Get(subURL(t, p, zeros))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		synctest.Wait()
		if n, err := p.CutPolls(); n != 1 || err != nil {
			t.Errorf("cut %d polls", n)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= 2<<20 {
			t.Errorf("read %d bytes of a cut answer, %v", n, err)
		}
	})
}
