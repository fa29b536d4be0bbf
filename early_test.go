package b24pull

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestEarly_NothingEarlyIsLogged: what a server sends after the TLS handshake, before
// the call, reaches no log. Without a connection that waits for the call
// net/http prints it in some of a hundred calls.
func TestEarly_NothingEarlyIsLogged(t *testing.T) {
	for _, version := range resttest.TLSVersions {
		for _, whose := range []string{"own", "a user's", "public, through a proxy", "DialTLSContext", "around own"} {
			t.Run(version.Name+" "+whose, func(t *testing.T) {
				told := resttest.CaptureLog(t)
				server := resttest.Early(t, version.Number, "HTTP/1.1 200 OK\r\nX-Asked: /rest/1/"+resttest.HookCode+"/\r\nContent-Length: 15\r\n\r\n{\"result\":true}")
				var opts []Option
				transport := &http.Transport{TLSClientConfig: server.TLS}
				switch whose {
				case "own":
					transport = nil
				case "public, through a proxy":
					proxy := &url.URL{Scheme: "http", Host: resttest.ConnectProxy(t, server.Address)}
					transport = publicTransport(http.ProxyURL(proxy))
					transport.TLSClientConfig = server.TLS
				case "DialTLSContext":
					transport.DialTLSContext = server.DialTLS
				case "around own": // a dial function that wraps what ours has dialed
					own := defaultTransport().(*http.Transport)
					transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := own.DialContext(ctx, network, address)
						return struct{ net.Conn }{conn}, err
					}
				}
				if transport != nil {
					opts = append(opts, WithHTTPClient(&http.Client{Transport: transport}))
				}
				host := server.Address
				if strings.HasPrefix(whose, "public") {
					host = "portal.example"
				}
				c, err := New(Webhook("https://"+host+"/rest/1/"+resttest.HookCode+"/"), append(opts, WithLimiter(nil))...)
				if err != nil {
					t.Fatal(err)
				}
				if transport == nil {
					c.http.Transport.(*http.Transport).TLSClientConfig = server.TLS
				}
				for range calls() {
					if _, err := c.Call(t.Context(), "app.info", nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				if text := told.String(); text != "" {
					t.Errorf("the process's log has been told %d lines, a secret among them: %v", strings.Count(text, "\n"), strings.Contains(text, resttest.Mark))
				}
			})
		}
	}
}

// TestEarly_NothingEarlyAfterHTTP2: nor does what a server sends that has spoken HTTP/2,
// or has refused to go on with it, and speaks HTTP/1 with the next connection.
func TestEarly_NothingEarlyAfterHTTP2(t *testing.T) {
	settingsAndGoAway := "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8)
	for _, version := range resttest.TLSVersions {
		for _, refused := range []bool{false, true} {
			name := version.Name
			if refused {
				name += " GOAWAY"
			}
			t.Run(name, func(t *testing.T) {
				told := resttest.CaptureLog(t)
				home := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					io.WriteString(w, `{"result":true}`)
				}))
				home.EnableHTTP2 = true
				home.StartTLS()
				t.Cleanup(home.Close)
				speaks := func(raw net.Conn, protocol, text string) {
					conn := tls.Server(raw, &tls.Config{Certificates: home.TLS.Certificates, MinVersion: version.Number, MaxVersion: version.Number, NextProtos: []string{protocol}})
					if conn.Handshake() == nil {
						io.WriteString(conn, text)
						io.Copy(io.Discard, conn)
					}
				}
				var connections atomic.Int32
				address := resttest.Serve(t, func(raw net.Conn) {
					t.Cleanup(func() { raw.Close() }) // net/http keeps some after a GOAWAY
					switch odd := connections.Add(1)%2 == 1; {
					case !odd:
						speaks(raw, "http/1.1", "HTTP/1.1 200 OK\r\nX-Asked: /rest/1/"+resttest.HookCode+"/\r\nContent-Length: 15\r\n\r\n{\"result\":true}")
					case refused:
						speaks(raw, "h2", settingsAndGoAway)
					default:
						to, err := net.Dial("tcp", home.Listener.Addr().String())
						if err != nil {
							t.Error(err)
							return
						}
						defer to.Close()
						go func() {
							io.Copy(to, raw)
							to.Close()
						}()
						io.Copy(raw, to)
					}
				})
				c, err := New(Webhook("https://"+address+"/rest/1/"+resttest.HookCode+"/"), WithLimiter(nil))
				if err != nil {
					t.Fatal(err)
				}
				trust := home.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				trust.ServerName, trust.NextProtos = "example.com", nil
				c.http.Transport.(*http.Transport).TLSClientConfig = trust
				for range calls() {
					if _, err := c.Call(t.Context(), "app.info", nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				if text := told.String(); text != "" || int(connections.Load()) < calls() {
					t.Errorf("the process's log has been told %d lines, a secret among them: %v; %d connections", strings.Count(text, "\n"), strings.Contains(text, resttest.Mark), connections.Load())
				}
			})
		}
	}
}

// calls is how many calls are made: of a hundred without a waiting connection
// some tell.
func calls() int {
	switch {
	case resttest.Thorough:
		return 500
	case testing.Short():
		return 15
	}
	return 50
}
