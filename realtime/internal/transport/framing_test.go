package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

func serverFrame(first byte, body string) []byte {
	switch n := len(body); {
	case n < 126:
		return append([]byte{first, byte(n)}, body...)
	case n < 1<<16:
		return append([]byte{first, 126, byte(n >> 8), byte(n)}, body...)
	default:
		return append([]byte{first, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
}

// TestFraming: however frames are cut, it is known where each ends.
func TestFraming(t *testing.T) {
	var stream []byte
	var ends []int
	add := func(frame []byte) {
		stream = append(stream, frame...)
		ends = append(ends, len(stream))
	}
	for _, size := range []int{0, 1, 125, 126, 1000, 65535, 65536, 70000} {
		add(serverFrame(0x82, strings.Repeat("x", size)))
		add(serverFrame(0x89, ""))
	}
	add([]byte{0x81, 0x80 | 2, 1, 2, 3, 4, 5, 6}) // masked
	add([]byte{0x81, 0x80, 1, 2, 3, 4})
	for _, step := range []int{1, 2, 3, 7, 64, 1000, 1 << 20} {
		var f framing
		var found []int
		at := 0
		for at < len(stream) {
			n := f.take(stream[at:min(at+step, len(stream))])
			if n == 0 {
				t.Fatalf("in steps of %d it stops at %d", step, at)
			}
			if at += n; f.between() {
				found = append(found, at)
			}
		}
		if !slices.Equal(found, ends) {
			t.Errorf("in steps of %d frames end at %v, want %v", step, found, ends)
		}
	}
}

// TestFraming_Huge: no length is cut short, also not one that no server sends.
func TestFraming_Huge(t *testing.T) {
	for _, length := range []uint64{1 << 31, 1<<32 | 1, 1<<40 | 2, 1<<63 | 3} {
		var f framing
		header := binary.BigEndian.AppendUint64([]byte{0x82, 127}, length)
		const more = 1000
		if n := f.take(append(header, make([]byte, more)...)); n != len(header)+more || f.between() || f.left != length-more {
			t.Errorf("a frame of %d bytes: takes %d, and there are to be %d more; between frames: %t", length, n, f.left, f.between())
		}
	}
}

// TestShortFrameIn: the frame is whole, final, as long as its second byte says and
// not masked. What follows it makes no difference.
func TestShortFrameIn(t *testing.T) {
	rest := strings.Repeat("r", 300)
	for _, tt := range []struct {
		name  string
		bytes []byte
		size  int // of the payload; -1: it is none
	}{
		{"nothing", nil, -1},
		{"half a header", []byte{0x89}, -1},
		{"empty", []byte{0x89, 0}, 0},
		{"short", []byte("\x89\x02pp" + rest), 2},
		{"the longest", []byte("\x89\x7d" + rest), 125},
		{"not whole", []byte("\x89\x03pp"), -1},
		{"two bytes of length", []byte("\x89\x7e\x00\x7e" + rest), -1},
		{"eight bytes of length", []byte("\x89\x7f\x00\x00\x00\x00\x00\x00\x00\x01" + rest), -1},
		{"masked", []byte("\x89\x81maskp" + rest), -1},
		{"masked and empty", []byte("\x89\x80mask" + rest), -1},
		{"a part", []byte("\x09\x01p" + rest), -1},
		{"a reserved bit", []byte("\xc9\x01p" + rest), -1},
	} {
		kind, payload, ok := shortFrameIn(tt.bytes)
		if ok != (tt.size >= 0) || ok && (kind != websocket.PingMessage || string(payload) != string(tt.bytes[2:2+tt.size])) {
			t.Errorf("%s: kind %d, %q, %t", tt.name, kind, payload, ok)
		}
	}
}

// noted is a sink that notes in which order things come.
type noted struct{ log []string }

func (n *noted) Sent()      {}
func (n *noted) Pinged()    { n.log = append(n.log, "ping") }
func (n *noted) Ponged()    { n.log = append(n.log, "pong") }
func (n *noted) Heartbeat() { n.log = append(n.log, "heartbeat") }

// TestAwait: what comes between messages is handled while they are waited for,
// in its order, however it is cut, and the library is handed the rest; a
// connection over which nothing more comes is quiet.
func TestAwait(t *testing.T) {
	long := strings.Repeat("y", 3000)
	stream := slices.Concat(
		serverFrame(0x89, "p1"), serverFrame(0x81, "a"), serverFrame(0x8a, ""), serverFrame(0x81, "ping"),
		serverFrame(0x01, "b"), serverFrame(0x89, "p2"), serverFrame(0x80, "c"), // a ping within a message
		serverFrame(0x82, long), serverFrame(0x89, strings.Repeat("z", 125)), serverFrame(0x89, ""), serverFrame(0x81, "d"),
	)
	want := []string{"ping", "a", "pong", "heartbeat", "ping", "bc", long, "ping", "ping", "d"}
	for _, secure := range []bool{false, true} {
		for _, step := range []int{1, 2, 3, 50, 64, 65, 1 << 20} {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				for part := range slices.Chunk(stream, step) {
					_, _ = ws.NetConn().Write(part)
				}
				for {
					if _, _, err := ws.NextReader(); err != nil {
						return
					}
				}
			}))
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			sink := new(noted)
			socket := Socket{Dial: DialOver(OwnClient(server.Client()))}
			c, err := socket.Open(t.Context(), Address{URL: strings.Replace(server.URL, "http", "ws", 1), RPC: true}, sink)
			if err != nil {
				t.Fatal(err)
			}
			patient := c.(Patient)
			for len(sink.log) < len(want) {
				if !patient.Await() {
					continue
				}
				frame, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(frame)
				if err != nil {
					t.Fatal(err)
				}
				sink.log = append(sink.log, string(text))
			}
			if !slices.Equal(sink.log, want) {
				t.Errorf("secure %v, in steps of %d: %.40q", secure, step, sink.log)
			}
			if !patient.Quiet() || c.(*socketConn).ahead.mem != nil {
				t.Errorf("secure %v, in steps of %d: it is not quiet at the end, or holds a buffer", secure, step)
			}
			c.Close(CloseNormal)
			server.Close()
		}
	}
}

// TestAwait_End: the end of a connection is Next's affair.
func TestAwait_End(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4010, "over"))
		_ = ws.Close()
	}))
	defer server.Close()
	socket := Socket{Dial: DialOver(OwnClient(server.Client()))}
	c, err := socket.Open(t.Context(), Address{URL: strings.Replace(server.URL, "http", "ws", 1)}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(CloseNormal)
	if !c.(Patient).Await() {
		t.Error("a close frame is taken for none of Next's")
	}
	var closed *CloseError
	if _, err := c.Next(); !errors.As(err, &closed) || closed.Code != 4010 {
		t.Errorf("Next: %v", err)
	}
}
