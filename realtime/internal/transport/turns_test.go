package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// FuzzTurns: an answer ends where net/http says that it ends, or is refused.
func FuzzTurns(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcmore",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\nmore",
		"HTTP/1.1 400 Bad\nContent-Length: 2\n\nnomore",
		"HTTP/1.1 204 No Content\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\n\r\nall of the rest",
		"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nxmore",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxmore",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 1\r\n\r\nxmore",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nxmore",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		a := turnAnswer{stage: atHead}
		given, odd := a.follow(stream)
		in := bytes.NewReader(stream)
		buffered := bufio.NewReader(in)
		answer, err := http.ReadResponse(buffered, &http.Request{Method: http.MethodPost})
		if odd != nil || err != nil || answer.StatusCode < 200 {
			return
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return
		}
		_ = answer.Body.Close()
		used := len(stream) - in.Len() - buffered.Buffered()
		switch {
		case a.stage == atRest && answer.Close:
		case answer.Close && used <= given: // net/http keeps no such connection
		case !a.ended() || used != given:
			t.Errorf("%q: the answer has %d bytes, and %d are given; ended is %t", stream, used, given, a.ended())
		}
	})
}

// TestTurns_NothingUnsolicited: over a kept connection nothing reaches the
// process's log that a server sends behind an answer, in one piece with it or
// later, or before a request; and it is no answer to the next request.
func TestTurns_NothingUnsolicited(t *testing.T) {
	told := resttest.CaptureLog(t)
	for name, answer := range map[string]string{
		"empty":   "200 OK\r\nContent-Length: 0\r\n\r\n",
		"length":  "200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"chunked": "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"refused": "400 Bad Request\r\nContent-Length: 3\r\n\r\nbad",
		"early":   "200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
	} {
		for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, after %v", name, wait), func(t *testing.T) {
				var connections atomic.Int64
				left := make(chan struct{}, 3) // by the client
				address := serveRaw(t, func(conn net.Conn, r *http.Request) {
					connections.Add(1)
					defer func() {
						_, _ = io.Copy(io.Discard, conn)
						left <- struct{}{}
					}()
					unasked := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Asked: " + r.URL.String() + "\r\n\r\nwrong"
					if wait == 0 {
						_, _ = io.WriteString(conn, "HTTP/1.1 "+answer+unasked)
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 "+answer)
					time.Sleep(wait)
					_, _ = io.WriteString(conn, unasked)
				})
				client := KeepingClient(new(http.Client))
				client.Transport.(keepingTransport).kept.IdleConnTimeout = 0 // it is not time that ends them
				defer client.CloseIdleConnections()
				posting := &Posting{Client: client, Wait: 5 * time.Second}
				at := Address{URL: "http://" + address + "/rest/?CHANNEL_ID=s3cr3t"}
				for range 3 {
					body, err := posting.Post(t.Context(), at, []byte("x"), 100)
					var refused *StatusError
					if string(body) == "wrong" || err != nil && !errors.As(err, &refused) {
						t.Errorf("got %q, %v", body, err)
					}
					select {
					case <-left:
					case <-time.After(time.Minute):
						t.Fatal("the connection is kept")
					}
				}
				if connections.Load() != 3 {
					t.Errorf("%d connections for 3 answers with something behind", connections.Load())
				}
			})
		}
	}
	if text := told.String(); text != "" {
		t.Errorf("the process's log has been told %d lines, a channel id among them: %t", strings.Count(text, "\n"), strings.Contains(text, "s3cr3t"))
	}
}

// serveRaw answers the first request of each connection by hand.
func serveRaw(t *testing.T, answer func(net.Conn, *http.Request)) (address string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		answer(conn, r)
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestTurns_OddAnswers: a header that cannot be followed for sure is an error.
func TestTurns_OddAnswers(t *testing.T) {
	for name, head := range map[string]string{
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		"length and chunks":   "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another coding":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a line that goes on": "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\nContent-Length: 0\r\n\r\n",
		"no HTTP":             "hello\r\n\r\n",
		"a long header":       "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 70_000) + "\r\n\r\n",
		"another protocol":    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"a kept old one":      "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
	} {
		a := turnAnswer{stage: atHead}
		if _, err := a.follow([]byte(head)); !errors.Is(err, errOddHead) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestTurns_Kept: requests that follow each other share a connection, those
// that come seconds later do not; over TLS as without.
func TestTurns_Kept(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %t", secure), func(t *testing.T) {
			server, connections := countingServer(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			})
			startWith(server, secure)
			defer server.Close()
			client := KeepingClient(server.Client())
			defer client.CloseIdleConnections()
			posting := &Posting{Client: client, Wait: 5 * time.Second}
			for i := range 20 {
				if _, err := posting.Post(t.Context(), Address{URL: server.URL}, bytes.Repeat([]byte("x"), i*10_000), 100); err != nil {
					t.Fatal(err)
				}
			}
			if connections.Load() != 1 {
				t.Errorf("%d connections for 20 requests", connections.Load())
			}
		})
	}
}

// endingConn tells when its client is done with it.
type endingConn struct {
	net.Conn
	end func()
}

func (c endingConn) Close() error {
	c.end()
	return c.Conn.Close()
}

// TestTurns_ServerCloses: a connection that the server has closed while it was
// idle costs nothing: the request goes over another one, once the client has
// seen the end.
func TestTurns_ServerCloses(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.Start()
	defer server.Close()
	ended := make(chan struct{}, 100)
	client := KeepingClient(&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return endingConn{c, sync.OnceFunc(func() { ended <- struct{}{} })}, err
	}}})
	defer client.CloseIdleConnections()
	posting := &Posting{Client: client, Wait: time.Minute}
	for range 10 {
		if _, err := posting.Post(context.Background(), Address{URL: server.URL}, []byte("x"), 100); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
}

// TestTurns_EndBetween: a connection that ends between two answers does so by
// an error of its own: after io.EOF net/http gives up a request that it has
// just begun to make over it.
func TestTurns_EndBetween(t *testing.T) {
	for name, answer := range map[string]string{
		"refused": "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
		"closed":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"more":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				defer theirs.Close()
				buf := make([]byte, 1024)
				_, _ = theirs.Read(buf)
				_, _ = io.WriteString(theirs, answer)
			}()
			c := &turnConn{Conn: ours}
			if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(c)
			if err != errTurnOver || len(text) == 0 {
				t.Errorf("%q, %v: want errTurnOver", text, err)
			}
			if n, err := io.WriteString(c, "POST"); n != 0 || err != errTurnOver {
				t.Errorf("%d bytes were written, %v", n, err)
			}
		})
	}
}
