package soak

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// proxy passes TCP connections on to one server, each way some time later, and
// cuts them.
type proxy struct {
	target   string
	delay    time.Duration
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex
	pairs  map[*pair]struct{}
	closed bool
}

// pair is a connection to the proxy and the one it is passed on to.
type pair struct{ client, server *net.TCPConn }

// newProxy starts a proxy on a loopback port.
func newProxy(target string, delay time.Duration) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, delay: delay, listener: l, pairs: make(map[*pair]struct{})}
	p.serving.Go(p.serve)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.connect(client.(*net.TCPConn)) })
	}
}

// connect passes a connection on, and returns at its end.
func (p *proxy) connect(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, 20*time.Second)
	if err != nil {
		reset(client)
		return
	}
	c := &pair{client, server.(*net.TCPConn)}
	p.mu.Lock()
	closed := p.closed
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	if closed {
		c.cut()
	}
	var passing sync.WaitGroup
	passing.Go(func() { p.pass(c, c.server, c.client) })
	passing.Go(func() { p.pass(c, c.client, c.server) })
	passing.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
	c.client.Close()
	c.server.Close()
}

// pass passes one direction on to its end; what breaks it breaks the other too.
func (p *proxy) pass(c *pair, to, from *net.TCPConn) {
	var err error
	if p.delay > 0 {
		err = passLater(to, from, p.delay)
	} else {
		_, err = io.Copy(to, from)
	}
	if err != nil {
		c.cut()
		return
	}
	_ = to.CloseWrite()
}

// parcel is what is under way until its time comes; the last one may be empty.
type parcel struct {
	data []byte
	due  time.Time
}

// passLater is io.Copy over a distance.
func passLater(to, from *net.TCPConn, delay time.Duration) error {
	parcels := make(chan parcel, 4096)
	var broken error
	go func() {
		defer close(parcels)
		for err := error(nil); err == nil; {
			var n int
			data := make([]byte, 16<<10)
			n, err = from.Read(data)
			if err != nil && err != io.EOF {
				broken = err
			}
			parcels <- parcel{data[:n], time.Now().Add(delay)}
		}
	}()
	var failed error
	for next := range parcels {
		if failed != nil {
			continue // until the other goroutine has ended
		}
		time.Sleep(time.Until(next.due))
		if _, failed = to.Write(next.data); failed != nil {
			reset(from)
		}
	}
	if failed != nil {
		return failed
	}
	return broken
}

// cut resets both ends: what is under way is lost.
func (c *pair) cut() {
	reset(c.client)
	reset(c.server)
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// cut resets what is open, and returns how many connections that was.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.cut()
	}
	return len(p.pairs)
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.cut()
	p.serving.Wait()
}

// proxies are the ways to a push server, by the address that a client would
// dial.
type proxies map[string]*proxy

// newProxies makes a proxy for each address.
func newProxies(addrs []string, delay time.Duration) (proxies, error) {
	all := make(proxies)
	for _, addr := range addrs {
		if all[addr] != nil {
			continue
		}
		p, err := newProxy(addr, delay)
		if err != nil {
			all.close()
			return nil, err
		}
		all[addr] = p
	}
	return all, nil
}

func (all proxies) close() {
	for _, p := range all {
		p.close()
	}
}

// cut resets all that is open, and reports whether anything was.
func (all proxies) cut() bool {
	n := 0
	for _, p := range all {
		n += p.cut()
	}
	return n > 0
}

// detours are where to dial in place of an address, so that all goes through
// the proxies: the addresses in the config stay as they are, and with them what
// TLS and HTTP make of them.
type detours map[string]string

func (all proxies) detours() detours {
	d := make(detours)
	for addr, p := range all {
		d[addr] = p.addr()
	}
	return d
}

// dial is a dial function that knows no other way.
func (d detours) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	detour, ok := d[addr]
	if !ok {
		return nil, fmt.Errorf("there is no proxy to %s", addr)
	}
	return new(net.Dialer).DialContext(ctx, network, detour)
}
