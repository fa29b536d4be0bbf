package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
)

// deaf is a sink that nobody listens to.
type deaf struct{}

func (deaf) Sent()      {}
func (deaf) Pinged()    {}
func (deaf) Ponged()    {}
func (deaf) Heartbeat() {}

// endlessAnswers are answers without an end: how they begin, and what follows
// for ever.
var endlessAnswers = []struct{ name, begin, forever string }{
	{"header of a 101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "X-More: 0123456789\r\n"},
	{"header of a 200", "HTTP/1.1 200 OK\r\n", "X-More: 0123456789\r\n"},
	{"line of a header", "HTTP/1.1 101 Switching Protocols\r\nX-More: ", "0123456789"},
	{"status line", "HTTP/1.1 101 ", "0123456789"},
	{"early hints", "", "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"},
	{"continue", "", "HTTP/1.1 100 Continue\r\n\r\n"},
	{"chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "0123456789"},
	{"chunk extensions", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;" + strings.Repeat("x", 1000) + "\r\n \r\n"},
	{"trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", "X-More: 0123456789\r\n"},
}

// serveEndless answers each connection so, up to 16 MiB.
func serveEndless(t *testing.T, begin, forever string) (addr string) {
	t.Helper()
	return resttest.Serve(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, err := io.WriteString(c, begin)
		part := []byte(strings.Repeat(forever, 4096/len(forever)+1))
		for n := 0; err == nil && n < 16<<20; n += len(part) {
			_, err = c.Write(part)
		}
	})
}

// weighed counts what is read from the connections that it dials.
type weighed struct{ read atomic.Int64 }

func (w *weighed) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &weighedConn{c, w}, err
}

type weighedConn struct {
	net.Conn
	by *weighed
}

func (c *weighedConn) Read(p []byte) (int, error) {
	if c.by.read.Load() > 16<<20 {
		return 0, io.ErrUnexpectedEOF // the test has seen enough
	}
	n, err := c.Conn.Read(p)
	c.by.read.Add(int64(n))
	return n, err
}

// TestEndless_Headers: of an answer not more than 64 KiB are read before it is
// known to be one, and of what HTTP puts around a poll's body not much more,
// whichever way is taken. A buffer may hold some more.
func TestEndless_Headers(t *testing.T) {
	const bound = 64<<10 + 32<<10
	for _, e := range endlessAnswers {
		for _, way := range []string{"websocket", "websocket by a dialer", "websocket by a dialer and a proxy", "websocket in a tunnel", "poll"} {
			t.Run(e.name+" "+way, func(t *testing.T) {
				t.Parallel()
				addr := serveEndless(t, e.begin, e.forever)
				var w weighed
				direct := &http.Transport{DialContext: w.dial}
				proxy := http.ProxyURL(&url.URL{Scheme: "http", Host: addr})
				var tr Transport
				at := Address{URL: "ws://" + addr + "/sub/"}
				switch way {
				case "websocket":
					tr = &Socket{Dial: DialOver(OwnClient(&http.Client{Transport: direct}))}
				case "websocket in a tunnel":
					direct.Proxy = proxy
					tr = &Socket{Dial: DialOver(OwnClient(&http.Client{Transport: direct}))}
				case "websocket by a dialer":
					tr = &Socket{Dial: DialWith(&websocket.Dialer{NetDialContext: w.dial})}
				case "websocket by a dialer and a proxy":
					tr = &Socket{Dial: DialWith(&websocket.Dialer{NetDialContext: w.dial, Proxy: proxy})}
				case "poll":
					at.URL = "http://" + addr + "/sub/"
					tr = &Polling{Client: OwnClient(&http.Client{Transport: direct})}
				}
				c, err := tr.Open(t.Context(), at, deaf{})
				if err == nil {
					frame, _ := c.Next()
					_, err = io.Copy(io.Discard, frame)
					c.Close(CloseNormal)
				}
				if err == nil {
					t.Error("no error")
				}
				if n := w.read.Load(); n > bound {
					t.Errorf("%d bytes were read, want at most %d: %v", n, bound, err)
				}
			})
		}
	}
}

// TestEndless_LongHeader: what is long and within the bound is read.
func TestEndless_LongHeader(t *testing.T) {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n")
	for n := range 500 {
		fmt.Fprintf(&b, "X-More-%d: %s\r\n", n, strings.Repeat("x", 100))
	}
	addr := serveEndless(t, b.String()+"\r\n", "x")
	tr := &Polling{Client: OwnClient(&http.Client{})}
	c, err := tr.Open(t.Context(), Address{URL: "http://" + addr}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close(CloseNormal)
}
