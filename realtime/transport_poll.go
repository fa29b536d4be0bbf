package realtime

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// pollTransport opens polls: HTTP requests whose answer is one frame.
type pollTransport struct {
	client *http.Client
	header http.Header
}

// untold is how long a RoundTripper may take to tell of a request. One that is no
// *http.Transport may never do, and is taken to have sent it then.
const untold = time.Second

func (t *pollTransport) open(ctx context.Context, at address, sink sink) (conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	sent := sync.OnceFunc(sink.sent)
	silent := time.AfterFunc(untold, sent)
	defer silent.Stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { silent.Stop() },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				sent()
			}
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url, nil)
	if err != nil {
		cancel()
		return nil, at.fail("polling", err)
	}
	req.Header = t.header.Clone()
	answer, err := t.client.Do(req)
	if err != nil {
		cancel()
		return nil, at.fail("polling", err)
	}
	c := &pollConn{at: at, body: answer.Body, cancel: cancel}
	switch answer.StatusCode {
	case http.StatusOK:
		return c, nil
	case http.StatusNotModified:
		c.close(closeNormal)
		return nil, errSilent
	default:
		reason, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		c.close(closeNormal)
		return nil, &StatusError{Status: answer.StatusCode, Reason: at.reason(reason)}
	}
}

// pollConn is a poll that has been answered.
type pollConn struct {
	at     address
	body   io.ReadCloser
	cancel context.CancelFunc
	read   bool
}

func (c *pollConn) next() (io.Reader, error) {
	if c.read {
		return nil, io.EOF
	}
	c.read = true
	return &pollFrame{c.at, c.body}, nil
}

func (c *pollConn) ping() error { return fmt.Errorf("realtime: a poll has no ping") }

func (c *pollConn) received(string) {}

func (c *pollConn) close(int) {
	c.cancel()
	_ = c.body.Close()
}

// pollFrame keeps secrets out of a body's errors, and a body that ends by accident apart from one that ends.
type pollFrame struct {
	at   address
	body io.Reader
}

func (f *pollFrame) Read(p []byte) (int, error) {
	n, err := f.body.Read(p)
	if err != nil && err != io.EOF {
		err = f.at.fail("reading the answer of a poll", err)
	}
	return n, err
}
