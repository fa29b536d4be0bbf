package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// ignored is told how a poll goes.
type ignored struct{}

func (ignored) Sent()      {}
func (ignored) Pinged()    {}
func (ignored) Ponged()    {}
func (ignored) Heartbeat() {}

// polled makes a poll that is answered with the text "frame".
func polled(t *testing.T, client *http.Client, url string) {
	t.Helper()
	c, err := (&Polling{Client: client}).Open(t.Context(), Address{URL: url}, ignored{})
	if err != nil {
		t.Fatal(err)
	}
	frame, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(frame); string(text) != "frame" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
	c.Close(CloseNormal)
}

// countingServer is a server, not started, that counts its connections.
func countingServer(handler http.HandlerFunc) (server *httptest.Server, connections *atomic.Int64) {
	server, connections = httptest.NewUnstartedServer(handler), new(atomic.Int64)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	return server, connections
}

// startWith starts a server, with TLS or without.
func startWith(server *httptest.Server, secure bool) {
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
}

// TestKeeping_PollsOfManyClients: the polls of all clients of one transport go
// over the same connections, by HTTP/2 where both sides prefer that.
func TestKeeping_PollsOfManyClients(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, http2 := range []bool{false, secure} {
			t.Run(fmt.Sprintf("TLS %t, HTTP/2 %t", secure, http2), func(t *testing.T) {
				var multiplexed atomic.Int64
				server, connections := countingServer(func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor == 2 {
						multiplexed.Add(1)
					}
					_, _ = io.WriteString(w, "frame")
				})
				server.EnableHTTP2 = http2
				startWith(server, secure)
				defer server.Close()
				of := server.Client()
				const polls = 20
				for range polls {
					client := PollingClient(of) // each a subscription's
					defer client.CloseIdleConnections()
					polled(t, client, server.URL)
				}
				if connections.Load() != 1 {
					t.Errorf("%d connections for %d polls", connections.Load(), polls)
				}
				if got := multiplexed.Load(); http2 != (got == polls) {
					t.Errorf("%d of %d polls by HTTP/2", got, polls)
				}
			})
		}
	}
}

// TestKeeping_MeetsTheEnd: a poll that meets the end of a kept connection, which
// servers close as they like, is made over another one.
func TestKeeping_MeetsTheEnd(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"closed": func(c net.Conn) { c.Close() },
		"reset": func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { // one answer, and the end with the next request
						r := bufio.NewReader(c)
						if _, err := http.ReadRequest(r); err == nil {
							_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nframe")
							_, _ = http.ReadRequest(r)
						}
						end(c)
					}()
				}
			}()
			client := PollingClient(&http.Client{Transport: &http.Transport{}})
			defer client.CloseIdleConnections()
			for range 5 {
				polled(t, client, "http://"+l.Addr().String())
			}
		})
	}
}

// TestKeeping_HungPoll: a poll that has hung over a kept connection fails with
// it, and is not made again behind the back of its maker.
func TestKeeping_HungPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		hung := make(chan net.Conn, 2)
		base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() { // one answer, and the next request hangs
				r := bufio.NewReader(theirs)
				for n := asked.Add(1); ; n = asked.Add(1) {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if n == 1 {
						_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nframe")
						continue
					}
					hung <- theirs
				}
			}()
			return ours, nil
		}}
		client := PollingClient(&http.Client{Transport: base})
		defer client.CloseIdleConnections()
		polled(t, client, "http://push.test")
		failed := make(chan error, 1)
		go func() {
			_, err := (&Polling{Client: client}).Open(t.Context(), Address{URL: "http://push.test"}, ignored{})
			failed <- err
		}()
		cut := <-hung
		time.Sleep(10 * time.Second)
		cut.Close()
		synctest.Wait()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("it was answered")
			}
		case again := <-hung:
			again.Close()
			t.Error("it was made again")
			<-failed
		}
	})
}

// TestKeeping_MutedHTTP2: a connection of HTTP/2 over which nothing comes any
// more is given up, and the polls of all with it: one after the other would be
// sent over it, and hang, until TCP gives it up after a quarter of an hour.
func TestKeeping_MutedHTTP2(t *testing.T) {
	outside := httptest.NewTLSServer(nil) // has a certificate
	outside.Close()
	synctest.Test(t, func(t *testing.T) {
		network := pulltest.NewNetwork()
		listener, err := network.Listen("example.com:443")
		if err != nil {
			t.Fatal(err)
		}
		polls := 0
		server := &http.Server{
			TLSConfig: &tls.Config{Certificates: outside.TLS.Certificates},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if polls++; polls != 2 {
					_, _ = io.WriteString(w, r.Proto)
					return
				}
				<-r.Context().Done() // it hangs
			}),
		}
		go func() { _ = server.ServeTLS(listener, "", "") }()
		defer server.Close()
		base := outside.Client().Transport.(*http.Transport).Clone()
		base.ForceAttemptHTTP2 = true
		var muted *mutedConn
		base.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := network.DialContext(ctx, "tcp", addr)
			muted = &mutedConn{Conn: c}
			return muted, err
		}
		client := PollingClient(&http.Client{Transport: base})
		defer client.CloseIdleConnections()
		poll := func() (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c, err := (&Polling{Client: client}).Open(ctx, Address{URL: "https://example.com"}, ignored{})
			if err != nil {
				return "", err
			}
			defer c.Close(CloseNormal)
			frame, err := c.Next()
			if err != nil {
				return "", err
			}
			text, err := io.ReadAll(frame)
			return string(text), err
		}
		if proto, err := poll(); err != nil || proto != "HTTP/2.0" {
			t.Fatal(proto, err)
		}
		time.AfterFunc(10*time.Second, func() { muted.muted.Store(true) })
		begun := time.Now()
		if _, err := poll(); err == nil || time.Since(begun) > time.Minute {
			t.Errorf("a poll ended after %v: %v", time.Since(begun), err)
		}
		if _, err := poll(); err != nil {
			t.Errorf("the poll after it: %v", err)
		}
	})
}

// A mutedConn loses what is written, once it is muted.
type mutedConn struct {
	net.Conn
	muted atomic.Bool
}

func (c *mutedConn) Write(p []byte) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}
