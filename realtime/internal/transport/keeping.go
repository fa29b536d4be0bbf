package transport

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/gate"
)

// keptFor is how long a connection is kept without a request. Push servers
// close theirs after 5 to 6 seconds, and a request that meets that is lost.
const keptFor = 3 * time.Second

// keptIdle is how many connections to a server are kept without a request.
const keptIdle = 64

// KeepingClient is OwnClient for requests that follow each other: it keeps
// connections for some seconds, where it makes them itself, to the server and
// not to a proxy. They are of HTTP/1.1 (turnConn).
func KeepingClient(client *http.Client) *http.Client {
	return keepingClient(client, func(s *sharedCopy) *http.Transport { return s.kept() })
}

// PollingClient is KeepingClient for polls, with HTTP/2 where the server and the
// user's transport prefer that. What becomes of a poll that has hung is for its
// maker to see (onceTransport).
func PollingClient(client *http.Client) *http.Client {
	return keepingClient(client, func(s *sharedCopy) *http.Transport { return s.polls() })
}

func keepingClient(client *http.Client, copyOf func(*sharedCopy) *http.Transport) *http.Client {
	c := OwnClient(client)
	own := c.Transport.(ownTransport)
	if own.shared == nil {
		return c
	}
	base, kept := own.shared.own, copyOf(own.shared)
	if kept == nil {
		return c
	}
	own.Transport.Keep(func(r *http.Request) http.RoundTripper {
		if base.Proxy != nil {
			if proxy, err := base.Proxy(r); proxy != nil || err != nil {
				return nil
			}
		}
		if r.Method == http.MethodGet {
			return onceTransport{kept}
		}
		return kept
	})
	c.Transport = keepingTransport{own, kept}
	return c
}

// A onceTransport makes a request once. net/http makes a GET anew when a kept
// connection comes to its end without an answer, however long that was hung
// for: all at once, when a server goes away that holds the polls of many, and
// with nobody being told that the server has been asked anew. Only a request
// that has met the end of its connection is made over another one.
type onceTransport struct{ kept *http.Transport }

// meetsWithin is how soon a connection comes to its end that had been closed
// when the request was made.
const meetsWithin = time.Second

func (t onceTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err, met := t.once(r)
	if met && r.Context().Err() == nil {
		answer, err, _ = t.once(r)
	}
	return answer, err
}

// once also reports whether the request has met the end of its connection.
func (t onceTransport) once(r *http.Request) (answer *http.Response, err error, met bool) {
	var reused atomic.Bool
	var wrote atomic.Pointer[time.Time]
	own := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			now := time.Now()
			wrote.Store(&now)
		},
	}))
	own.Body = noAgain{} // which net/http finds empty, and cannot rewind
	answer, err = t.kept.RoundTrip(own)
	at := wrote.Load()
	return answer, err, err != nil && reused.Load() && (at == nil || time.Since(*at) < meetsWithin)
}

// noAgain is an empty body.
type noAgain struct{}

func (noAgain) Read([]byte) (int, error) { return 0, io.EOF }
func (noAgain) Close() error             { return nil }

// keepingCopy is a copy of a transport that keeps connections, those of HTTP/2
// among them only if that is wanted; nil where that cannot be.
func keepingCopy(base *http.Transport, http2 bool) *http.Transport {
	//lint:ignore SA1019 who has set DialTLS wants it used
	if base.DialTLSContext != nil || base.DialTLS != nil || base.Protocols != nil && !base.Protocols.HTTP1() || base.DisableKeepAlives {
		return nil
	}
	kept := base.Clone()
	kept.IdleConnTimeout = keptFor
	kept.MaxIdleConns, kept.MaxIdleConnsPerHost = 0, keptIdle
	kept.Proxy = nil
	http2 = http2 && base.ForceAttemptHTTP2 && (base.Protocols == nil || base.Protocols.HTTP2())
	kept.ForceAttemptHTTP2 = http2
	kept.Protocols = new(http.Protocols)
	kept.Protocols.SetHTTP1(true)
	kept.Protocols.SetHTTP2(http2)
	kept.DialContext = holding(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := base.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &turnConn{Conn: conn}, nil
	})
	kept.DialTLSContext = holding(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := base.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return secureTurns(ctx, base, conn, address, http2)
	})
	return kept
}

// holding has a dial function keep the place of the request that it is called
// for. net/http goes on dialing when another connection becomes free for that
// request, which may be answered before the dialing has ended.
func holding(dial netDialFunc) netDialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		release, err := gate.Hold(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
		return dial(ctx, network, address)
	}
}

// secureTurns makes the TLS handshake of a connection. One of HTTP/2 says which
// answer each byte belongs to: net/http, which knows it by its type, prints
// nothing of it.
func secureTurns(ctx context.Context, base *http.Transport, conn net.Conn, address string, http2 bool) (net.Conn, error) {
	config := new(tls.Config)
	if base.TLSClientConfig != nil {
		config = base.TLSClientConfig.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	if http2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		config.ServerName = host
	}
	limit := base.TLSHandshakeTimeout
	if limit <= 0 {
		limit = handshakeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	secured := tls.Client(conn, config)
	err := dial.Recover(ctx, "a TLS handshake", func() error { return secured.HandshakeContext(ctx) })
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		return secured, nil
	}
	return &turnConn{Conn: secured}, nil
}

// keepingTransport is the transport of a KeepingClient.
type keepingTransport struct {
	ownTransport
	kept *http.Transport
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (t keepingTransport) CloseIdleConnections() {
	t.kept.CloseIdleConnections()
	t.ownTransport.CloseIdleConnections()
}
