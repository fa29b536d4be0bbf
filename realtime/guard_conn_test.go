package realtime

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// explosiveConn is a connection of a user's dial function. A Close that
// explodes has closed it.
type explosiveConn struct {
	net.Conn
	*charge
	method string
}

func (c explosiveConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.method == "Read" {
		c.touch()
	}
	return n, err
}

func (c explosiveConn) Write(p []byte) (int, error) {
	if c.method == "Write" {
		c.touch()
	}
	return c.Conn.Write(p)
}

func (c explosiveConn) Close() error {
	err := c.Conn.Close()
	if c.method == "Close" {
		c.touch()
	}
	return err
}

// explosiveDial dials as the portal's client does.
func explosiveDial(l *life, c *charge, method string) (*http.Transport, func(ctx context.Context, network, addr string) (net.Conn, error)) {
	transport := l.portal.HTTPClient().Transport.(*http.Transport)
	return transport, func(ctx context.Context, network, addr string) (net.Conn, error) {
		if method == "dial" {
			c.touch()
		}
		conn, err := transport.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return explosiveConn{conn, c, method}, nil
	}
}

// TestGuard_ConnectionPanics: what a user's connections and dial functions
// panic with in goroutines of net/http and of contexts goes where other
// callbacks' panics go. Without that the process ends.
func TestGuard_ConnectionPanics(t *testing.T) {
	t.Parallel()
	through := func(way Transport) func(l *life, c *charge, method string) []Option {
		return func(l *life, c *charge, method string) []Option {
			transport, dial := explosiveDial(l, c, method)
			own := transport.Clone()
			own.DialContext = dial
			return []Option{WithTransport(way), WithHTTPClient(&http.Client{Transport: own})}
		}
	}
	ways := map[string]func(l *life, c *charge, method string) []Option{
		"websocket": through(TransportWebSocket),
		"poll":      through(TransportLongPolling),
		"dialer": func(l *life, c *charge, method string) []Option {
			transport, dial := explosiveDial(l, c, method)
			return []Option{WithDialer(&websocket.Dialer{TLSClientConfig: transport.TLSClientConfig, NetDialContext: dial})}
		},
	}
	for name, way := range ways {
		for _, method := range []string{"dial", "Read", "Write", "Close"} {
			t.Run(name+" "+method, func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					e := explosion{setUp: func(l *life, c *charge) (ConfigSource, []Option) { return nil, way(l, c, method) }, light: func(l *life) {
						l.emit("two")
						cut(l)
					}}
					store := new(MemoryStore)
					value, _, err := e.explode(l, store, explode, false)
					var callback *CallbackPanic
					if failed, _ := value.(error); !errors.As(failed, &callback) || !errors.Is(callback, errExploded) || !strings.Contains(string(callback.Stack), "realtime.explode(") {
						t.Errorf("recovered %v, returned %v", value, err)
					}
					l.wantGone(store, false)
				})
			})
		}
		t.Run(name+" Close at the end", func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				e := explosion{setUp: func(l *life, c *charge) (ConfigSource, []Option) { return nil, way(l, c, "Close") }, light: func(l *life) { l.sub.Close() }}
				store := new(MemoryStore)
				value, _, err := e.explode(l, store, explode, false)
				if failed, _ := value.(error); err != nil || value != nil && !errors.Is(failed, errExploded) {
					t.Errorf("recovered %v, returned %v", value, err)
				}
				l.wantGone(store, false)
			})
		})
	}
}
