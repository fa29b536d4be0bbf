package pulltest

import (
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxRequest is the size of the largest frame or body a client may send.
	maxRequest = 1 << 20
	// closeWait is how long a client may take to answer a close frame.
	closeWait = 5 * time.Second
)

// socket is one websocket of a subscriber.
type socket struct {
	connection
	ws   *wsConn
	out  *outbox
	gone chan struct{} // closed when nothing more comes from the client

	// guarded by hub.mu
	closing    bool
	doomed     bool         // to be cut
	awaiting   int          // pongs
	textPinged bool         // and the pong is missing
	watched    map[int]bool // users whose changes of status it is told
	gathering  *time.Timer
	gathered   []*message
	handover   *time.Timer
	pinging    *time.Timer
}

// serveSocket upgrades the request and serves the websocket until it ends.
// If it asks for no history it is registered before the client can see the 101.
func (s *pushServer) serveSocket(w http.ResponseWriter, r *http.Request, sub subscription) {
	c := &socket{
		connection: connection{subscription: sub, hub: s.hub, raw: rawConn(r), transport: overWebSocket},
		out:        newOutbox(),
		gone:       make(chan struct{}),
	}
	if !c.open() {
		reset(w, r)
		return
	}
	defer c.detach()
	ws, err := s.dialect.upgrade(w, r)
	if err != nil {
		c.end("upgrade failed")
		s.hub.count(func(st *Stats) { st.WebSockets-- })
		return
	}
	defer ws.Close()
	noteOf(r).answered(s.hub.observer, http.StatusSwitchingProtocols)
	ws.ignore = c.framing.take == nil
	if !c.upgraded(ws) {
		c.abort()
		return
	}
	ws.idle.watch(s.opts.idleTimeout, c.idle)
	defer ws.idle.unwatch()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	switch {
	case c.refused != nil:
		c.close(c.refused.code, c.refused.Error())
	case c.from.asksHistory():
		c.replay()
	}
	c.keepPinging(s.opts.pingInterval)
	c.read(s)
	close(c.gone)
	c.detach()
	c.out.end()
	linger := time.AfterFunc(closeWait, c.abort)
	<-written
	linger.Stop()
}

func (c *socket) open() bool {
	h := c.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed || h.down > 0 {
		return false
	}
	h.stats.WebSockets++
	h.sockets[c] = struct{}{}
	c.enters()
	h.arrive(c.client.user)
	c.process = h.deal()
	if !c.from.asksHistory() {
		c.hub.register(c.process, c, c.channels)
	}
	return true
}

// replay reads the history, and a moment later sends it and registers the
// websocket: what is published in between is not sent.
func (c *socket) replay() {
	h := c.hub
	h.mu.Lock()
	defer h.unlock()
	if c.closing {
		return
	}
	missed := c.dialect.history(h, c.from, c.channels)
	if !h.hasHole(missed) {
		c.join(missed)
		return
	}
	c.handover = time.AfterFunc(h.handover, func() {
		h.mu.Lock()
		defer h.unlock()
		if !c.closing {
			c.join(missed)
		}
	})
}

func (c *socket) join(missed []*message) {
	if len(missed) > 0 {
		c.hub.stats.Replayed += len(missed)
		c.send(missed, true)
	}
	c.hub.register(c.process, c, c.channels)
}

func (c *socket) deliver(m *message) {
	c.send([]*message{m}, false)
}

// send sends at once, or gathers while the previous frame is less than the
// gathering time ago. In the hole of a ping nothing is sent, though a gathering
// goes on that has begun before.
func (c *socket) send(messages []*message, history bool) {
	switch {
	case c.closing:
	case c.gathering != nil:
		c.gathered = append(c.gathered, messages...)
	case c.inHole():
		c.hub.stats.DroppedByPing += heard(messages)
	default:
		c.hub.stats.Sent += heard(messages)
		c.sends(messages, history)
		c.push(outFrame{messages: messages, history: history})
		c.startGathering()
	}
}

