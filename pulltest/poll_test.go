package pulltest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func TestPoll_Hangs(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		hanging := pollLater(t, p, "")
		time.Sleep(39 * time.Second)
		p.Emit(text("one"))
		p.Emit(text("two"))
		r := <-hanging
		expect(t, "the first live message alone answers", texts(t, decode(t, r.body)), "one")
		if s := p.Stats(); s.Sent != 1 || s.Polls != 1 || s.PollsWithMid != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestPoll_Timeout(t *testing.T) {
	old := "17954000000000000000000001"
	future := "99999999999999999999999999"
	tests := []struct {
		name   string
		expiry time.Duration // of a message kept before, 0: none
		mid    string
		last   func(kept string) string
	}{
		{"nothing kept", 0, "", func(string) string { return "" }},
		{"something kept", time.Hour, "", func(kept string) string { return kept }},
		{"expired meanwhile", 10 * time.Second, "", func(string) string { return "" }},
		{"with mid", 0, old, func(string) string { return old }},
		{"with a mid of the future", time.Hour, future, func(string) string { return future }},
		{"with a mid of 25 digits", time.Hour, old[1:], func(kept string) string { return kept }},
		{"with a mid of letters", time.Hour, strings.Repeat("a", 26), func(kept string) string { return kept }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
				var kept string
				if tt.expiry > 0 {
					m := text("kept")
					m.Expiry = tt.expiry
					kept = p.Emit(m)
				}
				start := time.Now()
				r := pollMid(t, p, tt.mid)
				if took := time.Since(start); took != 40*time.Second {
					t.Errorf("it hung for %v", took)
				}
				if r.status != http.StatusNotModified || r.header.Get("Expires") != "Thu, 01 Jan 1973 11:11:01 GMT" {
					t.Errorf("status %d, %v", r.status, r.header)
				}
				if got := r.header.Get("Last-Message-Id"); got != tt.last(kept) || r.header.Get("Access-Control-Expose-Headers") != "Last-Message-Id" {
					t.Errorf("Last-Message-Id %q, want %q, exposed to browsers: %v", got, tt.last(kept), r.header)
				}
			})
		})
	}
}

// A poll that finds history is never registered: it takes no place among the
// connections of the channel.
func TestPoll_WithHistoryIsNotRegistered(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Emit(text("kept"))
		sockets := make([]*websocket.Conn, 100)
		for i := range sockets {
			sockets[i] = dial(t, p, "")
			defer sockets[i].Close()
		}
		expect(t, "the poll answered", kept(t, p, zeros), "kept")
		if s := p.Stats(); s.Evicted != 0 || s.Connections != 100 {
			t.Errorf("stats %+v", s)
		}
		pollLater(t, p, "")
		synctest.Wait()
		_, _, err := sockets[0].ReadMessage()
		if !websocket.IsCloseError(err, 4029) {
			t.Errorf("the oldest websocket reads %v", err)
		}
	})
}

func TestPoll_OldestPollIsThrownOut(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		oldest := pollLater(t, p, "")
		synctest.Wait()
		for range 100 {
			defer dial(t, p, "").Close()
		}
		r := <-oldest
		if r.status != http.StatusTooManyRequests || string(r.body) != "4029: Too many connections" || r.header.Get("Access-Control-Expose-Headers") != "Last-Message-Id" {
			t.Errorf("%d %q %v", r.status, r.body, r.header)
		}
	})
}

func TestPoll_Expiry(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		emit := func(s string, expiry time.Duration) {
			m := text(s)
			m.Expiry = expiry
			p.Emit(m)
		}
		emit("a day", 0)
		emit("not kept", -1)
		emit("a minute", time.Minute)
		emit("an hour", time.Hour)
		expect(t, "at once", kept(t, p, zeros), "a day", "a minute", "an hour")
		time.Sleep(time.Minute)
		expect(t, "a minute later", kept(t, p, zeros), "a day", "an hour")
		time.Sleep(11 * time.Hour)
		emit("late", 0)
		expect(t, "11 hours later", kept(t, p, zeros), "a day", "late")
	})
}

// The index of a channel lives 24 h from its first message; then all is gone,
// whatever expiry the messages had.
func TestPoll_IndexExpiresWhole(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		private := unhex(t, md5hex("ann"))
		target := p.PushURL() + "/sub/?binaryMode=true&mid=" + zeros + "&CHANNEL_ID=" + url.QueryEscape(signedChannel("ann"))
		emit := func(s string) {
			body := fmt.Sprintf(`{"params":{"text":%q}}`, s)
			trusted(t, p, publishRequest(incomingMessage(body, 86400, privateReceiver(private))))
			stored()
		}
		emit("first")
		time.Sleep(24*time.Hour - time.Second)
		emit("a second before")
		expect(t, "before the end", texts(t, decode(t, get(t, p, target).body)), "first", "a second before")
		time.Sleep(time.Second)
		if r := get(t, p, target); r.status != http.StatusNotModified {
			t.Errorf("after the end: %d %q", r.status, r.body)
		}
		emit("a new index")
		expect(t, "then", texts(t, decode(t, get(t, p, target).body)), "a new index")
	}, pulltest.WithKey(labKey))
}

func TestPoll_MidsCount(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		time.Sleep(90 * time.Second)
		epoch := time.Now().Unix()
		for i := range 3 {
			m := text("x")
			m.Expiry = time.Duration(-i)
			if got, want := p.Emit(m), fmt.Sprintf("%010d%016d", epoch, i+1); got != want {
				t.Errorf("mid %s, want %s", got, want)
			}
			time.Sleep(time.Second)
		}
	})
}
