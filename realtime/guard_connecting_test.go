package realtime

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

// TestGuard_CloseWhileConnecting: a connection that explodes when it is given
// up while the server is waited for ends no process.
func TestGuard_CloseWhileConnecting(t *testing.T) {
	for _, way := range []string{"dialer", "dialer, TLS", "client", "tunnel"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &charge{bang: explode}
				connect := func(context.Context, string, string) (net.Conn, error) {
					mine, servers := net.Pipe()
					go func() {
						for b := make([]byte, 512); ; {
							if _, err := servers.Read(b); err != nil {
								return
							}
						}
					}()
					return explosiveConn{mine, c, "Close"}, nil
				}
				tr := &http.Transport{DialContext: connect}
				if way == "tunnel" {
					tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"})
				}
				open, at := transport.DialOver(transport.OwnClient(&http.Client{Transport: tr})), "ws://push.example/"
				switch way {
				case "dialer, TLS":
					at = "wss://push.example/"
					fallthrough
				case "dialer":
					open = transport.DialWith(&websocket.Dialer{NetDialContext: connect})
				}
				told := make(chan any, 10)
				ctx, cancel := context.WithCancel(dial.OnPanic(t.Context(), func(v any, _ []byte) { told <- v }))
				failed := make(chan error)
				go func() {
					_, _, err := open(ctx, at, nil)
					failed <- err
				}()
				synctest.Wait()
				c.armed.Store(true)
				cancel()
				if err := <-failed; err == nil {
					t.Error("no error")
				}
				synctest.Wait()
				if len(told) != 1 || <-told != errExploded {
					t.Error("the panic is not told")
				}
			})
		})
	}
}
