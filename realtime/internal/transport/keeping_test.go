package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// ignored is told how a poll goes.
type ignored struct{}

func (ignored) Sent()      {}
func (ignored) Pinged()    {}
func (ignored) Ponged()    {}
func (ignored) Heartbeat() {}

// TestKeeping_PollsOfManyClients: the polls of all clients of one transport go
// over the same connections, by HTTP/2 where both sides prefer that.
func TestKeeping_PollsOfManyClients(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, http2 := range []bool{false, secure} {
			t.Run(fmt.Sprintf("TLS %t, HTTP/2 %t", secure, http2), func(t *testing.T) {
				var connections, multiplexed atomic.Int64
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor == 2 {
						multiplexed.Add(1)
					}
					_, _ = io.WriteString(w, "frame")
				}))
				server.EnableHTTP2 = http2
				server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
				start := server.Start
				if secure {
					start = server.StartTLS
				}
				start()
				defer server.Close()
				of := server.Client()
				const polls = 20
				for range polls {
					client := PollingClient(of) // each a subscription's
					defer client.CloseIdleConnections()
					c, err := (&Polling{Client: client}).Open(context.Background(), Address{URL: server.URL}, ignored{})
					if err != nil {
						t.Fatal(err)
					}
					frame, err := c.Next()
					if err != nil {
						t.Fatal(err)
					}
					if text, err := io.ReadAll(frame); string(text) != "frame" {
						t.Errorf("read %q, %v", text, err)
					}
					c.Close(CloseNormal)
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
