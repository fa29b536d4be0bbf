package pulltest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// door is a way to a portal's handler that is not its own listener, or that
// hides it.
type door struct {
	name   string
	hidden bool // long polls cannot be cut
	make   func(next http.Handler) http.Handler
	own    bool // a server of the test's own
}

// wrappedConn is a connection of which nothing but net.Conn is known.
type wrappedConn struct{ net.Conn }

// wrappedWriter hides what it stands for, but that it can be hijacked.
type wrappedWriter struct {
	under http.ResponseWriter
}

func (w wrappedWriter) Header() http.Header         { return w.under.Header() }
func (w wrappedWriter) Write(b []byte) (int, error) { return w.under.Write(b) }
func (w wrappedWriter) WriteHeader(status int)      { w.under.WriteHeader(status) }
func (w wrappedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.under.(http.Hijacker).Hijack()
	return wrappedConn{conn}, buffered, err
}

func withoutContext(r *http.Request) *http.Request { return r.WithContext(context.Background()) }

var doors = []door{
	{name: "none", make: func(next http.Handler) http.Handler { return next }},
	{name: "own server", own: true, make: func(next http.Handler) http.Handler { return next }},
	{name: "wrapped connection", make: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrappedWriter{under: w}, r) })
	}},
	{name: "wrapped connection of an own server", own: true, make: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(wrappedWriter{under: w}, r) })
	}},
	{name: "no context", make: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, withoutContext(r)) })
	}},
	{name: "recorder", hidden: true, make: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, withoutContext(r))
			w.WriteHeader(rec.Code)
			rec.Body.WriteTo(w)
		})
	}},
}

// through runs f with a portal behind each door, and the address and client to
// reach it by, with an observer and without.
func through(t *testing.T, f func(t *testing.T, p *pulltest.Portal, d door, address string, client *http.Client), with ...pulltest.Option) {
	for _, d := range doors {
		for _, observed := range []bool{false, true} {
			name := d.name
			opts := slices.Clone(with)
			if observed {
				name += ", observed"
				opts = append(opts, pulltest.WithObserver(func(pulltest.Event) {}))
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var whole http.Handler
				p := pulltest.NewPortal(append(opts, pulltest.WithHandler(func(next http.Handler) http.Handler {
					whole = d.make(next)
					return whole
				}))...)
				defer p.Close()
				address, client := p.URL(), p.HTTPClient()
				if d.own {
					server := httptest.NewTLSServer(whole)
					defer server.Close()
					address, client = server.URL, server.Client()
				}
				f(t, p, d, address, client)
			})
		}
	}
}

// ending is how a connection has ended: with an answer, or an error.
func ending(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the connection goes on")
		return nil
	}
}

// pollAt begins a long poll and tells of its end: nil is an answer.
func pollAt(client *http.Client, target string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		resp, err := client.Get(target)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		ended <- err
	}()
	return ended
}

func TestCut_Polls(t *testing.T) {
	t.Parallel()
	through(t, func(t *testing.T, p *pulltest.Portal, d door, address string, client *http.Client) {
		ended := pollAt(client, strings.Replace(subURL(t, p, ""), p.URL(), address, 1))
		until(t, func() bool { return p.Stats().Connections == 1 })
		n, err := p.Cut()
		if d.hidden {
			if n != 0 || err == nil || !strings.Contains(err.Error(), "1 long poll") {
				t.Errorf("cut %d: %v", n, err)
			}
			p.ReplaceChannel(pulltest.Private) // else the command would answer the poll
			p.ReplaceChannel(pulltest.Shared)
			if err := p.RestartServer(0); err == nil {
				t.Error("RestartServer tells of no error")
			}
			p.EmitOld(text("still there"))
			if err := ending(t, ended); err != nil {
				t.Errorf("a poll that was not cut ends with %v", err)
			}
			return
		}
		if n != 1 || err != nil {
			t.Errorf("cut %d: %v", n, err)
		}
		if ending(t, ended) == nil {
			t.Error("a poll that was cut is answered")
		}
		until(t, func() bool { return p.Stats().Connections == 0 })
	})
}

func TestCut_WebSockets(t *testing.T) {
	t.Parallel()
	through(t, func(t *testing.T, p *pulltest.Portal, _ door, address string, client *http.Client) {
		ws := dialAt(t, client, strings.Replace(subURL(t, p, ""), p.URL(), address, 1))
		defer ws.Close()
		if n, err := p.CutWebSockets(); n != 1 || err != nil {
			t.Errorf("cut %d: %v", n, err)
		}
		ended := make(chan error, 1)
		go func() { _, _, err := ws.ReadMessage(); ended <- err }()
		if err := ending(t, ended); err == nil || websocket.IsCloseError(err, 1000, 1001) {
			t.Errorf("ended with %v", err)
		}
		until(t, func() bool { return p.Stats().Connections == 0 })
	})
}

