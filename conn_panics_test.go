package b24pull

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

type panickingConn struct {
	net.Conn
	method string
}

func (c panickingConn) Read(p []byte) (int, error) {
	if c.method == "Read" {
		panic("no " + c.method)
	}
	return c.Conn.Read(p)
}

func (c panickingConn) Close() error {
	defer c.Conn.Close()
	if c.method == "Close" {
		panic("no " + c.method)
	}
	return nil
}

// TestConnPanics_ConnectionPanics: a panic in a goroutine of net/http, of a connection or
// of what dials it, is an error of the call; one of a connection that has done
// its work is nothing.
func TestConnPanics_ConnectionPanics(t *testing.T) {
	srv := resttest.Portal(t, resttest.Reply(200, `{"result":true}`))
	for _, method := range []string{"dial", "Read", "Close"} {
		transport := &http.Transport{TLSClientConfig: srv.Client().Transport.(*http.Transport).TLSClientConfig,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if method == "dial" {
					panic("no dial")
				}
				c, err := new(net.Dialer).DialContext(ctx, network, address)
				return panickingConn{c, method}, err
			}}
		c, err := New(Webhook(srv.URL+"/rest/1/"+resttest.HookCode+"/"), WithHTTPClient(&http.Client{Transport: transport}), WithRetry(Retry{Attempts: 1}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Call(t.Context(), "app.info", nil, nil)
		switch {
		case method == "Close":
			if err != nil {
				t.Error(err)
			}
		case err == nil || !strings.Contains(err.Error(), "has panicked: no "+method):
			t.Errorf("%s: %v", method, err)
		default:
			resttest.CheckError(t, err)
		}
	}
}
