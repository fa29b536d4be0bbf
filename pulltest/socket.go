package pulltest

import (
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxRequest is the size of the largest frame or body a client may send.
	maxRequest = 1 << 20
	// closeWait is how long a closed websocket may take to say goodbye.
	closeWait = 5 * time.Second
)

// socket is one websocket of a subscriber.
type socket struct {
	subscription
	hub     *hub
	process *subscribing
	ws      *websocket.Conn
	raw     *serverConn
	out     *outbox
	gone    chan struct{} // closed when nothing more comes from the client

	// guarded by hub.mu
	closing    bool
	awaiting   int          // pongs
	textPinged bool         // and the pong is missing
	watched    map[int]bool // users whose changes of status it is told
	gathering  *time.Timer
	gathered   []*message
	handover   *time.Timer
}

var upgrader = websocket.Upgrader{
	CheckOrigin: func(*http.Request) bool { return true },
}

// serveSocket upgrades the request and serves the websocket until it ends.
// If it asks for no history it is registered before the client can see the 101.
func (s *pushServer) serveSocket(w http.ResponseWriter, r *http.Request, sub subscription) {
	c := &socket{
		subscription: sub,
		hub:          s.hub,
		raw:          rawConn(r),
		out:          newOutbox(),
		gone:         make(chan struct{}),
	}
	if !c.open() {
		c.raw.abort()
		return
	}
	defer c.detach()
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.hub.count(func(st *Stats) { st.WebSockets-- })
		return
	}
	defer ws.Close()
	c.ws = ws
	c.raw.watchIdle(s.opts.idleTimeout, func() { s.hub.count(func(st *Stats) { st.IdleCuts++ }) })
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	switch {
	case c.refused != nil:
		c.close(c.refused.code, c.refused.Error())
	case c.from.asksHistory():
		c.replay(s.opts.handover)
	}
	c.read(s)
	close(c.gone)
	c.detach()
	c.out.end()
	linger := time.AfterFunc(closeWait, c.raw.abort)
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
	h.arrive(c.client.user)
	c.process = h.deal()
	if !c.from.asksHistory() {
		c.process.register(c, c.channels)
	}
	return true
}