// TestCut_Requests: what a fault or a restart resets is reset behind every
// door, where nothing would be an answer.
func TestCut_Requests(t *testing.T) {
	t.Parallel()
	through(t, func(t *testing.T, p *pulltest.Portal, d door, address string, client *http.Client) {
		call := address + "/rest/pull.application.config.get?auth=" + p.AccessToken()
		p.Misbehave(pulltest.REST, pulltest.LoseAnswer)
		if ending(t, pollAt(client, call)) == nil {
			t.Error("an answer that is lost arrives")
		}
		p.Misbehave(pulltest.REST, pulltest.Stall)
		stalled := pollAt(client, call)
		time.Sleep(10 * time.Millisecond)
		p.Behave(pulltest.REST)
		if err := ending(t, stalled); err == nil {
			t.Log("the fault ended first") // then it was answered as ever
		}
		p.RestartServer(time.Minute)
		until(t, func() bool {
			return ending(t, pollAt(client, strings.Replace(p.PushURL(), p.URL(), address, 1)+"/server-stat/")) != nil
		})
	})
}

// TestCut_WebSocketsByThePortal: those that the push server or a middle box ends
// end behind every door.
func TestCut_WebSocketsByThePortal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opts []pulltest.Option
		end  func(p *pulltest.Portal)
	}{
		{"ping timeout", nil, func(p *pulltest.Portal) { p.Ping(); p.Ping() }},
		{"idle", []pulltest.Option{pulltest.WithIdleTimeout(50 * time.Millisecond)}, func(*pulltest.Portal) {}},
		{"portal closed", nil, (*pulltest.Portal).Close},
		{"reset", nil, func(p *pulltest.Portal) { p.Reset() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			through(t, func(t *testing.T, p *pulltest.Portal, _ door, address string, client *http.Client) {
				ws := dialAt(t, client, strings.Replace(subURL(t, p, ""), p.URL(), address, 1))
				defer ws.Close()
				ws.SetPingHandler(func(string) error { return nil })
				c.end(p)
				ended := make(chan error, 1)
				go func() { _, _, err := ws.ReadMessage(); ended <- err }()
				ending(t, ended)
				until(t, func() bool { return p.Stats().Connections == 0 })
			}, c.opts...)
		})
	}
}

func dialAt(t *testing.T, client *http.Client, target string) *websocket.Conn {
	t.Helper()
	tr := client.Transport.(*http.Transport)
	d := websocket.Dialer{NetDialContext: tr.DialContext, TLSClientConfig: tr.TLSClientConfig.Clone()}
	ws, _, err := d.Dial("wss"+strings.TrimPrefix(target, "https"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func TestCloseWebSockets_Reason(t *testing.T) {
	p := pulltest.NewPortal()
	defer p.Close()
	ws := dial(t, p, "")
	defer ws.Close()
	if n, err := p.CloseWebSockets(4000, strings.Repeat("x", 124)); n != 0 || err == nil {
		t.Errorf("a reason of 124 bytes: %d, %v", n, err)
	}
	if n, err := p.CloseWebSockets(4000, strings.Repeat("x", 123)); n != 1 || err != nil {
		t.Errorf("a reason of 123 bytes: %d, %v", n, err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, 4000) {
		t.Error(err)
	}
}

// hookedWriter has a connection that is taken over call f before anything is
// written to it.
type hookedWriter struct {
	wrappedWriter
	f func()
}

func (w hookedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.wrappedWriter.Hijack()
	return hookedConn{conn, w.f}, buffered, err
}

type hookedConn struct {
	net.Conn
	f func()
}

func (c hookedConn) Write(b []byte) (int, error) {
	c.f()
	return c.Conn.Write(b)
}

// TestPing_WhileUpgrading: a websocket that owes too many pongs before its 101
// ends, also behind a handler that hides its connection.
func TestPing_WhileUpgrading(t *testing.T) {
	var p *pulltest.Portal
	var twice sync.Once
	p = pulltest.NewPortal(pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(hookedWriter{wrappedWriter{w}, func() { twice.Do(func() { p.Ping(); p.Ping() }) }}, withoutContext(r))
		})
	}))
	defer p.Close()
	ws := dialAt(t, p.HTTPClient(), subURL(t, p, ""))
	defer ws.Close()
	ended := make(chan error, 1)
	go func() { _, _, err := ws.ReadMessage(); ended <- err }()
	if err := ending(t, ended); err == nil {
		t.Error("a message arrives")
	}
	if n := p.Stats().PingTimeouts; n != 1 {
		t.Errorf("%d ping timeouts", n)
	}
}
