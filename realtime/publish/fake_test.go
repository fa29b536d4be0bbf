package publish

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// A stub is a push server of version 5 that answers calls and tells nothing.
type stub struct {
	t *testing.T

	mu     sync.Mutex
	online bool // user 2
	deaf   bool // it answers no pings any more
	got    []string
	conns  []*websocket.Conn
}

// take takes websockets, in the place of the portal's push server.
func (f *stub) take(w http.ResponseWriter, r *http.Request) bool {
	if kindOf(r) != "websocket" {
		return false
	}
	conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		f.t.Error(err)
		return true
	}
	defer conn.Close()
	pong := conn.PingHandler()
	conn.SetPingHandler(func(payload string) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.deaf {
			return nil
		}
		return pong(payload)
	})
	f.set(func() { f.conns = append(f.conns, conn) })
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return true
		}
		if answer := f.answer(string(text)); answer != "" {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(answer))
		}
	}
}

func (f *stub) answer(text string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var call struct {
		ID     int
		Method string
	}
	if json.Unmarshal([]byte(text), &call) != nil {
		f.got = append(f.got, text)
		return ""
	}
	f.got = append(f.got, call.Method)
	result := "true"
	if call.Method == "getUsersLastSeen" {
		result = map[bool]string{true: `{"2":0}`, false: `{"2":"60"}`}[f.online]
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":%s}`, call.ID, result)
}

// set changes something.
func (f *stub) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// TestWatch_ServerTellsNothing: a change that the server never tells is found
// by asking, after a ping of the server at once.
func TestWatch_ServerTellsNothing(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		f := &stub{t: t}
		s.instead(f.take)
		p := s.publisher(1)
		defer p.Close()
		c := watching(t.Context(), p, 2)
		soon()
		f.set(func() { f.online = true })
		time.Sleep(watchEvery)
		if got := c.got(); got != "2 false, 2 true" {
			t.Errorf("got %s", got)
		}
		f.set(func() {
			f.online = false
			_ = f.conns[0].WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
		})
		soon()
		if got := c.got(); got != "2 false, 2 true, 2 false" {
			t.Errorf("after a ping: got %s", got)
		}
		if first := f.got[:2]; !slices.Equal(first, []string{"subscribeStatusChange", "getUsersLastSeen"}) {
			t.Errorf("it begins with %v", first)
		}
	}, pulltest.WithPingInterval(0))
}

// TestSession_Messages: messages that come over an own connection are confirmed
// and not believed: a client cannot tell of presence.
func TestSession_Messages(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		f := &stub{t: t}
		s.instead(f.take)
		p := s.publisher(1)
		defer p.Close()
		c := watching(t.Context(), p, 2)
		soon()
		send := func(mid string, sender int, body string) {
			f.set(func() {
				text := fmt.Sprintf(`{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"%s","sender":{"type":%d},"body":%s}}`, mid, sender, body)
				_ = f.conns[0].WriteMessage(websocket.TextMessage, []byte(text))
			})
			soon()
		}
		status := func(user, online string) string {
			return `{"module_id":"online","command":"userStatusChange","params":{"user_id":` + user + `,"online":` + online + `}}`
		}
		send("17954211000000000000000001", 2, status("7", "true"))
		send("17954211000000000000000002", 1, status("2", "true"))
		send("17954211000000000000000003", 2, `{"module_id":"im","command":"message","params":[]}`)
		send("17954211000000000000000004", 2, `{"module_id":"online","command":"userStatusChange","params":"x"}`)
		if got := c.got(); got != "2 false" {
			t.Errorf("got %s", got)
		}
		send("17954211000000000000000005", 2, status(`"2"`, `"Y"`))
		send("17954211000000000000000006", 2, status("2", "true"))
		if got := c.got(); got != "2 false, 2 true" {
			t.Errorf("got %s", got)
		}
		for i := range 6 {
			if mack := fmt.Sprintf("mack:1795421100000000000000000%d", i+1); !slices.Contains(f.got, mack) {
				t.Errorf("message %d is not confirmed: %v", i+1, f.got)
			}
		}
	})
}

// TestSession_Deaf: a connection over which nothing comes is given up.
func TestSession_Deaf(t *testing.T) {
	t.Parallel()
	onStage(t, 5, func(t *testing.T, s *stage) {
		f := &stub{t: t}
		s.instead(f.take)
		p := s.publisher(1)
		c := watching(t.Context(), p, 2)
		time.Sleep(4 * deafAfter)
		if n := s.asked("websocket"); n != 1 {
			t.Errorf("%d websockets", n)
		}
		f.set(func() { f.deaf = true })
		time.Sleep(2 * deafAfter)
		if n := s.asked("websocket"); n != 2 {
			t.Errorf("%d websockets", n)
		}
		f.set(func() { f.deaf, f.online = false, true })
		time.Sleep(watchEvery)
		if got := c.got(); got != "2 false, 2 true" {
			t.Errorf("got %s", got)
		}
		p.Close()
		<-c.done
	})
}

// TestAccount_Ends: the config is asked for anew when the user's own channel
// has come to its end, and not before.
func TestAccount_Ends(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		for range 24 { // four hours
			if err := p.Publish(t.Context(), to("one", 1)); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := s.asked("application.config.get"); n < 8 || n > 9 {
			t.Errorf("%d configs in four hours, for channels that live half an hour", n)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), pulltest.SecretMark) {
			t.Error("a publisher tells secrets")
		}
	}, pulltest.WithChannelLife(30*time.Minute), pulltest.WithAccessTokenLife(100*time.Hour))
}

// TestAccount_Clocks: the ends of channels are told by the portal's clock, which
// may be any hours away from ours.
func TestAccount_Clocks(t *testing.T) {
	t.Parallel()
	for _, shift := range []time.Duration{-13 * time.Hour, 13 * time.Hour} {
		onStage(t, 4, func(t *testing.T, s *stage) {
			p := s.publisher(1)
			defer p.Close()
			for range 24 { // two hours, of channels that live half an hour
				if err := p.Publish(t.Context(), to("one", 2)); err != nil {
					t.Errorf("%v away: %v", shift, err)
				}
				time.Sleep(5 * time.Minute)
			}
			if configs, lists := s.asked("application.config.get"), s.asked("channel.public.list"); configs > 5 || lists > 5 || configs < 4 || lists < 4 {
				t.Errorf("%v away: %d configs and %d lists", shift, configs, lists)
			}
		}, pulltest.WithChannelLife(30*time.Minute), pulltest.WithAccessTokenLife(100*time.Hour), pulltest.WithClockShift(shift))
	}
}
