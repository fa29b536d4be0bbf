package dial

import (
	"crypto/tls"
	"net"
	"os"
	"sync"
	"time"
)

// A Conn gives nothing to its reader, while it is shut, before something has
// been written. It is shut at first, and when a TLS handshake over it is done.
type Conn struct {
	net.Conn

	mu       sync.Mutex
	shut     bool
	closed   bool
	deadline time.Time     // of reads
	changed  chan struct{} // closed when one of these changes while a read waits; nil: none waits
	records  records
}

// shutAgain is told that a TLS handshake is done.
func (c *Conn) shutAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut, c.records = true, records{}
}

// Read waits while the connection is shut.
func (c *Conn) Read(p []byte) (int, error) {
	most, err := c.opened(len(p))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p[:most])
	c.count(p[:n])
	return n, err
}

// opened waits until the connection is not shut, and returns how much a read may
// take at most.
func (c *Conn) opened(wanted int) (most int, err error) {
	for {
		changed, late, most, err := c.look(wanted)
		if err != nil || changed == nil {
			return most, err
		}
		select {
		case <-changed:
		case <-late:
		}
	}
}

// look tells a read how much it may take at most, or what to wait for.
func (c *Conn) look(wanted int) (changed chan struct{}, late <-chan time.Time, most int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.shut || wanted == 0:
		return nil, nil, c.records.most(wanted), nil
	case c.closed:
		return nil, nil, 0, net.ErrClosed
	case !c.deadline.IsZero():
		left := time.Until(c.deadline)
		if left <= 0 {
			return nil, nil, 0, os.ErrDeadlineExceeded
		}
		late = time.After(left)
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed, late, 0, nil
}

func (c *Conn) count(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records.count(p)
}

// change changes something that reads wait for.
func (c *Conn) change(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Write lets reads go on. They do not wait until it is done: a server may answer
// before it has been sent all of a request.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) > 0 {
		c.change(func() {
			c.shut = false
			c.records.follow(p)
		})
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.change(func() { c.closed = true })
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.change(func() { c.deadline = t })
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.change(func() { c.deadline = t })
	return c.Conn.SetReadDeadline(t)
}

// Abort closes a connection over which nothing has been asked. TLS would say
// goodbye, and what is written lets reads go on.
func Abort(c net.Conn) {
	for t, ok := c.(*tls.Conn); ok; t, ok = c.(*tls.Conn) {
		c = t.NetConn()
	}
	c.Close()
}

// A secureConn is one that is encrypted already, over which net/http makes no
// handshake of its own.
type secureConn struct {
	*Conn
	state tls.ConnectionState
}

func (c secureConn) ConnectionState() tls.ConnectionState { return c.state }

// Encrypted returns the connection of crypto/tls that c wraps, or else c.
func Encrypted(c net.Conn) net.Conn {
	inner := c
	for {
		switch own := inner.(type) {
		case *tls.Conn:
			return own
		case secureConn:
			inner = own.Conn
		case *Conn:
			inner = own.Conn
		case *safeConn:
			inner = own.Conn
		default:
			return c
		}
	}
}

// records has reads end where a record of TLS ends, as long as a handshake may
// be underway: crypto/tls keeps what it has read too much of, so that what a
// server sends behind its last record would be read before anything is written.
type records struct {
	begun  bool
	header []byte // what has been read of a record's header
	left   int    // of its body
}

const (
	recordHeader    = 5
	recordHandshake = 22
)

// follow is told what is written: a handshake begins with a record of its own
// kind, as no request does.
func (r *records) follow(p []byte) {
	if !r.begun && p[0] == recordHandshake {
		r.begun = true
	}
}

func (r *records) most(wanted int) int {
	switch {
	case !r.begun:
		return wanted
	case len(r.header) < recordHeader:
		return min(wanted, recordHeader-len(r.header))
	default:
		return min(wanted, r.left)
	}
}

func (r *records) count(p []byte) {
	if !r.begun {
		return
	}
	if len(r.header) < recordHeader {
		r.header = append(r.header, p...)
		if len(r.header) == recordHeader {
			r.left = int(r.header[3])<<8 | int(r.header[4])
		}
	} else {
		r.left -= len(p)
	}
	if len(r.header) == recordHeader && r.left == 0 {
		r.header = r.header[:0]
	}
}
