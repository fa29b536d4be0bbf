package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// A DialFunc opens a websocket. Where the server refuses, the answer is its
// own.
type DialFunc func(ctx context.Context, url string, header http.Header) (*websocket.Conn, *http.Response, error)

// DialOver opens websockets through an HTTP client: gorilla/websocket makes the
// request of the handshake and checks its answer, the client carries them. So
// a websocket goes whatever way the client's other requests go, through its
// proxies, dial functions, TLS configuration, cookies and RoundTrippers.
//
// net/http offers no HTTP/2 for a request to switch to a websocket.
func DialOver(client *http.Client) DialFunc {
	return func(ctx context.Context, address string, header http.Header) (*websocket.Conn, *http.Response, error) {
		var request *http.Request
		var ahead *aheadConn
		connect := func(context.Context, string, string) (net.Conn, error) {
			c, err := carry(ctx, tunnelled(client, request), request)
			if err != nil {
				return nil, err
			}
			ahead = newAheadConn(c)
			return ahead, nil
		}
		d := websocket.Dialer{
			ReadBufferSize: frameBuffer, WriteBufferSize: libraryBuffer, WriteBufferPool: &libraryBuffers,
			// Proxy is told the request; the client has proxies of its own.
			Proxy: func(r *http.Request) (*url.URL, error) {
				request = r
				return nil, nil
			},
			NetDialContext:    connect,
			NetDialTLSContext: connect,
		}
		ws, answer, err := d.Dial(address, header) // carry is bound by ctx, and all else is in memory
		if err == nil {
			ahead.framed = true // the library has read the answer alone
		}
		return ws, answer, err
	}
}

// libraryBuffer is the size of the buffers that gorilla/websocket and net/http
// have for each connection: what is read ahead is in others. The websocket's for
// writing is taken while something is written.
const libraryBuffer = 1 << 10

var libraryBuffers sync.Pool

// frameBuffer is the size of the buffer that gorilla/websocket has for reading
// over an aheadConn: for headers and control frames.
const frameBuffer = 128

// carry has the client make the request of a handshake. It is given up when ctx
// is done or handshakeTimeout has passed.
func carry(ctx context.Context, client *http.Client, request *http.Request) (net.Conn, error) {
	// The context of a request is that of what its answer is read from, so it
	// must not end with the handshake, unless that is made by an *http.Transport.
	ctx, cancel := context.WithCancelCause(ctx)
	c := &carriedConn{cancel: cancel}
	late := time.AfterFunc(handshakeTimeout, func() { cancel(errHandshakeTimeout) })
	defer late.Stop()
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { c.Conn = info.Conn }}
	answer, err := client.Do(request.Clone(httptrace.WithClientTrace(ctx, trace)))
	if err == nil {
		err = c.begin(answer)
	}
	if err == nil && !late.Stop() {
		_ = c.Close()
		err = errHandshakeTimeout
	}
	if err != nil {
		if ctx.Err() != nil && c.Conn == nil {
			client.CloseIdleConnections() // and give up dialing
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		cancel(nil)
		return nil, err
	}
	if way, _ := client.Transport.(ownTransport); way.shared != nil { // net/http has let go of the connection
		cancel(nil)
		c.cancel = nil
	}
	return c, nil
}

var errHandshakeTimeout = fmt.Errorf("no answer in %v: %w", handshakeTimeout, context.DeadlineExceeded)

// A carriedConn is a connection on which an HTTP client has made the handshake.
// gorilla/websocket still has to see it: the request that it writes goes
// nowhere, and the answer is what it reads first.
type carriedConn struct {
	net.Conn // for its deadlines and addresses; nil if the server has refused
	cancel   context.CancelCauseFunc
	once     sync.Once

	begun  bool               // the answer has been asked for
	answer []byte             // what of it has not been read yet
	stream io.ReadWriteCloser // what follows it; nil if the server has refused
}

// begin takes the answer of the handshake.
func (c *carriedConn) begin(answer *http.Response) error {
	head := *answer
	head.ProtoMajor, head.ProtoMinor, head.TransferEncoding = 1, 1, nil
	if answer.StatusCode == http.StatusSwitchingProtocols {
		stream, ok := answer.Body.(io.ReadWriteCloser)
		if !ok || c.Conn == nil {
			_ = answer.Body.Close()
			return ErrNoUpgrade
		}
		c.stream = stream
		head.Body = nil
	} else {
		c.Conn = nil // it belongs to the client
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		_ = answer.Body.Close()
		head.Body, head.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	}
	var b bytes.Buffer
	err := head.Write(&b)
	c.answer = b.Bytes()
	return err
}

func (c *carriedConn) Read(p []byte) (int, error) {
	if c.begun && len(c.answer) == 0 && c.stream != nil {
		return c.stream.Read(p)
	}
	c.begun = true
	if len(c.answer) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.answer)
	if c.answer = c.answer[n:]; len(c.answer) == 0 {
		c.answer = nil // not the memory of it
	}
	return n, nil
}

func (c *carriedConn) Write(p []byte) (int, error) {
	if !c.begun {
		return len(p), nil
	}
	return c.stream.Write(p)
}

func (c *carriedConn) Close() (err error) {
	c.once.Do(func() {
		if c.stream != nil {
			err = c.stream.Close()
		}
		if c.cancel != nil {
			c.cancel(nil)
		}
	})
	return err
}
