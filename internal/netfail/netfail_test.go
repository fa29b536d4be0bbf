package netfail

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// dead is a connection that can be written to until it is told.
type dead struct {
	net.Conn
	now *atomic.Bool
}

func (c dead) Write(b []byte) (int, error) {
	if c.now.Load() {
		return 0, errors.New("broken pipe")
	}
	return c.Conn.Write(b)
}

// TestTrace_AnotherConnection: what could not be written over a connection that
// was kept, and not over another one, was not sent.
func TestTrace_AnotherConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer server.Close()
	var gone atomic.Bool
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if gone.Load() {
			return nil, errors.New("connection refused")
		}
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return dead{c, &gone}, err
	}}}
	defer client.CloseIdleConnections()
	post := func() (SentState, error) {
		var trace Trace
		req, err := http.NewRequestWithContext(trace.Watch(t.Context()), http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return trace.Sent(), err
	}
	if sent, err := post(); err != nil || sent != Sent {
		t.Fatalf("%v, %v", sent, err)
	}
	gone.Store(true)
	if sent, err := post(); err == nil || sent != NotSent {
		t.Errorf("%v, %v: want NotSent", sent, err)
	}
}
