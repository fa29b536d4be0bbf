package oauth

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// vacant is an address where nobody listens.
func vacant(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// reads takes a request and then does what comes next.
func reads(next func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.Copy(io.Discard, r.Body)
			next(conn)
		}
	}
}

// TestNetwork_WhatNetHTTPMakes of connections that do not come about, and of one that
// does.
func TestNetwork_WhatNetHTTPMakes(t *testing.T) {
	t.Parallel()
	writes := func(text string) func(net.Conn) { return func(conn net.Conn) { io.WriteString(conn, text) } }
	silent := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	proxied := func(scheme, address string) *http.Transport {
		return &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: address}), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	}
	trusting := func() *http.Transport {
		return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	}
	impatient := &http.Transport{TLSHandshakeTimeout: 200 * time.Millisecond}
	good := tlsServer(t, http.NotFound, nil)
	cut := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}, nil)
	hanging := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}, nil)
	tests := []struct {
		name      string
		transport *http.Transport
		address   string
		timeout   time.Duration
		class     b24pull.Class
	}{
		{"nobody listens", trusting(), "https://" + vacant(t), 0, b24pull.ClassNotSent},
		{"the proxy is down", proxied("http", vacant(t)), "https://portal.example", 0, b24pull.ClassNotSent},
		{"an https proxy is down", proxied("https", vacant(t)), "https://portal.example", 0, b24pull.ClassNotSent},
		{"a SOCKS proxy is down", proxied("socks5", vacant(t)), "https://portal.example", 0, b24pull.ClassNotSent},
		{"the proxy refuses", proxied("http", resttest.Serve(t, reads(writes("HTTP/1.1 503 Service Unavailable\r\n\r\n")))), "https://portal.example", 0, b24pull.ClassNotSent},
		{"the proxy wants a password", proxied("http", resttest.Serve(t, reads(writes("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")))), "https://portal.example", 0, b24pull.ClassNotSent},
		{"the proxy hangs up", proxied("http", resttest.Serve(t, reads(func(net.Conn) {}))), "https://portal.example", 0, b24pull.ClassNotSent},
		{"the handshake is cut", trusting(), "https://" + resttest.Serve(t, func(net.Conn) {}), 0, b24pull.ClassNotSent},
		{"the handshake hangs", impatient, "https://" + resttest.Serve(t, silent), 0, b24pull.ClassNotSent},
		{"the handshake outlasts the timeout", &http.Transport{}, "https://" + resttest.Serve(t, silent), time.Second, b24pull.ClassNotSent},
		{"no TLS", trusting(), "https://" + resttest.Serve(t, writes("HTTP/1.1 400 Bad Request\r\n\r\n")), 0, b24pull.ClassNotSent},
		{"a TLS alert", trusting(), "https://" + resttest.Serve(t, func(conn net.Conn) {
			conn.Read(make([]byte, 1000))
			conn.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // handshake_failure
		}), 0, b24pull.ClassNotSent},
		{"an unknown authority", &http.Transport{}, good.URL, 0, b24pull.ClassFinal},
		{"another's certificate", &http.Transport{TLSClientConfig: &tls.Config{RootCAs: good.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "portal.test"}}, good.URL, 0, b24pull.ClassFinal},
		{"cut after the request", trusting(), cut.URL, 0, b24pull.ClassUnavailable},
		{"no answer within the timeout", trusting(), hanging.URL, 3 * time.Second, // in which a busy machine has to have made a handshake
			b24pull.ClassUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			defer tt.transport.CloseIdleConnections()
			opts := []b24pull.Option{b24pull.WithHTTPClient(&http.Client{Transport: tt.transport}), b24pull.WithRetry(b24pull.Retry{Attempts: 2, Min: time.Millisecond}), b24pull.WithLimiter(nil)}
			if tt.timeout > 0 {
				opts = append(opts, b24pull.WithTimeout(tt.timeout))
			}
			c := mustNew(t, b24pull.OAuth(tt.address, resttest.Static(resttest.AccessToken)), opts...)
			err := event(context.Background(), c)
			if b24pull.ClassOf(err) != tt.class {
				t.Errorf("a call: %v (%T): class %v, want %v", err, errors.Unwrap(err), b24pull.ClassOf(err), tt.class)
			}
			resttest.CheckError(t, err)
			app := testApp(&http.Client{Transport: tt.transport, Timeout: tt.timeout})
			app.AuthServer = tt.address
			_, err = app.Refresh(context.Background(), (&rotating{}).present())
			if lost := strings.Contains(err.Error(), "may be lost"); b24pull.ClassOf(err) != tt.class || lost != (tt.class == b24pull.ClassUnavailable) {
				t.Errorf("a refresh: %v: class %v, want %v", err, b24pull.ClassOf(err), tt.class)
			}
			resttest.CheckError(t, err)
		})
	}
}

// tlsServer logs nothing. It tells of each connection.
func tlsServer(t *testing.T, handler http.HandlerFunc, connected func()) *httptest.Server {
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew && connected != nil {
			connected()
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// TestNetwork_BadCertificateIsFinal: a read does not ask again and again who is there.
func TestNetwork_BadCertificateIsFinal(t *testing.T) {
	var asked atomic.Int32
	srv := tlsServer(t, http.NotFound, func() { asked.Add(1) })
	c := mustNew(t, b24pull.OAuth(srv.URL, resttest.Static(resttest.AccessToken)), b24pull.WithHTTPClient(&http.Client{Transport: &http.Transport{}}), b24pull.WithRetry(b24pull.Retry{Min: time.Millisecond}))
	_, err := c.GetApplicationConfig(context.Background(), true)
	srv.Close()
	if b24pull.ClassOf(err) != b24pull.ClassFinal || asked.Load() != 1 {
		t.Errorf("%v; asked %d times", err, asked.Load())
	}
}
