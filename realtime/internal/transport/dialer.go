package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/dial"
)

// DialWith opens websockets with a dialer of the user's, whatever the HTTP
// client is. It is told host names in ASCII: the library itself would look up
// an internationalized one as it is written. It is bound in time, and given up
// at once when ctx is done: the library looks at its context while it connects,
// but not while it waits for the server's answer.
func DialWith(dialer *websocket.Dialer) DialFunc {
	return func(ctx context.Context, address string, header http.Header) (*websocket.Conn, *http.Response, error) {
		if u, err := url.Parse(address); err == nil {
			u.Host = addr.ASCIIHost(u)
			address = u.String()
		}
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		stop := func() bool { return true }
		var counted *boundedConn
		guarded := func(connect netDialFunc, limit int) netDialFunc {
			return func(dialing context.Context, network, addr string) (net.Conn, error) {
				c, err := connect(dialing, network, addr)
				if err != nil {
					return nil, err
				}
				c = dial.Safe(ctx, c)
				stop = context.AfterFunc(ctx, func() { c.Close() })
				counted = &boundedConn{Conn: c, left: limit}
				return newAheadConn(counted), nil
			}
		}
		d := *dialer
		if d.ReadBufferSize == 0 {
			d.ReadBufferSize = libraryBuffer
		}
		if d.WriteBufferSize == 0 && d.WriteBufferPool == nil {
			d.WriteBufferSize, d.WriteBufferPool = libraryBuffer, &libraryBuffers
		}
		limit := maxHeader
		if strings.HasPrefix(address, "wss:") {
			limit += maxTLS
		}
		d.NetDialContext = guarded(plainDial(dialer), limit)
		if d.NetDialTLSContext != nil {
			d.NetDialTLSContext = guarded(d.NetDialTLSContext, maxHeader)
		}
		ws, answer, err := d.DialContext(ctx, address, header)
		stop()
		if ws != nil && counted != nil {
			counted.done = true
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return ws, answer, err
	}
}

// maxTLS is what a TLS handshake may take before the server's answer:
// certificates, and the names of authorities whose own it would accept.
const maxTLS = 64 << 10

// A boundedConn bounds what is read before the handshake is done: the library
// reads headers without a limit. Only the goroutine that dials reads meanwhile.
type boundedConn struct {
	net.Conn
	left int
	done bool
}

var errLongHandshake = fmt.Errorf("the answer to the handshake is longer than %d KiB", maxHeader>>10)

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.done {
		return c.Conn.Read(p)
	}
	if c.left <= 0 {
		return 0, errLongHandshake
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

type netDialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// plainDial is how a dialer opens a connection.
func plainDial(d *websocket.Dialer) netDialFunc {
	switch {
	case d.NetDialContext != nil:
		return d.NetDialContext
	case d.NetDial != nil:
		return func(_ context.Context, network, addr string) (net.Conn, error) { return d.NetDial(network, addr) }
	default:
		return new(net.Dialer).DialContext
	}
}
