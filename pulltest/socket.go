package pulltest

import (
	"io"
	"net/http"
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
	hub      *hub
	ws       *websocket.Conn
	raw      *serverConn
	channels []channelID
	binary   bool
	out      *outbox

	// guarded by hub.mu
	closing   bool
	awaiting  bool // the pong
	gathering *time.Timer
	gathered  []*message
	handover  *time.Timer
}

var upgrader = websocket.Upgrader{
	CheckOrigin: func(*http.Request) bool { return true },
}

// serveSocket upgrades the request and serves the websocket until it ends.
// Without mid it is registered before the client can see the 101.
func (s *pushServer) serveSocket(w http.ResponseWriter, r *http.Request, channels []channelID, mid string) {
	query := r.URL.Query()
	c := &socket{
		hub:      s.hub,
		raw:      rawConn(r),
		channels: channels,
		binary:   query.Get("binaryMode") == "true",
		out:      newOutbox(),
	}
	if !c.open(mid == "") {
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
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	if mid != "" {
		c.replay(mid, s.opts.handover)
	}
	c.read(s)
	c.detach()
	c.out.end()
	linger := time.AfterFunc(closeWait, c.raw.abort)
	<-written
	linger.Stop()
}

func (c *socket) open(register bool) bool {
	h := c.hub
	h.mu.Lock()
	defer h.unlock()
	if h.closed {
		return false
	}
	h.stats.WebSockets++
	h.sockets[c] = struct{}{}
	if register {
		h.register(c, c.channels)
	}
	return true
}

// replay reads the history, and a moment later sends it and registers the
// websocket: what is published in between is not sent.
func (c *socket) replay(mid string, handover time.Duration) {
	h := c.hub
	h.mu.Lock()
	defer h.unlock()
	if c.closing {
		return
	}
	missed := h.after(mid, c.channels)
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
	c.hub.register(c, c.channels)
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
	c.hub.unregister(c)
	c.stopGathering()
	if c.handover != nil {
		c.handover.Stop()
	}
}

func (c *socket) deliver(m *message) {
	c.send([]*message{m})
}

// send sends at once, or gathers while the previous frame is less than the
// gathering time ago. Nothing is sent while a pong is awaited.
func (c *socket) send(messages []*message) {
	switch {
	case c.closing:
	case c.awaiting:
		c.hub.stats.DroppedByPing += len(messages)
	case c.gathering != nil:
		c.gathered = append(c.gathered, messages...)
	default:
		c.hub.stats.Sent += len(messages)
		c.push(outFrame{messages: messages})
		c.startGathering()
	}
}

func (c *socket) startGathering() {
	if c.hub.gather <= 0 {
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

// ping asks for a pong, or drops the connection that owes one since the last ping.
func (c *socket) ping() {
	h := c.hub
	switch {
	case c.closing:
	case c.awaiting:
		h.stats.PingTimeouts++
		c.leave()
		h.doomed = append(h.doomed, c.raw.hangUp)
	default:
		h.stats.DroppedByPing += c.stopGathering()
		h.stats.Pings++
		c.awaiting = true
		c.push(outFrame{kind: websocket.PingMessage})
	}
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
		kind, data := f.kind, f.data
		if f.messages != nil {
			kind, data = c.encode(f.messages)
		}
		if err := c.ws.WriteMessage(kind, data); err != nil {
			c.raw.abort()
			return
		}
		if kind == websocket.CloseMessage {
			c.ws.SetReadDeadline(time.Now().Add(closeWait))
			return
		}
	}
}

func (c *socket) encode(messages []*message) (kind int, data []byte) {
	if c.binary {
		return websocket.BinaryMessage, binaryFrame(messages)
	}
	return websocket.TextMessage, textFrame(messages, time.Now())
}

// read takes what the client sends until the connection ends.
func (c *socket) read(s *pushServer) {
	c.ws.SetPingHandler(func(data string) error {
		c.out.push(outFrame{kind: websocket.PongMessage, data: []byte(data)})
		return nil
	})
	c.ws.SetPongHandler(func(string) error {
		c.hub.mu.Lock()
		defer c.hub.unlock()
		c.awaiting = false
		return nil
	})
	c.ws.SetCloseHandler(func(code int, _ string) error {
		c.close(code, "")
		return nil
	})
	for {
		_, reader, err := c.ws.NextReader()
		if err != nil {
			return
		}
		data, err := io.ReadAll(io.LimitReader(reader, maxRequest+1))
		if err != nil {
			return
		}
		if len(data) > maxRequest {
			c.close(websocket.CloseMessageTooBig, "")
			io.Copy(io.Discard, reader) // closing with unread bytes would reset the connection
			continue
		}
		if c.binary {
			c.handle(s, data)
		}
	}
}

// handle executes a client's RequestBatch. Success is answered only where
// there is something to say.
func (c *socket) handle(s *pushServer, data []byte) {
	c.hub.mu.Lock()
	closing := c.closing
	c.hub.mu.Unlock()
	if closing {
		return
	}
	call, refused := s.prepare(data, clientOf(c.channels))
	if refused != nil {
		c.close(refused.code, refused.Error())
		return
	}
	answer := call.run()
	if !call.answers {
		return
	}
	c.hub.mu.Lock()
	defer c.hub.unlock()
	if !c.closing && !c.awaiting {
		c.push(outFrame{kind: websocket.BinaryMessage, data: answer})
	}
}
