package pulltest

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// WithIdleTimeout puts a middle box in front of the push server's subscribers,
// such as nginx with its proxy_read_timeout: when the push server has sent
// nothing for the time d, a websocket ends without a close frame, and a hanging
// poll is answered 504 with an HTML page. What the client sends does not count,
// but the pong that answers its ping does. By default there is no such box.
func WithIdleTimeout(d time.Duration) Option {
	return func(o *options) { o.idleTimeout = d }
}

// idleWatch ends a websocket to which nothing has been written for a while.
type idleWatch struct {
	mu    sync.Mutex
	limit time.Duration
	timer *time.Timer
}

// watch begins to watch the websocket; a limit of 0 does not.
func (w *idleWatch) watch(limit time.Duration, end func()) {
	if limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = limit
	w.timer = time.AfterFunc(limit, end)
}

// unwatch is called when the connection is closed.
func (w *idleWatch) unwatch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (w *idleWatch) written() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Reset(w.limit)
	}
}

// impatient gives up a poll that is not answered within the limit; 0 is none.
func (s *pushServer) impatient(limit time.Duration, poll http.HandlerFunc) http.HandlerFunc {
	if limit <= 0 {
		return poll
	}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		answered := &noted{ResponseWriter: w}
		poll(answered, r.WithContext(ctx))
		if answered.begun || ctx.Err() != context.DeadlineExceeded {
			return
		}
		s.hub.count(func(st *Stats) { st.IdleCuts++ })
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusGatewayTimeout)
		io.WriteString(w, "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body><center><h1>504 Gateway Time-out</h1></center></body>\r\n</html>\r\n")
	}
}

// noted knows whether an answer has begun.
type noted struct {
	http.ResponseWriter
	begun bool
}

func (n *noted) WriteHeader(status int) {
	n.begun = true
	n.ResponseWriter.WriteHeader(status)
}

func (n *noted) Write(b []byte) (int, error) {
	n.begun = true
	return n.ResponseWriter.Write(b)
}

func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }
