package pulltest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeSize is how many bytes one direction of a connection holds before its
// writer blocks.
const pipeSize = 256 << 10

// memConn is one end of a connection of a Network.
type memConn struct {
	network       *Network
	in, out       *pipe
	local, remote memAddr
}

func (c *memConn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *memConn) Write(b []byte) (int, error) {
	n, err := c.out.write(b, c.network.delay())
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close lets the peer read what was written and then io.EOF. As over TCP, the
// peer's next write goes nowhere, and those after it fail.
func (c *memConn) Close() error {
	c.out.closeWrite(c.network.delay())
	if !c.in.closeRead() {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite ends this direction only.
func (c *memConn) CloseWrite() error {
	c.out.closeWrite(c.network.delay())
	return nil
}

// abort resets both directions: bytes under way are lost, both ends fail. Its
// own writes fail first: whoever sees a read fail could write an answer yet.
func (c *memConn) abort() {
	c.out.reset()
	c.in.reset()
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

func (c *memConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: networkName, Source: c.local, Addr: c.remote, Err: err}
}

// pipe is one direction of a connection.
type pipe struct {
	mu      sync.Mutex
	changed sync.Cond

	chunks  []chunk
	size    int
	last    time.Time // when the newest chunk arrives
	arrival *time.Timer

	writeClosed bool
	eofAt       time.Time
	readClosed  bool
	refused     bool // the writer was told, by one write that went nowhere, that nobody reads
	broken      bool

	readBy, writeBy deadline
}

type chunk struct {
	data []byte
	at   time.Time
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func newPipe() *pipe {
	p := new(pipe)
	p.changed.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.readClosed:
			return 0, net.ErrClosed
		case p.broken:
			return 0, errReset
		case p.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		now := time.Now()
		if n := p.take(b, now); n > 0 {
			p.changed.Broadcast()
			return n, nil
		}
		switch {
		case len(p.chunks) > 0:
			p.wakeIn(p.chunks[0].at.Sub(now))
		case p.writeClosed && !now.Before(p.eofAt):
			return 0, io.EOF
		case p.writeClosed:
			p.wakeIn(p.eofAt.Sub(now))
		}
		p.changed.Wait()
	}
}

// take moves what has arrived by now into b.
func (p *pipe) take(b []byte, now time.Time) int {
	n := 0
	for n < len(b) && len(p.chunks) > 0 && !now.Before(p.chunks[0].at) {
		c := &p.chunks[0]
		m := copy(b[n:], c.data)
		n += m
		if c.data = c.data[m:]; len(c.data) == 0 {
			p.chunks = p.chunks[1:]
		}
	}
	p.size -= n
	return n
}

func (p *pipe) write(b []byte, latency time.Duration) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for {
		switch {
		case p.writeClosed:
			return n, net.ErrClosed
		case p.broken:
			return n, errReset
		case p.readClosed && p.refused:
			return n, errBrokenPipe
		case p.readClosed:
			p.refused = true
			return len(b), nil
		case p.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		}
		if m := min(len(b)-n, pipeSize-p.size); m > 0 {
			p.chunks = append(p.chunks, chunk{data: append([]byte(nil), b[n:n+m]...), at: p.arrives(latency)})
			p.size += m
			n += m
			p.changed.Broadcast()
		}
		if n == len(b) {
			return n, nil
		}
		p.changed.Wait()
	}
}

// arrives says when what is sent now arrives: never before what was sent
// earlier.
func (p *pipe) arrives(latency time.Duration) time.Time {
	if at := time.Now().Add(latency); at.After(p.last) {
		p.last = at
	}
	return p.last
}

func (p *pipe) closeWrite(latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writeClosed {
		return
	}
	p.writeClosed, p.eofAt = true, p.arrives(latency)
	p.writeBy.stop()
	p.changed.Broadcast()
}

// closeRead drops what was not read. It reports whether it was still open.
func (p *pipe) closeRead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readClosed {
		return false
	}
	p.readClosed = true
	p.drop()
	p.readBy.stop()
	return true
}

func (p *pipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.drop()
}

func (p *pipe) drop() {
	p.chunks, p.size = nil, 0
	if p.arrival != nil {
		p.arrival.Stop()
	}
	p.changed.Broadcast()
}

func (p *pipe) setDeadline(d *deadline, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, p.wake)
	}
	p.changed.Broadcast()
}

func (p *pipe) wakeIn(d time.Duration) {
	if p.arrival == nil {
		p.arrival = time.AfterFunc(d, p.wake)
		return
	}
	p.arrival.Reset(d)
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}