// heard counts the messages among what is sent.
func heard(messages []*message) int {
	n := 0
	for _, m := range messages {
		if !m.answer {
			n++
		}
	}
	return n
}

func (c *socket) inHole() bool { return c.dialect.pingHole && c.awaiting > 0 }

// startGathering gathers for a while, or until the next tick. What was gathered
// is dropped if a pong is missing then.
func (c *socket) startGathering() {
	wait := c.hub.gather
	if wait <= 0 || c.framing.single {
		return
	}
	if c.dialect.ticks {
		wait -= time.Since(c.hub.began) % wait
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		c.hub.mu.Lock()
		defer c.hub.unlock()
		if c.gathering != timer {
			return
		}
		messages := c.gathered
		c.gathering, c.gathered = nil, nil
		switch {
		case len(messages) == 0:
		case c.inHole():
			c.hub.stats.DroppedByPing += heard(messages)
		default:
			c.hub.stats.Sent += heard(messages)
			c.sends(messages, false)
			c.push(outFrame{messages: messages})
		}
	})
	c.gathering = timer
}

func (c *socket) stopGathering() (dropped int) {
	dropped = heard(c.gathered)
	if c.gathering != nil {
		c.gathering.Stop()
	}
	c.gathering, c.gathered = nil, nil
	return dropped
}

// push queues a frame; a client too slow to take it is cut.
func (c *socket) push(f outFrame) {
	if !c.out.push(f) {
		c.leave("too slow", 0)
		c.hub.doomed = append(c.hub.doomed, c.aborting())
	}
}

// ping asks for a pong, or drops the connection that owes too many.
func (c *socket) ping() {
	h := c.hub
	switch {
	case c.closing, h.faults.is(WebSockets, stalled):
	case c.dialect.patience > 0 && c.awaiting >= c.dialect.patience:
		c.drop()
	default:
		if c.dialect.pingHole && h.hostile {
			h.stats.DroppedByPing += c.stopGathering()
		}
		h.stats.Pings++
		c.pings("")
		c.awaiting++
		c.push(outFrame{kind: websocket.PingMessage, data: []byte(c.dialect.pingPayload)})
	}
}

// keepPinging pings the websocket at an interval of its own; 0 is never.
func (c *socket) keepPinging(every time.Duration) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	if every <= 0 || c.closing {
		return
	}
	c.pinging = time.AfterFunc(every, func() {
		c.hub.mu.Lock()
		defer c.hub.unlock()
		if c.ping(); !c.closing {
			c.pinging.Reset(every)
		}
	})
}

// upgraded notes that there is a websocket now. It reports false if the
// connection has been cut already.
func (c *socket) upgraded(ws *wsConn) bool {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.ws = ws
	return !c.doomed
}

// write is the only place that writes to the websocket.
func (c *socket) write() {
	for {
		f, ok := c.out.next()
		if !ok {
			return
		}
		if !c.hub.faults.unstalled(WebSockets, c.gone) {
			c.abort()
			return
		}
		if err := c.writeFrame(f); err != nil {
			c.abort()
			return
		}
		if f.kind == websocket.CloseMessage {
			c.ws.SetReadDeadline(time.Now().Add(closeWait))
			return
		}
	}
}

func (c *socket) writeFrame(f outFrame) error {
	if f.messages == nil {
		return c.ws.write(f.kind, f.data)
	}
	size := len(f.messages)
	if c.framing.single {
		size = 1
	}
	faults := &c.hub.faults
	for part := range slices.Chunk(f.messages, size) {
		part = faults.garble(WebSockets, part)
		var frame []byte
		if c.framing.apart && !f.history {
			for i := range part {
				frame = append(frame, c.framing.encode(part[i:i+1], c.hub.clock.now())...)
			}
		} else {
			frame = c.framing.encode(part, c.hub.clock.now())
		}
		if err := c.ws.write(c.framing.kind, faults.garbleFrame(WebSockets, frame)); err != nil {
			return err
		}
	}
	return nil
}
