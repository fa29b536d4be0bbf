// Package dial has what is to be known of a request where it is dialed for.
//
// It keeps what a server sends before it was asked anything from net/http, which
// prints it with the process's own logger if it comes after the TLS handshake
// and before the request («Unsolicited response received on idle HTTP channel»).
// A server can repeat there what it was told earlier, a webhook's address for
// one. In all that these connections are for, the client speaks first: TLS,
// HTTP/1, HTTP/2 and proxies. The transport has to be one that [Guard] has
// changed, or to [Wrap] what it dials.
//
// It recovers what panics in net/http's goroutines, where that would end the
// process.
//
// And it tells a proxy that is dialed from a target with the same address.
//
// A request has to be made with a context of [Context].
package dial

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
)

type key struct{}

// dials are those of one request.
type dials struct {
	mu    sync.Mutex
	conn  *Conn
	count int
	proxy string // host:port of the one that it goes through
}

// Context returns a context for one request.
func Context(ctx context.Context) context.Context {
	d := new(dials)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{TLSHandshakeDone: func(state tls.ConnectionState, err error) {
		if err == nil {
			d.secured(state.NegotiatedProtocol == "h2")
		}
	}})
	return context.WithValue(ctx, key{}, d)
}

// add wraps the connection that a request is made over. Of a request that
// net/http dials for a second time it is not known which connection a handshake
// was of, and nothing is kept back.
func (d *dials) add(ctx context.Context, c net.Conn) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := c.(*tls.Conn); !ok || d.conn == nil || t.NetConn() != net.Conn(d.conn) {
		d.count++
	}
	if d.count > 1 {
		d.conn = nil
		return &Conn{Conn: Safe(ctx, c)}
	}
	d.conn = &Conn{Conn: Safe(ctx, c), shut: true}
	return d.conn
}

// secured is told that a handshake is done. With HTTP/2 it is the last one of a
// connection; if the server goes away then, the request is dialed for anew.
func (d *dials) secured(http2 bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.conn == nil:
	case http2:
		d.conn, d.count = nil, 0
	default:
		d.conn.shutAgain()
	}
}

// Wrap wraps a connection that was dialed for a request, and over which nobody
// is going to speak before the request.
func Wrap(ctx context.Context, c net.Conn) net.Conn {
	d, ok := ctx.Value(key{}).(*dials)
	switch {
	case !ok || c == nil:
		return c
	case ctx.Value(insideKey{}) == d:
		return Safe(ctx, c)
	}
	switch own := c.(type) {
	case *Conn:
		own.shutAgain() // a tunnel was made over it
		return c
	case secureConn:
		return c
	}
	return d.add(ctx, c)
}

// ToProxy notes that a request goes through the proxy at host:port.
func ToProxy(ctx context.Context, address string) {
	if d, ok := ctx.Value(key{}).(*dials); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.proxy = address
	}
}

// IsToProxy reports whether host:port is dialed as the proxy of a request; it is
// not known of a request that was not made with a [Context].
func IsToProxy(ctx context.Context, address string) (is, known bool) {
	d, known := ctx.Value(key{}).(*dials)
	if !known {
		return false, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proxy == address, true
}

// insideKey has the dials whose connections are wrapped when they come back,
// whatever a dial function has put around them.
type insideKey struct{}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// safely dials in a goroutine of net/http.
func (dial dialFunc) safely(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = Recover(ctx, "the dial function", func() (err error) {
		c, err = dial(context.WithValue(ctx, insideKey{}, ctx.Value(key{})), network, address)
		return err
	})
	return c, err
}

// Guard has a transport wrap all that it dials. It has to be one's own, and not
// in use.
func Guard(t *http.Transport) {
	t.ForceAttemptHTTP2 = attemptsHTTP2(t)
	//lint:ignore SA1019 who has set Dial or DialTLS wants them used
	dial, dialTLS, plainDial, plainDialTLS := dialFunc(t.DialContext), t.DialTLSContext, t.Dial, t.DialTLS
	switch {
	case dial == nil && plainDial != nil:
		dial = withoutContext(plainDial)
	case dial == nil:
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial.safely(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return Wrap(ctx, c), nil
	}
	if dialTLS == nil && plainDialTLS != nil {
		dialTLS = withoutContext(plainDialTLS)
	}
	if dialTLS != nil {
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialFunc(dialTLS).safely(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return secured(ctx, c)
		}
	}
}

func withoutContext(dial func(network, address string) (net.Conn, error)) dialFunc {
	return func(_ context.Context, network, address string) (net.Conn, error) { return dial(network, address) }
}

// secured wraps an encrypted connection. net/http knows HTTP/2 only by the type
// *tls.Conn, and does not print what comes over it.
func secured(ctx context.Context, c net.Conn) (net.Conn, error) {
	encrypted, ok := c.(*tls.Conn)
	if !ok {
		return Wrap(ctx, c), nil
	}
	if err := encrypted.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	state := encrypted.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		return c, nil
	}
	wrapped, ok := Wrap(ctx, c).(*Conn)
	if !ok {
		return c, nil
	}
	return secureConn{wrapped, state}, nil
}

// attemptsHTTP2 reports whether a transport attempts HTTP/2, which net/http
// does of itself only if it dials in its own way. The configuration of one that
// has been in use is net/http's.
func attemptsHTTP2(t *http.Transport) bool {
	if t.ForceAttemptHTTP2 {
		return true
	}
	//lint:ignore SA1019 they count as well
	own := t.DialContext == nil && t.Dial == nil && t.DialTLS == nil && t.DialTLSContext == nil
	return own && (t.TLSClientConfig == nil || slices.Contains(t.TLSClientConfig.NextProtos, "h2"))
}
