package pulltest

import (
	"time"

	"github.com/gorilla/websocket"
)

func (c *socket) detach() {
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.leave("client closed", 0)
	delete(c.hub.sockets, c)
}

// leave ends all sending of messages, for a reason that the first caller has.
// The caller holds hub.mu.
func (c *socket) leave(reason string, code int) {
	if c.closing {
		return
	}
	c.closing = true
	c.leaves(reason, code)
	c.hub.depart(c.client.user, c.hub.clock.now())
	c.process.unregister(c)
	c.stopGathering()
	for _, t := range []*time.Timer{c.handover, c.pinging} {
		if t != nil {
			t.Stop()
		}
	}
}

// end is leave for a caller that does not hold hub.mu.
func (c *socket) end(reason string) {
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.leave(reason, 0)
}

// shut sends a close frame after what is queued. The caller holds hub.mu.
func (c *socket) shut(code int, reason string) {
	if c.closing {
		return
	}
	c.leave("close frame", code)
	c.push(outFrame{kind: websocket.CloseMessage, data: websocket.FormatCloseMessage(code, reason)})
}

func (c *socket) close(code int, reason string) {
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.shut(code, reason)
}

func (c *socket) evict() {
	if c.closing {
		return
	}
	c.hub.stats.Evicted++
	e := errTooManyConnections
	c.leaves("evicted", e.code)
	c.shut(e.code, e.Error())
}

// drop ends a connection that owes a pong. The caller holds hub.mu.
func (c *socket) drop() {
	c.hub.stats.PingTimeouts++
	c.leave("ping timeout", 0)
	c.doomed = true
	c.hub.doomed = append(c.hub.doomed, c.hangUp)
}

// abort resets the connection. Whoever holds hub.mu calls aborting.
func (c *socket) abort() { c.aborting()() }

func (c *socket) aborting() (abortNow func()) {
	raw, ws := c.raw, c.ws
	return func() {
		raw.abort()
		if ws != nil {
			abort(ws.Conn)
		}
	}
}

// hangUp ends the connection without a close frame; what was sent still arrives.
func (c *socket) hangUp() {
	if c.raw != nil {
		c.raw.hangUp()
		return
	}
	c.hub.mu.Lock()
	ws := c.ws
	c.hub.mu.Unlock()
	if ws != nil { // else upgraded ends it
		ws.Close()
	}
}

// idle ends the connection for the middle box.
func (c *socket) idle() {
	c.hub.count(func(st *Stats) { st.IdleCuts++ })
	c.end("idle")
	c.hangUp()
}
