package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/redact"
)

const (
	handshakeTimeout = 20 * time.Second
	// controlTimeout bounds the writing of a ping, a pong or a close frame to a
	// peer that does not read.
	controlTimeout = 500 * time.Millisecond
	// writeTimeout bounds the writing of a data frame.
	writeTimeout = 10 * time.Second
)

// Socket opens websockets.
type Socket struct {
	Dial   DialFunc
	Header http.Header
}

func (t *Socket) Open(ctx context.Context, at Address, sink Sink) (Conn, error) {
	var location string
	ws, answer, err := t.Dial(redact.KeepLocation(ctx, &location), at.URL, t.Header)
	if err != nil {
		return nil, at.refused(answer, location, err)
	}
	sink.Sent()
	c := &socketConn{at: at, ws: ws, ahead: aheadOf(ws.NetConn()), heartbeat: sink.Heartbeat, ctx: ctx}
	c.frame.at = at
	c.BeforeWaiting(func() {})
	context.AfterFunc(ctx, func() { c.Close(CloseNormal) })
	ws.SetPingHandler(func(payload string) error {
		err := c.control(websocket.PongMessage, []byte(payload))
		sink.Pinged()
		return err
	})
	ws.SetPongHandler(func(string) error {
		sink.Ponged()
		return nil
	})
	ws.SetCloseHandler(func(int, string) error { return nil }) // Next returns it; Close answers
	return c, nil
}

// refused makes the error of a handshake; the answer holds the server's reason,
// if it was one. Of a redirect that the HTTP client has met the location is
// told beside it.
func (at Address) refused(answer *http.Response, location string, err error) error {
	if answer == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return at.fail("connecting the websocket", err)
	}
	return at.refusal(answer, cmp.Or(location, answer.Header.Get("Location")))
}

// aheadOf is what is read ahead of a connection, also below TLS; nil where
// nothing is.
func aheadOf(c net.Conn) *aheadConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	ahead, _ := c.(*aheadConn)
	return ahead
}

type socketConn struct {
	at        Address
	ws        *websocket.Conn
	ahead     *aheadConn // nil: nothing is read ahead
	frame     socketFrame
	heartbeat func()
	once      sync.Once
	closing   atomic.Bool
	ctx       context.Context // that it was opened with

	writing sync.Mutex // of data frames, which take one writer at a time

	pendingMu sync.Mutex
	pending   []shortFrame // which reading must not wait for
	spare     []shortFrame // memory for the next
	frames    []byte       // memory for writing them; the writer's
}

// shortFrame is the text of a short frame, in two parts.
type shortFrame struct{ head, tail string }

// BeforeWaiting implements Busy. Confirmations are written then as well.
func (c *socketConn) BeforeWaiting(f func()) {
	if c.ahead != nil {
		c.ahead.waits = func() {
			_ = c.settle() // that this fails is told by reading, as with Received
			f()
		}
	}
}