// replay reads the history, and a moment later sends it and registers the
// websocket: what is published in between is not sent.
func (c *socket) replay(handover time.Duration) {
	h := c.hub
	h.mu.Lock()
	defer h.unlock()
	if c.closing {
		return
	}
	missed := c.dialect.history(h, c.from, c.channels)
	if handover <= 0 {
		c.join(missed)
		return
	}
	c.handover = time.AfterFunc(handover, func() {
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
		c.send(missed)
	}
	c.process.register(c, c.channels)
}

func (c *socket) detach() {
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.leave()
	delete(c.hub.sockets, c)
}

// leave ends all sending of messages. The caller holds hub.mu.
func (c *socket) leave() {
	if c.closing {
		return
	}
	c.closing = true
	c.hub.depart(c.client.user, c.hub.clock.now())
	c.process.unregister(c)
	c.stopGathering()
	if c.handover != nil {
		c.handover.Stop()
	}
}

func (c *socket) deliver(m *message) {
	c.send([]*message{m})
}

// send sends at once, or gathers while the previous frame is less than the
// gathering time ago. Nothing is sent in the hole of a ping.
func (c *socket) send(messages []*message) {
	switch {
	case c.closing:
	case c.inHole():
		c.hub.stats.DroppedByPing += len(messages)
	case c.gathering != nil:
		c.gathered = append(c.gathered, messages...)
	default:
		c.hub.stats.Sent += len(messages)
		c.push(outFrame{messages: messages})
		c.startGathering()
	}
}

func (c *socket) inHole() bool { return c.dialect.pingHole && c.awaiting > 0 }

func (c *socket) startGathering() {
	if c.hub.gather <= 0 || c.framing.single {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(c.hub.gather, func() {
		c.hub.mu.Lock()
		defer c.hub.unlock()
		if c.gathering != timer {
			return
		}
		messages := c.gathered
		c.gathering, c.gathered = nil, nil
		if len(messages) > 0 {
			c.hub.stats.Sent += len(messages)
			c.push(outFrame{messages: messages})
		}
	})
	c.gathering = timer
}

func (c *socket) stopGathering() (dropped int) {
	dropped = len(c.gathered)
	if c.gathering != nil {
		c.gathering.Stop()
	}
	c.gathering, c.gathered = nil, nil
	return dropped
}

// push queues a frame; a client too slow to take it is cut.
func (c *socket) push(f outFrame) {
	if !c.out.push(f) {
		c.leave()
		c.hub.doomed = append(c.hub.doomed, c.raw.abort)
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
		if c.dialect.pingHole {
			h.stats.DroppedByPing += c.stopGathering()
		}
		h.stats.Pings++
		c.awaiting++
		c.push(outFrame{kind: websocket.PingMessage})
	}
}

// drop ends a connection that owes a pong. The caller holds hub.mu.
func (c *socket) drop() {
	c.hub.stats.PingTimeouts++
	c.leave()
	c.hub.doomed = append(c.hub.doomed, c.raw.hangUp)
}

// shut sends a close frame after what is queued. The caller holds hub.mu.
func (c *socket) shut(code int, reason string) {
	if c.closing {
		return
	}
	c.leave()
	c.push(outFrame{kind: websocket.CloseMessage, data: websocket.FormatCloseMessage(code, reason)})
}

func (c *socket) close(code int, reason string) {
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.shut(code, reason)
}

func (c *socket) evict() {
	c.hub.stats.Evicted++
	e := errTooManyConnections
	c.shut(e.code, e.Error())
}

// write is the only place that writes to the websocket.
func (c *socket) write() {
	for {
		f, ok := c.out.next()
		if !ok {
			return
		}
		if !c.hub.faults.unstalled(WebSockets, c.gone) {
			c.raw.abort()
			return
		}
		if err := c.writeFrame(f); err != nil {
			c.raw.abort()
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
		return c.ws.WriteMessage(f.kind, f.data)
	}
	size := len(f.messages)
	if c.framing.single {
		size = 1
	}
	faults := &c.hub.faults
	for part := range slices.Chunk(f.messages, size) {
		frame := c.framing.encode(faults.garble(WebSockets, part), c.hub.clock.now())
		if err := c.ws.WriteMessage(c.framing.kind, faults.garbleFrame(WebSockets, frame)); err != nil {
			return err
		}
	}
	return nil
}

// read takes what the client sends until the connection ends.
func (c *socket) read(s *pushServer) {
	c.ws.SetPingHandler(func(data string) error {
		if c.dialect.emptyPong {
			data = ""
		}
		c.hub.count(func(st *Stats) { st.ClientPings++ })
		c.out.push(outFrame{kind: websocket.PongMessage, data: []byte(data)})
		return nil
	})
	c.ws.SetPongHandler(func(string) error {
		c.hub.mu.Lock()
		defer c.hub.unlock()
		c.awaiting = 0
		return nil
	})
	c.ws.SetCloseHandler(func(code int, _ string) error {
		c.close(code, "")
		return nil
	})
	for {
		kind, reader, err := c.ws.NextReader()
		if err != nil {
			return
		}
		data, err := io.ReadAll(io.LimitReader(reader, maxRequest+1))
		if err != nil {
			return
		}
		switch {
		case len(data) > maxRequest && c.dialect.publicIDs:
			c.hub.refuseRequest()
			c.raw.abort()
			return
		case c.framing.take != nil:
			c.framing.take(c, s, kind, data)
		default:
			io.Copy(io.Discard, reader)
		}
	}
}

// takeBatch executes a client's RequestBatch. Success is answered only where
// there is something to say. What a client sends behind a refused request is
// executed like any other, until the connection has ended.
func (c *socket) takeBatch(s *pushServer, kind int, data []byte) {
	if kind != websocket.BinaryMessage {
		data = nil // text is no batch, whatever it says
	}
	call, refused := s.prepare(data, c.client)
	if refused != nil {
		c.hub.refuseRequest()
		c.close(refused.code, refused.Error())
		return
	}
	answer := call.run()
	if !call.answers {
		return
	}
	c.hub.mu.Lock()
	defer c.hub.unlock()
	c.answer(websocket.BinaryMessage, answer)
}

// answer sends what a client asked for; no data is no answer. The caller holds
// hub.mu.
func (c *socket) answer(kind int, data []byte) {
	if data != nil && !c.closing && !c.inHole() {
		c.push(outFrame{kind: kind, data: data})
	}
}
