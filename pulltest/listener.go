package pulltest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// serverListener knows the connections it accepted, so that all can be closed.
type serverListener struct {
	net.Listener

	mu     sync.Mutex
	conns  map[*serverConn]struct{}
	closed bool
}

// serverConn is an accepted connection below TLS.
type serverConn struct {
	net.Conn
	listener *serverListener
}

func (l *serverListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &serverConn{Conn: conn, listener: l}
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.conns[c] = struct{}{}
	}
	l.mu.Unlock()
	if closed {
		c.abort()
		return nil, net.ErrClosed
	}
	return c, nil
}

// abortAll cuts every connection, also those accepted later.
func (l *serverListener) abortAll() {
	l.mu.Lock()
	l.closed = true
	conns := make([]*serverConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		c.abort()
	}
}

func (c *serverConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// abort resets the connection: no TLS goodbye, no close frame, and what is
// under way is lost.
func (c *serverConn) abort() {
	if c == nil {
		return
	}
	switch conn := c.Conn.(type) {
	case *net.TCPConn:
		conn.SetLinger(0)
	case *memConn:
		conn.abort()
	}
	c.Close()
}

// hangUp ends the connection without a goodbye; what was sent still arrives.
func (c *serverConn) hangUp() {
	if c != nil {
		c.Close()
	}
}

type rawConnKey struct{}

// withRawConn is the ConnContext of the portal's server.
func withRawConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, rawConnKey{}, c)
}

// rawConn is the connection a request came on; nil if a middleware hid it.
func rawConn(r *http.Request) *serverConn {
	c, _ := r.Context().Value(rawConnKey{}).(*serverConn)
	return c
}
