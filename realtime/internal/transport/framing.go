package transport

import "github.com/gorilla/websocket"

// A framing follows what is read of a websocket, to know where each frame ends.
type framing struct {
	seen    int    // bytes of the header; 0: between frames
	more    int    // bytes of the header behind the first two
	length  int    // of these, bytes of the length
	left    uint64 // bytes of the body, as far as the header has been read
	ongoing bool   // the header has been read
}

// between reports whether a frame is to begin.
func (f *framing) between() bool { return f.seen == 0 }

// take returns how many of the bytes belong to one frame.
func (f *framing) take(p []byte) (n int) {
	for n < len(p) {
		if f.ongoing {
			size := int(min(f.left, uint64(len(p)-n)))
			n += size
			if f.left -= uint64(size); f.left == 0 {
				*f = framing{}
			}
			return n
		}
		f.header(p[n])
		n++
		if f.seen >= 2 && f.seen == 2+f.more {
			if f.ongoing = f.left > 0; !f.ongoing {
				*f = framing{}
				return n
			}
		}
	}
	return n
}

// header takes a byte of the header.
func (f *framing) header(b byte) {
	const (
		masked     = 0x80
		maskSize   = 4
		mediumSize = 126
		largeSize  = 127
	)
	switch {
	case f.seen == 1:
		switch size := b &^ masked; size {
		case mediumSize:
			f.length = 2
		case largeSize:
			f.length = 8
		default:
			f.left = uint64(size)
		}
		f.more = f.length
		if b&masked != 0 {
			f.more += maskSize
		}
	case f.seen > 1 && f.seen < 2+f.length:
		f.left = f.left<<8 | uint64(b)
	}
	f.seen++
}

// shortFrameIn returns the frame that begins with b, if it is one of a server's,
// a short one, and there as a whole. ok is false of any other, also of one that
// is against the protocol.
func shortFrameIn(b []byte) (kind int, payload []byte, ok bool) {
	const (
		final    = 0x80
		opcode   = 0x0f
		maxShort = 125
	)
	if len(b) < 2 || b[0]&^opcode != final || b[1] > maxShort || len(b) < 2+int(b[1]) {
		return 0, nil, false
	}
	return int(b[0] & opcode), b[2 : 2+int(b[1])], true
}

// Quiet implements Patient.
func (c *socketConn) Quiet() bool {
	a := c.ahead
	return a != nil && a.framed && a.frames.between() && len(a.buf) == 0 && a.err == nil
}

// Await implements Patient. The library waits for the next frame while it
// handles a ping, so what comes between two messages of a quiet connection is
// handled here.
func (c *socketConn) Await() bool {
	if c.Quiet() {
		c.ahead.fill()
	}
	return c.arrived()
}

// arrived handles what Await has waited for, unless that is for Next.
func (c *socketConn) arrived() bool {
	a := c.ahead
	if a == nil || !a.framed || !a.frames.between() {
		return true
	}
	kind, payload, ok := shortFrameIn(a.buf)
	if !ok || !c.handled(kind, payload) {
		return len(a.buf) > 0 || a.err != nil
	}
	return false
}

// handled handles a frame that is no message.
func (c *socketConn) handled(kind int, payload []byte) bool {
	var err error
	switch {
	case kind == websocket.PingMessage:
		err = c.ws.PingHandler()(string(payload))
	case kind == websocket.PongMessage:
		err = c.ws.PongHandler()(string(payload))
	case kind == websocket.TextMessage && c.at.RPC && string(payload) == textPing:
		err = c.answerHeartbeat()
	default:
		return false
	}
	c.ahead.skip(2 + len(payload))
	if err != nil { // it is the end, as it would be in the library
		c.ahead.buf, c.ahead.err = nil, err
	}
	return true
}
