package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/internal/dial"
)

// keptFor is how long a connection is kept without a request. Push servers
// close theirs after 5 to 6 seconds, and a request that meets that is lost.
const keptFor = 3 * time.Second

// KeepingClient is OwnClient for requests that follow each other: it keeps
// connections for some seconds, where it makes them itself, to the server and
// not to a proxy. They are of HTTP/1.1 (turnConn).
func KeepingClient(client *http.Client) *http.Client {
	c := OwnClient(client)
	own := c.Transport.(ownTransport)
	if own.shared == nil {
		return c
	}
	base := own.shared.own
	//lint:ignore SA1019 who has set DialTLS wants it used
	if base.DialTLSContext != nil || base.DialTLS != nil || base.Protocols != nil && !base.Protocols.HTTP1() || base.DisableKeepAlives {
		return c
	}
	kept := base.Clone()
	kept.IdleConnTimeout = keptFor
	kept.MaxIdleConnsPerHost = 16
	kept.Proxy = nil
	kept.ForceAttemptHTTP2 = false
	kept.Protocols = new(http.Protocols)
	kept.Protocols.SetHTTP1(true)
	kept.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := base.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &turnConn{Conn: conn}, nil
	}
	kept.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := base.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return secureTurns(ctx, base, conn, address)
	}
	own.Transport.Keep(func(r *http.Request) http.RoundTripper {
		if base.Proxy != nil {
			if proxy, err := base.Proxy(r); proxy != nil || err != nil {
				return nil
			}
		}
		return kept
	})
	c.Transport = keepingTransport{own, kept}
	return c
}

// secureTurns makes the TLS handshake of a connection.
func secureTurns(ctx context.Context, base *http.Transport, conn net.Conn, address string) (net.Conn, error) {
	config := new(tls.Config)
	if base.TLSClientConfig != nil {
		config = base.TLSClientConfig.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
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