func (c *socketConn) Next() (io.Reader, error) {
	for {
		kind, frame, err := c.ws.NextReader()
		if err != nil {
			return nil, c.at.broken(err)
		}
		f := &c.frame
		f.frame, f.head = frame, f.begin[:0]
		if !c.at.RPC || kind != websocket.TextMessage {
			return f, nil
		}
		n, err := io.ReadFull(frame, f.begin[:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, c.at.broken(err)
		}
		if f.head = f.begin[:n]; string(f.head) != textPing {
			return f, nil
		}
		if err := c.answerHeartbeat(); err != nil {
			return nil, c.at.broken(err)
		}
	}
}

// answerHeartbeat answers a sign of life.
func (c *socketConn) answerHeartbeat() error {
	c.heartbeat()
	return c.reply(shortFrame{head: textPong})
}

// Text frames of a JSON-RPC server and its clients that are no JSON.
const (
	textPing    = "ping"
	textPong    = "pong"
	textReceipt = "mack:"
)

// gathered is how many confirmations are written at once.
const gathered = 64

// Received confirms a message, together with those that come at about the same
// time. That this fails is told by reading, which fails as well.
func (c *socketConn) Received(id string) {
	if !c.at.RPC || id == "" {
		return
	}
	if n := c.enqueue(shortFrame{textReceipt, id}); c.ahead == nil || n >= gathered {
		_ = c.settled(n)
	}
}

// Send sends a text frame that may be long.
func (c *socketConn) Send(text []byte) error {
	c.writing.Lock()
	err := c.write(text)
	c.writing.Unlock()
	if err != nil {
		return c.at.fail("sending over the websocket", err)
	}
	_ = c.settle() // that this fails is told by reading, as with Received
	return nil
}

// maxOwed is how many short frames wait for a long one to be written. A server
// that is owed more waits as well.
const maxOwed = 1024

// reply sends a short frame. While a long one is being written it leaves that
// to its writer: what is read must not wait for what is sent.
func (c *socketConn) reply(f shortFrame) error { return c.settled(c.enqueue(f)) }

// enqueue has a short frame be written next, and returns how many are.
func (c *socketConn) enqueue(f shortFrame) int {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	c.pending = append(c.pending, f)
	return len(c.pending)
}

// settled is settle where so much is owed.
func (c *socketConn) settled(owed int) error {
	if owed > maxOwed {
		c.writing.Lock()
		defer c.writing.Unlock()
		return c.writeOwed()
	}
	return c.settle()
}

// settle writes what is owed, unless somebody else is writing, who does so
// afterwards.
func (c *socketConn) settle() error {
	for c.owes() && c.writing.TryLock() {
		err := c.writeOwed()
		c.writing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *socketConn) owes() bool {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	return len(c.pending) > 0
}

// writeOwed writes all that is owed, at once where that can be. The caller
// holds c.writing.
func (c *socketConn) writeOwed() error {
	c.pendingMu.Lock()
	owed := c.pending
	c.pending, c.spare = c.spare, nil
	c.pendingMu.Unlock()
	defer func() {
		clear(owed)
		c.pendingMu.Lock()
		defer c.pendingMu.Unlock()
		if c.spare == nil && cap(owed) <= maxOwed {
			c.spare = owed[:0]
		}
	}()
	if len(owed) == 1 || c.ahead == nil || c.ws.NetConn() != net.Conn(c.ahead) {
		for _, f := range owed {
			if err := c.write([]byte(f.head + f.tail)); err != nil {
				return err
			}
		}
		return nil
	}
	if c.closing.Load() {
		return websocket.ErrCloseSent
	}
	c.frames = c.frames[:0]
	for _, f := range owed {
		c.frames = appendText(c.frames, f.head, f.tail)
	}
	_, err := c.ahead.write(c.frames, time.Now().Add(writeTimeout))
	if cap(c.frames) > keptFrames {
		c.frames = nil
	}
	return err
}

// keptFrames is how much memory is kept for frames that are written at once.
const keptFrames = 8 << 10

// write sends a text frame. A peer that does not read loses the connection: the
// library takes no second try. The caller holds c.writing.
func (c *socketConn) write(text []byte) error {
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.ws.WriteMessage(websocket.TextMessage, text)
}

// socketFrame gives the errors within a frame our own types.
type socketFrame struct {
	at    Address
	frame io.Reader
	head  []byte // what of its beginning has been read already
	begin [len(textPing) + 1]byte
}

func (f *socketFrame) Read(p []byte) (int, error) {
	had := copy(p, f.head)
	f.head = f.head[had:]
	if had == len(p) {
		return had, nil
	}
	n, err := f.frame.Read(p[had:])
	if err != nil && err != io.EOF {
		err = f.at.broken(err)
	}
	return had + n, err
}

// broken is why a websocket ended.
func (at Address) broken(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return &CloseError{Code: closed.Code, Reason: at.reason([]byte(closed.Text))}
	}
	return at.fail("the websocket broke off", err)
}

func (c *socketConn) Ping() error { return c.control(websocket.PingMessage, nil) }

func (c *socketConn) control(kind int, payload []byte) error {
	return c.ws.WriteControl(kind, payload, time.Now().Add(controlTimeout))
}

func (c *socketConn) Close(code int) {
	c.once.Do(func() {
		c.closing.Store(true)
		_ = dial.Recover(c.ctx, "the end of a websocket", func() error {
			if err := c.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, "")); err != nil {
				closeRaw(c.ws.NetConn()) // a peer that does not read would keep TLS waiting to say goodbye
			}
			return c.ws.Close()
		})
	})
}

func closeRaw(c net.Conn) {
	if ahead, ok := c.(*aheadConn); ok {
		c = ahead.Conn
	}
	switch own := c.(type) {
	case *carriedConn:
		c = own.Conn
	case *boundedConn:
		c = own.Conn
	}
	c = dial.Encrypted(c)
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.Close()
}

// History reads the history by a websocket of its own, where there are
// no polls: its first frame is the whole of it. As a poll it is open when it is
// answered.
type History struct{ Socket }

func (t *History) Open(ctx context.Context, at Address, sink Sink) (Conn, error) {
	c, err := t.Socket.Open(ctx, at, sink)
	if err != nil {
		return nil, err
	}
	frame, err := c.Next()
	if err != nil {
		c.Close(CloseNormal)
		return nil, err
	}
	return &historyConn{Conn: c, at: at, frame: frame}, nil
}

type historyConn struct {
	Conn
	at    Address
	frame io.Reader
}

func (c *historyConn) Reject(start []byte, why error) error {
	return c.at.unbelieved(http.StatusSwitchingProtocols, nil, start, why)
}

func (c *historyConn) Next() (io.Reader, error) {
	frame := c.frame
	if frame == nil {
		return nil, io.EOF
	}
	c.frame = nil
	return frame, nil
}
