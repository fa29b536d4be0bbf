package transport

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// FuzzAwait: whatever a server sends, and however it is cut, a connection that
// is waited for outside of the library says the same as one that the library
// reads alone.
func FuzzAwait(f *testing.F) {
	ping, text := serverFrame(0x89, "p"), serverFrame(0x81, "text")
	for _, stream := range [][]byte{
		slices.Concat(ping, text, serverFrame(0x81, "ping"), text, serverFrame(0x88, "\x03\xe8over")),
		slices.Concat(serverFrame(0x01, "a"), ping, serverFrame(0x81, "ping"), text), // one message in another
		slices.Concat(serverFrame(0x01, "a"), ping, serverFrame(0x80, "b"), text),
		slices.Concat(ping, serverFrame(0x09, "a part of a ping"), text),
		slices.Concat(ping, serverFrame(0xc9, "reserved"), text),
		slices.Concat(ping, serverFrame(0xc1, "compressed"), text),
		slices.Concat(ping, serverFrame(0x89, strings.Repeat("long", 40)), text),
		slices.Concat(ping, []byte{0x89, 0x81, 1, 2, 3, 4, 5}, text), // masked
		slices.Concat(ping, serverFrame(0x83, "of no kind"), text),
		slices.Concat(ping, serverFrame(0x80, "the end of nothing"), text),
		slices.Concat(ping, []byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, text),
		slices.Concat(ping, []byte{0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, text),
		slices.Concat(ping, []byte{0x82, 126, 0}),
		slices.Concat(serverFrame(0x82, strings.Repeat("x", 70000)), ping, ping[:1]),
		slices.Concat(serverFrame(0x82, strings.Repeat(string(ping), 1000)), ping, text, serverFrame(0x82, strings.Repeat("x", most+1)), ping),
	} {
		for _, step := range []uint16{1, 3, 64, 1000} {
			f.Add(stream, step)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		alone := said(t, &scriptedConn{stream: stream, step: int(step)}, false)
		if waited := said(t, &scriptedConn{stream: stream, step: int(step)}, true); !slices.Equal(waited, alone) {
			t.Errorf("it says %.200q, and to the library alone %.200q", waited, alone)
		}
	})
}

// TestAwait_Unanswered: a ping that cannot be answered is the end of a connection,
// also of what has come behind it.
func TestAwait_Unanswered(t *testing.T) {
	for _, ping := range [][]byte{serverFrame(0x89, "p"), serverFrame(0x81, "ping")} {
		stream := slices.Concat(serverFrame(0x81, "text"), ping, serverFrame(0x81, "behind"))
		for _, step := range []int{1, 1000} {
			for _, framed := range []bool{false, true} {
				got := said(t, &scriptedConn{stream: stream, step: step, refuses: true}, framed)
				if !slices.Contains(got, "text") || slices.Contains(got, "behind") || !strings.Contains(got[len(got)-2], errRefused.Error()) {
					t.Errorf("framed %t, in steps of %d: %q", framed, step, got)
				}
			}
		}
	}
}

var errRefused = errors.New("this takes no more")

// most is how much of a message is read.
const most = 1000

// said is what a connection tells of what a server sends.
func said(t *testing.T, server *scriptedConn, framed bool) []string {
	sink := new(noted)
	server.step = max(server.step, 1)
	socket := Socket{Dial: func(ctx context.Context, address string, header http.Header) (*websocket.Conn, *http.Response, error) {
		ahead := newAheadConn(server)
		d := websocket.Dialer{ReadBufferSize: frameBuffer, NetDialContext: func(context.Context, string, string) (net.Conn, error) { return ahead, nil }}
		ws, answer, err := d.DialContext(ctx, address, header)
		ahead.framed = framed
		return ws, answer, err
	}}
	c, err := socket.Open(t.Context(), Address{URL: "ws://push.test", RPC: true}, sink)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(CloseNormal)
	for {
		if framed && !c.(Patient).Await() {
			continue
		}
		frame, err := c.Next()
		if err == nil {
			var text []byte
			text, err = io.ReadAll(io.LimitReader(frame, most)) // a garbled one is left
			sink.log = append(sink.log, string(text))
		}
		if err != nil {
			return append(sink.log, err.Error(), fmt.Sprint(server.wrote))
		}
	}
}

// A scriptedConn accepts a websocket, sends what it is to in steps, and ends.
type scriptedConn struct {
	answer, stream []byte
	step           int
	refuses        bool // what the client sends after its request
	wrote          int  // bytes of that
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	_, key, request := bytes.Cut(p, []byte("Sec-WebSocket-Key: "))
	if !request {
		if c.refuses {
			return 0, errRefused
		}
		c.wrote += len(p)
		return len(p), nil
	}
	key, _, _ = bytes.Cut(key, []byte("\r\n"))
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	c.answer = fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	return len(p), nil
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	from := &c.answer
	if len(*from) == 0 {
		if from = &c.stream; len(*from) == 0 {
			return 0, io.EOF
		}
		p = p[:min(len(p), c.step)]
	}
	n := copy(p, *from)
	*from = (*from)[n:]
	return n, nil
}

func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (c *scriptedConn) RemoteAddr() net.Addr             { return new(net.TCPAddr) }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
