package pulltest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// networkName is what the addresses of a Network answer to Network().
const networkName = "pulltest"

// Network is a network in memory. Its connections are buffered in both
// directions, keep deadlines, and block only on what belongs to the
// testing/synctest bubble they were made in, so that HTTP, TLS and websockets
// run over it on virtual time.
//
// A Network and all that uses it must live in the same bubble, or in none.
type Network struct {
	authority authority // of the portals' certificates
	client    *http.Client

	mu        sync.Mutex
	listeners map[string]*memListener
	latency   time.Duration
	dialed    int
}

// NewNetwork returns an empty network without latency.
func NewNetwork() *Network {
	n := &Network{listeners: make(map[string]*memListener)}
	n.authority.make()
	n.client = newClient(n, clientTLS(n.authority.roots(), true))
	return n
}

// HTTPClient returns a client that reaches all portals of the network, and their
// authorization servers, and trusts the certificates that are made up for them,
// which are of one authority. It is the same client each time. A portal with a
// certificate of [WithCertificate] is reached by its own client,
// [Portal.HTTPClient]. A server of a test at [Network.Listen] is reached too, at
// a plain http address.
func (n *Network) HTTPClient() *http.Client { return n.client }

// SetLatency sets how long bytes written from now on travel one way. Opening
// a connection takes two such delays. Zero, the default, is no delay.
func (n *Network) SetLatency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = max(d, 0)
}

func (n *Network) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latency
}

// Listen accepts connections dialed to addr, a host and a port. Names are not
// resolved: addr is compared as it is. It fails if addr is taken.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.listeners[addr]; taken {
		return nil, &net.OpError{Op: "listen", Net: networkName, Addr: memAddr(addr), Err: errAddressTaken}
	}
	l := &memListener{network: n, addr: memAddr(addr)}
	l.arrived.L = &l.mu
	n.listeners[addr] = l
	return l, nil
}

// DialContext connects to a listener of this network. Its signature is that
// of net.Dialer.DialContext; the network argument is not looked at. An address
// nobody listens on is refused at once.
func (n *Network) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: networkName, Addr: memAddr(addr), Err: err}
	}
	if err := sleep(ctx, 2*n.delay()); err != nil {
		return fail(err)
	}
	n.mu.Lock()
	l := n.listeners[addr]
	n.dialed++
	local := memAddr(fmt.Sprintf("client:%d", n.dialed))
	n.mu.Unlock()
	if l == nil {
		return fail(errRefused)
	}
	there, back := newPipe(), newPipe()
	if !l.enqueue(&memConn{network: n, in: there, out: back, local: l.addr, remote: local}) {
		return fail(errRefused)
	}
	return &memConn{network: n, in: back, out: there, local: local, remote: l.addr}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type memAddr string

func (memAddr) Network() string  { return networkName }
func (a memAddr) String() string { return string(a) }

type memListener struct {
	network *Network
	addr    memAddr

	mu      sync.Mutex
	arrived sync.Cond
	backlog []*memConn
	closed  bool
}

func (l *memListener) enqueue(c *memConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.backlog = append(l.backlog, c)
	l.arrived.Signal()
	return true
}

func (l *memListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.backlog) == 0 && !l.closed {
		l.arrived.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: networkName, Addr: l.addr, Err: net.ErrClosed}
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	return c, nil
}

func (l *memListener) Close() error {
	l.network.mu.Lock()
	if l.network.listeners[string(l.addr)] == l {
		delete(l.network.listeners, string(l.addr))
	}
	l.network.mu.Unlock()

	l.mu.Lock()
	waiting := l.backlog
	l.backlog, l.closed = nil, true
	l.arrived.Broadcast()
	l.mu.Unlock()
	for _, c := range waiting {
		c.abort()
	}
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }
