package transport

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
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
	c := &socketConn{at: at, ws: ws, heartbeat: sink.Heartbeat, ctx: ctx}
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

type socketConn struct {
	at        Address
	ws        *websocket.Conn
	heartbeat func()
	once      sync.Once
	ctx       context.Context // that it was opened with

	writing sync.Mutex // of data frames, which take one writer at a time

	owing sync.Mutex
	owed  []string // short frames, which reading must not wait for
}

func (c *socketConn) Next() (io.Reader, error) {
	for {
		kind, frame, err := c.ws.NextReader()
		if err != nil {
			return nil, c.at.broken(err)
		}
		if !c.at.RPC || kind != websocket.TextMessage {
			return &socketFrame{c.at, frame}, nil
		}
		head := make([]byte, len(textPing)+1)
		n, err := io.ReadFull(frame, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, c.at.broken(err)
		}
		if string(head[:n]) != textPing {
			return &socketFrame{c.at, io.MultiReader(bytes.NewReader(head[:n]), frame)}, nil
		}
		c.heartbeat()
		if err := c.reply(textPong); err != nil {
			return nil, c.at.broken(err)
		}
	}
}

// Text frames of a JSON-RPC server and its clients that are no JSON.
const (
	textPing    = "ping"
	textPong    = "pong"
	textReceipt = "mack:"
)

// Received confirms a message. That this fails is told by reading, which fails
// as well.
func (c *socketConn) Received(id string) {
	if c.at.RPC && id != "" {
		_ = c.reply(textReceipt + id)
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
func (c *socketConn) reply(text string) error {
	c.owing.Lock()
	c.owed = append(c.owed, text)
	many := len(c.owed) > maxOwed
	c.owing.Unlock()
	if many {
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
	c.owing.Lock()
	defer c.owing.Unlock()
	return len(c.owed) > 0
}

// writeOwed writes all that is owed. The caller holds c.writing.
func (c *socketConn) writeOwed() error {
	c.owing.Lock()
	owed := c.owed
	c.owed = nil
	c.owing.Unlock()
	for _, text := range owed {
		if err := c.write([]byte(text)); err != nil {
			return err
		}
	}
	return nil
}

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
}

func (f *socketFrame) Read(p []byte) (int, error) {
	n, err := f.frame.Read(p)
	if err != nil && err != io.EOF {
		err = f.at.broken(err)
	}
	return n, err
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
		_ = dial.Recover(c.ctx, "the end of a websocket", func() error {
			if err := c.control(websocket.CloseMessage, websocket.FormatCloseMessage(code, "")); err != nil {
				closeRaw(c.ws.NetConn()) // a peer that does not read would keep TLS waiting to say goodbye
			}
			return c.ws.Close()
		})
	})
}

func closeRaw(c net.Conn) {
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
