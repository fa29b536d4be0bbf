package pulltest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
)

// Cut resets every open connection of subscribers, websockets and long polls,
// without a close frame, and returns how many. What was under way is lost. It
// returns an error if there are connections that it cannot get at and that are
// still open: long polls that a handler has passed on without the context of
// their requests and with a ResponseWriter that cannot be hijacked.
func (p *Portal) Cut() (int, error) {
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	sockets := h.cutSockets("cut")
	polls, hidden := h.cutPolls("cut")
	return sockets + polls, errHidden("Cut", hidden)
}

// CutWebSockets is [Portal.Cut] for websockets only.
func (p *Portal) CutWebSockets() (int, error) {
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	return h.cutSockets("cut"), nil
}

// CutPolls is [Portal.Cut] for long polls only.
func (p *Portal) CutPolls() (int, error) {
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	n, hidden := h.cutPolls("cut")
	return n, errHidden("CutPolls", hidden)
}

// errHidden tells of polls that could not be cut; nil if there are none.
func errHidden(what string, n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("pulltest: %s: %d long polls cannot be cut: a handler before the portal's hides their connections; pass on the context of each request, or a ResponseWriter that can be hijacked", what, n)
}

// maxCloseReason is how long the reason of a close frame can be.
const maxCloseReason = 123

// CloseWebSockets sends every websocket a close frame and returns how many.
// What the push server had gathered for them is not sent. It returns an error,
// and closes none, if the reason is longer than 123 bytes, which no close frame
// can hold.
func (p *Portal) CloseWebSockets(code int, reason string) (int, error) {
	if len(reason) > maxCloseReason {
		return 0, fmt.Errorf("pulltest: CloseWebSockets: the reason has %d bytes, and a close frame holds no more than %d", len(reason), maxCloseReason)
	}
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	n := 0
	for c := range h.sockets {
		if !c.closing {
			c.shut(code, reason)
			n++
		}
	}
	return n, nil
}

// cutSockets cuts the websockets. The caller holds h.mu.
func (h *hub) cutSockets(reason string) int {
	n := len(h.sockets)
	for c := range h.sockets {
		c.leave(reason, 0)
		c.doomed = true
		h.doomed = append(h.doomed, c.aborting())
	}
	clear(h.sockets)
	return n
}

// cutPolls cuts the polls, but for those that it cannot get at. The caller
// holds h.mu.
func (h *hub) cutPolls(reason string) (n, hidden int) {
	for p := range h.polls {
		if p.hidden && !h.closed {
			if !p.done {
				hidden++
			}
			continue
		}
		n++
		p.leaves(reason, 0)
		p.done = true
		p.process.unregister(p)
		delete(h.polls, p)
		h.doomed = append(h.doomed, p.raw.abort, func() { p.cancel(errCut) })
	}
	return n, hidden
}

// hiddenPolls counts the open polls that cannot be cut. The caller holds h.mu.
func (h *hub) hiddenPolls() int {
	n := 0
	for p := range h.polls {
		if p.hidden && !p.done {
			n++
		}
	}
	return n
}

// errCut is why a poll has ended that was cut.
var errCut = errors.New("pulltest: cut")

// reset ends a request without an answer, whoever has accepted its connection.
func reset(w http.ResponseWriter, r *http.Request) {
	noteOf(r).unanswered = true
	if c := rawConn(r); c != nil {
		c.abort()
		return
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		abort(conn)
		return
	}
	panic(http.ErrAbortHandler)
}

// abort resets a connection, of whatever kind it is.
func abort(conn net.Conn) {
	defer conn.Close()
	for inner := conn; ; {
		switch c := inner.(type) {
		case *serverConn:
			c.abort()
			return
		case *memConn:
			c.abort()
			return
		case *net.TCPConn:
			c.SetLinger(0)
			c.Close()
			return
		case interface{ NetConn() net.Conn }:
			inner = c.NetConn()
		default:
			return
		}
	}
}

// canHijack reports whether the connection behind w can be taken over.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch inner := w.(type) {
		case *notedWriter:
			w = inner.ResponseWriter
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = inner.Unwrap()
		default:
			return false
		}
	}
}
