package redact

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// post posts a text and returns the answer's.
func post(t *testing.T, c *http.Client, address, text string) (string, *http.Response) {
	t.Helper()
	answer, err := c.Post(address, "text/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), answer
}

// TestTransport_KeepsHTTP2: only HTTP/1 connections are closed with each answer.
func TestTransport_KeepsHTTP2(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var opened atomic.Int32
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
		srv.EnableHTTP2 = http2
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		c := &http.Client{Transport: NewTransport(srv.Client().Transport)}
		const calls = 10
		for range calls {
			if got, _ := post(t, c, srv.URL, "a text"); got != "a text" {
				t.Fatalf("got %q", got)
			}
		}
		want := int32(calls)
		if http2 {
			want = 2 // the first tells that it is HTTP/2
		}
		if got := opened.Load(); got != want {
			t.Errorf("HTTP/2 %v: %d connections for %d calls, want %d", http2, got, calls, want)
		}
	}
}

// TestTransport_FallsBackFromHTTP2: a server that spoke HTTP/2 and does not any
// more gets the call once, over a connection that is closed with the answer.
func TestTransport_FallsBackFromHTTP2(t *testing.T) {
	told := resttest.CaptureLog(t)
	var calls atomic.Int32
	ended := make(chan struct{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		calls.Add(1)
		if r.ProtoMajor == 2 {
			w.Write(text)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"+string(text)+"s3cr3t behind the answer")
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.Copy(io.Discard, conn)
		conn.Close()
		close(ended)
	}))
	srv.Listener.Close()
	srv.Listener, srv.EnableHTTP2 = listener, true
	var downgraded atomic.Bool
	srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !downgraded.Load() {
			return nil, nil
		}
		old := srv.TLS.Clone()
		old.NextProtos, old.GetConfigForClient = []string{"http/1.1"}, nil
		return old, nil
	}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	base := srv.Client().Transport.(*http.Transport)
	c := &http.Client{Transport: NewTransport(base)}
	for range 2 {
		post(t, c, srv.URL, "a text")
	}
	base.CloseIdleConnections()
	downgraded.Store(true)
	got, answer := post(t, c, srv.URL, "a text")
	<-ended
	if got != "a text" || answer.ProtoMajor != 1 || calls.Load() != 3 {
		t.Errorf("got %q over %s, %d calls", got, answer.Proto, calls.Load())
	}
	if len(told.String()) > 0 {
		t.Errorf("the process's log has been told %d bytes", len(told.String()))
	}
}

// TestTransport_DialThatIsGivenUp: a connection that comes about when nobody waits for it
// any more is not kept, so what the server sends over it is told to nobody.
func TestTransport_DialThatIsGivenUp(t *testing.T) {
	said := resttest.CaptureLog(t)
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	release, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		<-release // the handshake waits until the caller has given up
		secure := tls.Server(conn, &tls.Config{Certificates: certified.TLS.Certificates})
		if secure.Handshake() == nil {
			_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\n\r\ns3cr3t")
			_, _ = secure.Read(make([]byte, 1)) // until it is closed
		}
		secure.Close()
	}()
	base := certified.Client().Transport.(*http.Transport).Clone()
	base.TLSClientConfig.ServerName = "example.com"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewTransport(base).RoundTrip(req); err == nil {
		t.Fatal("there was an answer")
	}
	close(release)
	<-sent
	if len(said.String()) > 0 {
		t.Error("net/http has told what came")
	}
}
