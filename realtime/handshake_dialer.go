package realtime

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/addr"
)

// dialWith opens websockets with a dialer of the user's, whatever the HTTP client
// is. It is told host names in ASCII: the library itself would look up an
// internationalized one as it is written. It is bound in time, and given up at once when ctx is done: the library
// looks at its context while it connects, but not while it waits for the server's
// answer.
func dialWith(dialer *websocket.Dialer) dialFunc {
	return func(ctx context.Context, address string, header http.Header) (*websocket.Conn, *http.Response, error) {
		if u, err := url.Parse(address); err == nil {
			u.Host = asciiHost(u)
			address = u.String()
		}
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		stop := func() bool { return true }
		guarded := func(dial netDialFunc) netDialFunc {
			return func(dialing context.Context, network, addr string) (net.Conn, error) {
				c, err := dial(dialing, network, addr)
				if err == nil {
					stop = context.AfterFunc(ctx, func() { c.Close() })
				}
				return c, err
			}
		}
		d := *dialer
		d.NetDialContext = guarded(plainDial(dialer))
		if d.NetDialTLSContext != nil {
			d.NetDialTLSContext = guarded(d.NetDialTLSContext)
		}
		ws, answer, err := d.DialContext(ctx, address, header)
		stop()
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return ws, answer, err
	}
}

// asciiHost is the host of an address, with its port if it has one.
func asciiHost(u *url.URL) string {
	name := u.Hostname()
	if ascii := addr.ASCII(name); ascii != name {
		return ascii + strings.TrimPrefix(u.Host, name)
	}
	return u.Host
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
