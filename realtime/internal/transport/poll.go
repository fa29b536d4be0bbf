package transport

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/unfold"
)

// Polling opens polls: HTTP requests whose answer is one frame.
type Polling struct {
	Client *http.Client
	Header http.Header
}

// untold is how long a RoundTripper may take to tell of a request. One that is
// no *http.Transport may never do, and is taken to have sent it then.
const untold = time.Second

func (t *Polling) Open(ctx context.Context, at Address, sink Sink) (Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	var began atomic.Pointer[time.Time]
	sent := sync.OnceFunc(func() {
		now := time.Now()
		began.Store(&now)
		sink.Sent()
	})
	silent := time.AfterFunc(untold, sent)
	defer silent.Stop()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { silent.Stop() },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				sent()
			}
		},
	})
	var location string
	req, err := http.NewRequestWithContext(redact.KeepLocation(ctx, &location), http.MethodGet, at.URL, nil)
	if err != nil {
		cancel()
		return nil, at.fail("polling", err)
	}
	req.Header.Set("Cache-Control", "no-cache") // what a cache has stored is no answer
	maps.Copy(req.Header, t.Header)
	answer, err := t.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil && !connected.Load() {
			t.Client.CloseIdleConnections() // and give up dialing
		}
		cancel()
		return nil, at.fail("polling", err)
	}
	c := &pollConn{at: at, answer: answer, body: answer.Body, cancel: cancel}
	switch answer.StatusCode {
	case http.StatusOK:
		if err := c.check(); err != nil {
			c.Close(CloseNormal)
			return nil, err
		}
		return c, nil
	case http.StatusNotModified:
		c.Close(CloseNormal)
		var took time.Duration
		if since := began.Load(); since != nil {
			took = time.Since(*since)
		}
		return nil, c.nothing(took)
	default:
		refused := at.refusal(answer, location)
		c.Close(CloseNormal)
		return nil, refused
	}
}

// pollConn is a poll that has been answered.
type pollConn struct {
	at     Address
	answer *http.Response
	body   io.Reader // the answer's, decompressed
	cancel context.CancelFunc
	read   bool
}

// check looks at the head of the answer.
func (c *pollConn) check() error {
	if age, err := strconv.Atoi(c.answer.Header.Get("Age")); err == nil && age > 0 {
		return c.Reject(nil, fmt.Errorf("it comes out of a cache, %d s old", age))
	}
	body, err := unfold.Reader(strings.Join(c.answer.Header.Values("Content-Encoding"), ","), c.body)
	if err != nil {
		return c.Reject(nil, err)
	}
	c.body = body
	return nil
}

func (c *pollConn) Reject(start []byte, why error) error {
	return c.at.unbelieved(c.answer.StatusCode, c.answer.Header, start, why)
}

func (c *pollConn) Next() (io.Reader, error) {
	if c.read {
		return nil, io.EOF
	}
	c.read = true
	return &pollFrame{c.at, c.body}, nil
}

func (c *pollConn) Ping() error { return fmt.Errorf("realtime: a poll has no ping") }

func (c *pollConn) Received(string) {}

func (c *pollConn) Close(int) {
	c.cancel()
	_ = c.answer.Body.Close()
}

// pollFrame keeps secrets out of a body's errors, and a body that ends by
// accident apart from one that ends.
type pollFrame struct {
	at   Address
	body io.Reader
}

func (f *pollFrame) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	if err != nil && err != io.EOF {
		err = f.at.fail("reading the answer of a poll", err)
	}
	return n, err
}
