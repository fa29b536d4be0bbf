package pulltest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// connect returns both ends of a new connection.
func connect(t *testing.T, n *pulltest.Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen("host:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = n.DialContext(t.Context(), "tcp", "host:1"); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestNetwork_Addresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pulltest.NewNetwork()
		if _, err := n.DialContext(t.Context(), "tcp", "host:1"); !errors.Is(err, pulltest.ErrRefused) {
			t.Errorf("dialing nobody: %v", err)
		}
		l, err := n.Listen("host:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("host:1"); !errors.Is(err, pulltest.ErrAddressTaken) {
			t.Errorf("listening twice: %v", err)
		}
		waiting, err := n.DialContext(t.Context(), "tcp", "host:1")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting from a closed listener: %v", err)
		}
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, pulltest.ErrReset) {
			t.Errorf("a connection nobody accepted reads %v", err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.DialContext(cancelled, "tcp", "host:1"); !errors.Is(err, context.Canceled) {
			t.Errorf("dialing with a cancelled context: %v", err)
		}
	})
}

func TestNetwork_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		server.Write([]byte("last words"))
		server.Close()
		if got, err := io.ReadAll(client); string(got) != "last words" || err != nil {
			t.Errorf("the peer reads %q, %v", got, err)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading what was closed: %v", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing what was closed: %v", err)
		}
		if err := server.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing twice: %v", err)
		}
		client.Write([]byte("x"))
		if _, err := client.Write([]byte("x")); !errors.Is(err, pulltest.ErrBrokenPipe) {
			t.Errorf("writing to a closed peer: %v", err)
		}
	})
}

func TestNetwork_HalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		client.(interface{ CloseWrite() error }).CloseWrite()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer reads %v", err)
		}
		server.Write([]byte("answer"))
		server.Close()
		if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
			t.Errorf("the half-closed end reads %q, %v", got, err)
		}
	})
}

func TestNetwork_CloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked read ends with %v", err)
			}
		})
		wg.Go(func() {
			if _, err := client.Write(make([]byte, 1<<20)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a blocked write ends with %v", err)
			}
		})
		synctest.Wait()
		client.Close()
		wg.Wait()
		server.Close()
	})
}

// TestNetwork_Abort: who sees that a connection was reset has no time to write
// one thing more.
func TestNetwork_Abort(t *testing.T) {
	n := pulltest.NewNetwork()
	for range 3000 {
		client, server := connect(t, n)
		wrote := make(chan struct{})
		go func() {
			server.Read(make([]byte, 1))
			server.Write([]byte("late"))
			close(wrote)
		}()
		received := make(chan int)
		go func() {
			n, _ := client.Read(make([]byte, 4))
			received <- n
		}()
		pulltest.Abort(server)
		if n := <-received; n != 0 {
			t.Fatal("an answer arrives over a connection that was reset")
		}
		<-wrote
		client.Close()
	}
}

func TestNetwork_Deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		defer client.Close()
		defer server.Close()
		start := time.Now()
		client.SetDeadline(start.Add(5 * time.Second))
		_, err := client.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		client.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := client.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 1<<20 {
			t.Errorf("wrote %d, %v", n, err)
		}
		client.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			client.SetReadDeadline(time.Unix(1, 0))
		}()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline set during a read: %v", err)
		}
		client.SetReadDeadline(time.Time{})
		server.Write([]byte("x"))
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Errorf("after the deadline was taken away: %v", err)
		}
	})
}

func TestNetwork_Buffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		client.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := client.Write(make([]byte, 256<<10)); n != 256<<10 || err != nil {
			t.Fatalf("256 KiB do not fit: %d, %v", n, err)
		}
		if n, err := client.Write([]byte("x")); n != 0 || err == nil {
			t.Errorf("one byte more fits: %v", err)
		}
		client.Close()
		if got, err := io.ReadAll(server); len(got) != 256<<10 || err != nil {
			t.Errorf("read %d, %v", len(got), err)
		}
		server.Close()
	})
}

func TestNetwork_Concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, pulltest.NewNetwork())
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var wg sync.WaitGroup
		for _, c := range []net.Conn{client, server} {
			wg.Go(func() { c.Write(data) })
			wg.Go(func() {
				got := make([]byte, len(data))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("what arrives is not what was sent: %v", err)
				}
			})
		}
		wg.Wait()
		client.Close()
		server.Close()
	})
}

func TestNetwork_Latency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pulltest.NewNetwork()
		n.SetLatency(100 * time.Millisecond)
		start := time.Now()
		client, server := connect(t, n)
		if took := time.Since(start); took != 200*time.Millisecond {
			t.Errorf("connecting took %v", took)
		}
		start = time.Now()
		client.Write([]byte("slow"))
		n.SetLatency(0)
		client.Write([]byte(" then fast"))
		client.Close()
		got, err := io.ReadAll(server)
		if string(got) != "slow then fast" || err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%q after %v, %v", got, time.Since(start), err)
		}
		server.Close()
	})
}

// echo serves HTTP and websockets over TLS on l until the test ends.
func echo(t *testing.T, l net.Listener, config *tls.Config) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			data, _ := io.ReadAll(r.Body)
			w.Write(data)
			return
		}
		u := new(websocket.Upgrader)
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			ws.WriteMessage(kind, data)
		}
	})}
	go server.Serve(tls.NewListener(l, config))
	t.Cleanup(func() { server.Close() })
}

// TestNetwork_CarriesTLS runs HTTP and a websocket over TLS on a Network of its
// own: what a user's own server in a test needs.
func TestNetwork_CarriesTLS(t *testing.T) {
	cert, roots := testCertificate(t, "echo.example")
	run := func(t *testing.T, l net.Listener, dial func(context.Context, string, string) (net.Conn, error)) {
		echo(t, l, &tls.Config{Certificates: []tls.Certificate{cert}})
		config := &tls.Config{RootCAs: roots, ServerName: "echo.example"}
		tr := &http.Transport{DialContext: dial, TLSClientConfig: config}
		defer tr.CloseIdleConnections()
		body := bytes.Repeat([]byte("x"), 1<<20)
		resp, err := (&http.Client{Transport: tr}).Post("https://"+l.Addr().String(), "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !bytes.Equal(got, body) || err != nil {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		d := websocket.Dialer{NetDialContext: dial, TLSClientConfig: config}
		ws, _, err := d.Dial("wss://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		go ws.WriteMessage(websocket.BinaryMessage, body)
		if _, got, err := ws.ReadMessage(); !bytes.Equal(got, body) || err != nil {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := pulltest.NewNetwork()
			l, err := n.Listen("echo.example:443")
			if err != nil {
				t.Fatal(err)
			}
			run(t, l, n.DialContext)
		})
	})
	t.Run("sockets", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		run(t, l, new(net.Dialer).DialContext)
	})
}
