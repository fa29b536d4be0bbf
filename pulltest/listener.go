package pulltest

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
)

// connections knows those that a portal's listeners accepted, so that all can
// be closed.
type connections struct {
	mu     sync.Mutex
	open   map[*serverConn]struct{}
	closed bool
}

type serverListener struct {
	net.Listener
	conns *connections
}

// serverConn is an accepted connection below TLS.
type serverConn struct {
	net.Conn
	conns *connections
}

func (l *serverListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &serverConn{Conn: conn, conns: l.conns}
	if !l.conns.add(c) {
		c.abort()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *connections) add(c *serverConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[c] = struct{}{}
	}
	return !s.closed
}

// abortAll cuts every connection, also those accepted later.
func (s *connections) abortAll() {
	s.mu.Lock()
	s.closed = true
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, c := range open {
		c.abort()
	}
}

func (c *serverConn) Close() error {
	c.conns.mu.Lock()
	delete(c.conns.open, c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}

// abort resets the connection: no alert of TLS, no close frame, and what is
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

// hangUp ends the connection without a close frame; what was sent still arrives.
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
