package transport

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// aheadSize is how much is read at once while a connection is busy.
const aheadSize = 64 << 10

// aheads are the buffers of connections that are busy.
var aheads = sync.Pool{New: func() any { return new([aheadSize]byte) }}

// aheadSmall is how much is read at once while it is idle: a ping, or the
// beginning of a frame.
const aheadSmall = 64

// An aheadConn reads ahead what has come already, so that a busy connection
// takes few system calls, and an idle one no memory. One that has filled what
// it was to be read into is taken for busy.
//
// Where it is framed, what is read at once ends with a frame of the websocket:
// whoever reads it holds nothing of the next one, and it is known here whether
// that has begun.
//
// Several frames of a websocket can be written over it at once, beside its
// library.
type aheadConn struct {
	net.Conn
	waits func() // called before a read that may wait; may be nil

	mem    *[aheadSize]byte // nil while it is idle
	small  [aheadSmall]byte
	buf    []byte // what has not been given, of either
	err    error  // behind it
	busy   bool
	framed bool // all that follows are frames
	frames framing

	mu       sync.Mutex // of deadline
	deadline time.Time  // of the next Write

	turn chan struct{} // held by the one who writes, whose is
	set  time.Time     // the deadline of the connection
}

func newAheadConn(c net.Conn) *aheadConn {
	return &aheadConn{Conn: c, turn: make(chan struct{}, 1)}
}

func (c *aheadConn) Read(p []byte) (n int, err error) {
	if len(c.buf) == 0 && c.err == nil {
		if into := c.direct(p); into != nil {
			c.wait()
			n, err = c.Conn.Read(into)
			c.busy = n == len(p) && err == nil // the end of a frame fills into, and p not
			if c.framed {
				c.frames.take(into[:n])
			}
			return n, err
		}
		c.fill()
	}
	if len(c.buf) > 0 {
		return c.give(p), nil
	}
	err, c.err = c.err, nil
	return 0, err
}

// direct is what of p is to be read into; nil: it is to be read ahead.
func (c *aheadConn) direct(p []byte) []byte {
	switch {
	case c.busy && len(p) < aheadSize:
		return nil
	case !c.framed:
		return p
	case !c.frames.ongoing:
		return nil
	}
	return p[:min(uint64(len(p)), c.frames.left)]
}

// wait is called before a read that may wait.
func (c *aheadConn) wait() {
	if c.waits != nil {
		c.waits()
	}
	if !c.busy {
		c.rest()
	}
}

// fill reads ahead. It takes little of a stack, in which idle connections wait.
func (c *aheadConn) fill() {
	c.wait()
	into := c.small[:]
	if c.busy {
		if c.mem == nil {
			c.mem = aheads.Get().(*[aheadSize]byte)
		}
		into = c.mem[:]
	}
	n, err := c.Conn.Read(into)
	c.buf, c.err = into[:n], err
	c.busy = n == len(into) // or else this may be all for now
}

// give hands over what was read ahead.
func (c *aheadConn) give(p []byte) int {
	n := copy(p, c.buf)
	if c.framed {
		n = c.frames.take(p[:n])
	}
	c.skip(n)
	return n
}

// skip takes away what was read ahead.
func (c *aheadConn) skip(n int) {
	c.buf = c.buf[n:]
	if len(c.buf) == 0 && !c.busy {
		c.rest()
	}
}

// rest gives the buffer back.
func (c *aheadConn) rest() {
	if c.mem != nil {
		aheads.Put(c.mem)
		c.mem = nil
	}
}

// SetWriteDeadline sets the deadline of the next Write.
func (c *aheadConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

// Write takes the whole of a frame, or of a part of a message.
func (c *aheadConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	return c.write(p, deadline)
}

func (c *aheadConn) write(p []byte, deadline time.Time) (int, error) {
	if !c.take(deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-c.turn }()
	if deadline != c.set { // not while the handshake is made, which has none
		_ = c.Conn.SetWriteDeadline(deadline)
		c.set = deadline
	}
	return c.Conn.Write(p)
}

// take waits for the turn to write; not longer than to the deadline.
func (c *aheadConn) take(deadline time.Time) bool {
	select {
	case c.turn <- struct{}{}:
		return true
	default:
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case c.turn <- struct{}{}:
		return true
	case <-late:
		return false
	}
}

// appendText appends a frame as a client writes it, with a short text in two
// parts.
func appendText(b []byte, head, tail string) []byte {
	const (
		final      = 0x80
		text       = 0x01
		masked     = 0x80
		maxShort   = 125
		mediumSize = 126
	)
	b = append(b, final|text)
	if n := len(head) + len(tail); n <= maxShort {
		b = append(b, masked|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, masked|mediumSize), uint16(n))
	}
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32())
	b = append(b, mask[:]...)
	begun := len(b)
	b = append(append(b, head...), tail...)
	for i := range b[begun:] {
		b[begun+i] ^= mask[i%len(mask)]
	}
	return b
}
