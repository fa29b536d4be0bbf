package pulltest_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// frameOf is one frame of a client as it is on the wire.
func frameOf(first byte, masked bool, data []byte) []byte {
	b, m := []byte{first}, byte(0)
	if masked {
		m = 0x80
	}
	switch n := len(data); {
	case n < 126:
		b = append(b, m|byte(n))
	case n < 1<<16:
		b = append(b, m|126, byte(n>>8), byte(n))
	default:
		b = append(b, m|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, data...)
}

func closing(code int, reason string) []byte {
	return frameOf(0x88, true, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

const (
	dropped = "dropped"
	goesOn  = "goes on"
	refused = "1002"
)

// TestGolden_BadFrames: what a real server does with frames that break the rules
// of websockets, and with close frames; of version 4 with binaryMode and without
// it, where they differ.
func TestGolden_BadFrames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		frame     []byte
		v4, text4 string
		v3        string
		nginx     string
	}{
		{name: "close 1000", frame: closing(1000, ""), v4: "1000", v3: "1000", nginx: dropped},
		{name: "close with a reason", frame: closing(1000, "bye"), v4: "1000 bye", v3: "1000 bye", nginx: dropped},
		{name: "close 3001", frame: closing(3001, "channel expired"), v4: "3001 channel expired", v3: "3001 channel expired", nginx: dropped},
		{name: "close without a code", frame: frameOf(0x88, true, nil), v4: "1005", v3: "1000", nginx: "1005"},
		{name: "close 999", frame: closing(999, ""), v4: dropped, v3: refused},
		{name: "close 1005", frame: closing(1005, ""), v4: dropped, v3: refused},
		{name: "close 1006", frame: closing(1006, ""), v4: dropped, v3: refused},
		{name: "close 5000", frame: closing(5000, ""), v4: dropped, v3: refused},
		{name: "close of one byte", frame: frameOf(0x88, true, []byte{3}), v4: dropped, v3: refused},
		{name: "close with no UTF-8", frame: closing(1000, "\xff\xfe"), v4: dropped, v3: "1000 \ufffd\ufffd"},
		{name: "continuation of nothing", frame: frameOf(0x80, true, []byte("a")), v4: dropped, v3: refused},
		{name: "without a mask", frame: frameOf(0x82, false, []byte("a")), v4: "4013 " + wrongData, text4: goesOn, v3: goesOn},
		{name: "text without a mask", frame: frameOf(0x81, false, []byte("a")), v4: "4013 " + wrongData, text4: goesOn, v3: goesOn, nginx: goesOn},
		{name: "RSV1", frame: frameOf(0xc2, true, []byte("a")), v4: dropped, v3: refused},
		{name: "opcode 3", frame: frameOf(0x83, true, []byte("a")), v4: dropped, v3: refused},
		{name: "ping of 126 bytes", frame: frameOf(0x89, true, bytes.Repeat([]byte("a"), 126)), v4: dropped, v3: refused},
		{name: "ping in parts", frame: frameOf(0x09, true, []byte("a")), v4: dropped, v3: refused},
		{name: "text of no UTF-8", frame: frameOf(0x81, true, []byte{0xff, 0xfe}), v4: dropped, v3: goesOn},
		{name: "1 MiB", frame: frameOf(0x81, true, bytes.Repeat([]byte("a"), 1<<20)), v4: "4013 " + wrongData, text4: goesOn, v3: goesOn, nginx: goesOn},
		{name: "more than 1 MiB", frame: frameOf(0x82, true, bytes.Repeat([]byte("a"), 1<<20+1)), v4: dropped, v3: goesOn},
		{name: "more than 1 MiB in parts", frame: append(frameOf(0x01, true, bytes.Repeat([]byte("a"), 600<<10)), frameOf(0x80, true, bytes.Repeat([]byte("a"), 600<<10))...), v4: dropped, v3: goesOn},
		{name: "binary", frame: frameOf(0x82, true, []byte("a")), v4: "4013 " + wrongData, text4: goesOn, v3: goesOn, nginx: "1005"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.text4 == "" {
				tt.text4 = tt.v4
			}
			for _, end := range []struct {
				version int
				mode    string
				want    string
			}{{4, "true", tt.v4}, {4, "", tt.text4}, {3, "", tt.v3}, {1, "", tt.nginx}} {
				if end.want == "" {
					continue
				}
				inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
					ws := connectAs(t, p, "binaryMode", end.mode)
					defer ws.Close()
					ws.NetConn().Write(tt.frame)
					if got := endOf(ws); got != end.want {
						t.Errorf("version %d, binaryMode %q: %s, a real server: %s", end.version, end.mode, got, end.want)
					}
					tooLarge := end.want == dropped && len(tt.frame) > 1<<20
					if n := p.Stats().RefusedRequests; (n > 0) != (tooLarge || strings.HasPrefix(end.want, "40")) {
						t.Errorf("version %d, binaryMode %q: %s, and %d refused requests are counted", end.version, end.mode, end.want, n)
					}
				}, pulltest.WithVersion(end.version))
			}
		})
	}
}

// endOf is how a websocket ends within two seconds.
func endOf(ws *websocket.Conn) string {
	ws.SetCloseHandler(func(int, string) error { return nil })
	ws.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _, err := ws.ReadMessage()
	var closed *websocket.CloseError
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return goesOn
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		return strings.TrimSpace(fmt.Sprint(closed.Code, " ", closed.Text))
	default:
		return dropped
	}
}

// TestGolden_Handshake: how much a real server of version 4 asks of a handshake.
func TestGolden_Handshake(t *testing.T) {
	tests := []struct {
		name, header, value string
		status              int
	}{
		{"a short key", "Sec-Websocket-Key", "abc", 101},
		{"no key", "Sec-Websocket-Key", "", 400},
		{"version 8", "Sec-Websocket-Version", "8", 101},
		{"version 12", "Sec-Websocket-Version", "12", 400},
		{"another protocol", "Upgrade", "foo", 400},
		{"subprotocols", "Sec-Websocket-Protocol", "chat, superchat", 101},
		{"an origin", "Origin", "https://evil.example", 101},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ofVersion(t, []int{3, 4}, func(t *testing.T, p *pulltest.Portal) {
				req, err := http.NewRequest(http.MethodGet, p.PushURL()+"/sub/"+readConfig(t, p).query(), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{
					"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
					"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Version": {"13"},
				}
				if req.Header.Set(tt.header, tt.value); tt.value == "" {
					req.Header.Del(tt.header)
				}
				resp, err := p.HTTPClient().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				protocol := ""
				if tt.header == "Sec-Websocket-Protocol" {
					protocol = "chat"
				}
				if got := resp.Header.Get("Sec-Websocket-Protocol"); resp.StatusCode != tt.status || got != protocol {
					t.Errorf("%d, protocol %q", resp.StatusCode, got)
				}
				if tt.status == 400 && (resp.Header.Get("Content-Type") != "text/html" || !resp.Close) {
					t.Errorf("refused with %v, closed %v", resp.Header, resp.Close)
				}
			})
		})
	}
}
