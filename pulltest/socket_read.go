package pulltest

import (
	"io"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// read takes what the client sends until the connection ends.
func (c *socket) read(s *pushServer) {
	for {
		kind, data, err := c.ws.next()
		switch {
		case err == errFrame, err == errTooLarge:
			c.breach(err)
			return
		case err != nil:
			return
		case kind == websocket.PingMessage:
			if c.dialect.emptyPong {
				data = nil
			}
			c.takePing()
			c.out.push(outFrame{kind: websocket.PongMessage, data: data})
		case kind == websocket.PongMessage:
			c.pong()
		case kind == websocket.CloseMessage:
			c.answerClose(data)
			return
		case kind == websocket.TextMessage && c.dialect.checksText && !utf8.Valid(data):
			c.breach(errFrame)
			return
		case kind == websocket.BinaryMessage && c.dialect.textOnly:
			c.answerClose(nil)
			return
		case c.framing.take != nil:
			c.framing.take(c, s, kind, data)
		}
	}
}

func (c *socket) takePing() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.hub.stats.ClientPings++
	c.told(Event{Kind: Pinged, Client: true})
}

func (c *socket) pong() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.awaiting = 0
	c.pongs("")
	c.hub.noteOnline(c.channels)
}

// answerClose answers a client's close frame.
func (c *socket) answerClose(data []byte) {
	answer, ok := c.dialect.closeReply(data)
	if !ok {
		c.breach(errFrame)
		return
	}
	c.hub.mu.Lock()
	defer c.hub.unlock()
	if !c.closing {
		code, _ := closeCode(data)
		c.leave("client closed", code)
		c.push(outFrame{kind: websocket.CloseMessage, data: answer})
	}
}

// breach ends a connection whose client breaks the rules of websockets: as a
// rule without a word, and with a reset if a message is too long to be read;
// only that counts as a refused request.
func (c *socket) breach(err error) {
	if err == errTooLarge {
		c.hub.refuseRequest()
	}
	if c.dialect.protests {
		c.close(websocket.CloseProtocolError, "")
		io.Copy(io.Discard, c.ws.in)
		return
	}
	c.hub.mu.Lock()
	c.leave("protocol error", 0)
	c.hub.unlock()
	if err == errTooLarge {
		c.abort()
		return
	}
	c.hangUp()
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
	c.send([]*message{{answer: true, encoded: answer}}, false)
}

// answer sends what a client asked for; no data is no answer. The caller holds
// hub.mu.
func (c *socket) answer(kind int, data []byte) {
	if data != nil && !c.closing && !c.inHole() {
		c.push(outFrame{kind: kind, data: data})
	}
}
