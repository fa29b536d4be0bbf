package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// countedConn counts what reaches the network.
type countedConn struct {
	net.Conn
	reads, writes *atomic.Int32
}

func (c countedConn) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestAhead_Burst: a burst of frames is read in few system calls, and all that
// it owes is written in few. When it is over no buffer is held.
func TestAhead_Burst(t *testing.T) {
	const frames, size = 500, 500
	payload := bytes.Repeat([]byte("x"), size)
	receipts, sent := make(chan string, frames), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		var burst []byte
		for range frames {
			burst = append(burst, 0x81, 126, size>>8, size&0xff)
			burst = append(burst, payload...)
		}
		_, _ = ws.NetConn().Write(burst)
		close(sent)
		for {
			_, text, err := ws.ReadMessage()
			if err != nil {
				return
			}
			receipts <- string(text)
		}
	}))
	defer server.Close()
	var reads, writes atomic.Int32
	dialer := &websocket.Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return countedConn{c, &reads, &writes}, err
	}}
	socket := Socket{Dial: DialWith(dialer)}
	conn, err := socket.Open(t.Context(), Address{URL: strings.Replace(server.URL, "http", "ws", 1), RPC: true}, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(CloseNormal)
	<-sent
	reads.Store(0)
	writes.Store(0)
	waited := 0
	conn.(Busy).BeforeWaiting(func() { waited++ })
	for i := range frames {
		frame, err := conn.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(frame); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
		}
		conn.Received(fmt.Sprint(i))
	}
	go conn.Next() // nothing more comes: what is owed is written before it is waited for
	for i := range frames {
		select {
		case text := <-receipts:
			if want := fmt.Sprint("mack:", i); text != want {
				t.Fatalf("confirmed %q, want %q", text, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("the server was sent %d confirmations of %d", i, frames)
		}
	}
	if n, most := reads.Load(), int32(frames*size/(16<<10)+10); n > most {
		t.Errorf("%d reads for %d bytes, want %d at the most", n, frames*size, most)
	}
	if n, most := writes.Load(), int32(frames/gathered+waited+1); n > most || int(n) > frames/4 {
		t.Errorf("%d writes for %d confirmations, want %d at the most", n, frames, most)
	}
}

// TestAhead_Rest: a connection holds a buffer only while it is busy, and loses
// nothing between.
func TestAhead_Rest(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	c := newAheadConn(near)
	text := strings.Repeat("0123456789", 2000)
	go func() {
		for _, size := range []int{100, 5000, 5000, 5000, 4900} { // a pipe gives what is read of a write
			_, _ = far.Write([]byte(text[:size]))
		}
		far.Close()
	}()
	held, p := false, make([]byte, 512)
	var got int
	for {
		n, err := c.Read(p)
		if string(p[:n]) != expected(got, n) {
			t.Fatalf("read %q at %d", p[:n], got)
		}
		got += n
		held = held || c.mem != nil
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != 20_000 || !held || c.mem != nil {
		t.Errorf("read %d bytes of 20,000, held a buffer: %v, holds one at the end: %v", got, held, c.mem != nil)
	}
}

// expected is what stands in the text at a place: each write begins with 0 and
// ends with 9.
func expected(at, n int) string {
	const digits = "0123456789"
	return strings.Repeat(digits, n/10+2)[at%10 : at%10+n]
}

// TestAhead_LateTurn: a control frame does not wait for what is being written
// to a peer that does not read, but for its own time.
func TestAhead_LateTurn(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	c := newAheadConn(near)
	stuck := make(chan error)
	go func() {
		_, err := c.write([]byte("confirmations"), time.Time{})
		stuck <- err
	}()
	for len(c.turn) == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := c.Write([]byte("close")); n != 0 || !strings.Contains(fmt.Sprint(err), "timeout") {
		t.Errorf("wrote %d bytes, %v, want a timeout", n, err)
	}
	near.Close()
	if err := <-stuck; err == nil {
		t.Error("what was written to nobody was written")
	}
}

// TestAhead_TLSSetsDeadlines: TLS over a connection sets its deadline while
// something else is being written: the answer to an update of keys, or the
// goodbye. (This is for the race detector.)
func TestAhead_TLSSetsDeadlines(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	c := newAheadConn(near)
	set := make(chan struct{})
	go func() {
		defer close(set)
		for range 100 {
			_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		}
	}()
	for range 100 {
		if _, err := c.Write([]byte("an answer")); err != nil {
			t.Fatal(err)
		}
	}
	<-set
}

// TestAhead_RestBetweenFrames: the end of a frame is not taken for more that
// has come.
func TestAhead_RestBetweenFrames(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := newAheadConn(near)
	c.framed = true
	const size = 100
	go func() {
		_, _ = far.Write([]byte{0x82, size})
		_, _ = far.Write(make([]byte, size))
	}()
	p := make([]byte, 2*size)
	if _, err := io.ReadFull(c, p[:2]); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(p); n != size || err != nil {
		t.Fatal(n, err)
	}
	if c.busy {
		t.Error("an idle connection is taken for a busy one")
	}
}
