package pulltest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// errFrame is a frame that breaks the rules of websockets.
var (
	errFrame    = errors.New("pulltest: a client's websocket frame breaks the protocol")
	errTooLarge = errors.New("pulltest: a client's websocket message is too large")
)

const continuation = 0

// wsConn is the server's end of a websocket. It takes what real push servers
// take, such as frames without a mask, and leaves it to the dialect what a frame
// that breaks the rules comes to.
type wsConn struct {
	net.Conn
	in     *bufio.Reader
	idle   idleWatch
	limit  int  // bytes of one message; 0: any number
	ignore bool // without a limit, what messages of the client say is thrown away

	kind    int // of the message that is being read, 0 if none is
	message []byte
	size    int
}

// upgrades reports whether a request asks for another protocol.
func upgrades(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && slices.ContainsFunc(r.Header.Values("Connection"), func(list string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(name string) bool {
			return strings.EqualFold(strings.TrimSpace(name), "upgrade")
		})
	})
}

// wellFormed reports whether an upgrade is one to a websocket. Of a key real
// servers only ask that there is one.
func wellFormed(r *http.Request) bool {
	version := r.Header.Get("Sec-WebSocket-Version")
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Sec-WebSocket-Key") != "" &&
		(version == "13" || version == "8")
}

// upgrade answers 101 and takes the connection over.
func (d *dialect) upgrade(w http.ResponseWriter, r *http.Request) (*wsConn, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\n" + d.upgradeHead + "Connection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if name, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); name != "" && d.subprotocols && headerSafe(name) {
		head += "Sec-WebSocket-Protocol: " + name + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	return &wsConn{Conn: conn, in: buffered.Reader, limit: d.maxFrame}, nil
}

func headerSafe(value string) bool { return !strings.ContainsAny(value, "\r\n") }

// next returns the next whole message, or control frame, of the client.
func (c *wsConn) next() (kind int, data []byte, err error) {
	for {
		final, kind, size, mask, err := c.head()
		if err != nil {
			return 0, nil, err
		}
		if kind >= websocket.CloseMessage {
			data, err := c.payload(nil, size, mask)
			return kind, data, err
		}
		if kind != continuation {
			c.kind, c.message, c.size = kind, nil, 0
		}
		if c.size += size; c.limit > 0 && c.size > c.limit {
			return 0, nil, errTooLarge
		}
		if c.ignore && c.limit == 0 {
			_, err = c.in.Discard(size)
		} else {
			c.message, err = c.payload(c.message, size, mask)
		}
		if err != nil {
			return 0, nil, err
		}
		if final {
			kind, data = c.kind, c.message
			c.kind, c.message = 0, nil
			return kind, data, nil
		}
	}
}

// head reads the head of a frame.
func (c *wsConn) head() (final bool, kind, size int, mask []byte, err error) {
	var b [8]byte
	if _, err = io.ReadFull(c.in, b[:2]); err != nil {
		return
	}
	final, kind, size = b[0]&0x80 != 0, int(b[0]&0x0f), int(b[1]&0x7f)
	masked, control := b[1]&0x80 != 0, kind >= websocket.CloseMessage
	switch {
	case b[0]&0x70 != 0, kind > websocket.PongMessage, kind > websocket.BinaryMessage && !control,
		control && (!final || size > 125), kind == continuation && c.kind == 0, !control && kind != continuation && c.kind != 0:
		return final, kind, size, nil, errFrame
	case size == 126:
		if _, err = io.ReadFull(c.in, b[:2]); err != nil {
			return
		}
		size = int(binary.BigEndian.Uint16(b[:2]))
	case size == 127:
		if _, err = io.ReadFull(c.in, b[:8]); err != nil {
			return
		}
		n := binary.BigEndian.Uint64(b[:8])
		if n > 1<<30 {
			return final, kind, size, nil, errTooLarge
		}
		size = int(n)
	}
	if masked {
		mask = make([]byte, 4)
		_, err = io.ReadFull(c.in, mask)
	}
	return
}

// payload appends what a frame holds.
func (c *wsConn) payload(to []byte, size int, mask []byte) ([]byte, error) {
	start := len(to)
	to = slices.Grow(to, size)[:start+size]
	if _, err := io.ReadFull(c.in, to[start:]); err != nil {
		return nil, err
	}
	if mask != nil {
		for i := range to[start:] {
			to[start+i] ^= mask[i&3]
		}
	}
	return to, nil
}

// write sends one frame.
func (c *wsConn) write(kind int, data []byte) error {
	b := make([]byte, 0, len(data)+10)
	b = append(b, 0x80|byte(kind))
	switch n := len(data); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	c.idle.written()
	_, err := c.Conn.Write(append(b, data...))
	return err
}

// closeCode is the code of a close frame, 0 if it has none; ok reports whether
// the frame is one that may be sent.
func closeCode(data []byte) (code int, ok bool) {
	if len(data) < 2 {
		return 0, len(data) == 0
	}
	code = int(binary.BigEndian.Uint16(data))
	return code, code >= 3000 && code <= 4999 || code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006
}

// How push servers answer a client's close frame: strictly and with what it
// says, or with nothing at all to one that has a code, as nginx does.

func strictCloseReply(data []byte) (answer []byte, ok bool) {
	code, ok := closeCode(data)
	return data, ok && (code == 0 || utf8.Valid(data[2:]))
}

func textCloseReply(data []byte) (answer []byte, ok bool) {
	code, ok := closeCode(data)
	if !ok || code == 0 {
		return websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), ok
	}
	return websocket.FormatCloseMessage(code, string([]rune(string(data[2:])))), true
}

func nginxCloseReply(data []byte) (answer []byte, ok bool) { return nil, len(data) == 0 }
