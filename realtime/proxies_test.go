package realtime_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// The proxies of these tests want a user and a password.
const (
	proxyUser     = "corp"
	proxyPassword = "s3cr3t-proxy-password"
)

// newCertificate makes a self-signed certificate for both sides of TLS.
func newCertificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// listen serves each connection to a loopback port until the test ends.
func listen(t *testing.T, config *tls.Config, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	var running sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				if config == nil {
					serve(conn)
					return
				}
				secure := tls.Server(conn, config)
				if secure.Handshake() == nil {
					serve(secure)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return addr
}

// join carries bytes between two connections until one of them ends.
func join(a, b io.ReadWriteCloser) {
	var carrying sync.WaitGroup
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		carrying.Go(func() {
			io.Copy(way[0], way[1])
			a.Close()
			b.Close()
		})
	}
	carrying.Wait()
}

// A proxy speaks HTTP, HTTP over TLS, or SOCKS5.
type proxy struct {
	scheme string
	addr   string
	dial   func(addr string) (net.Conn, error) // what it reaches

	mu       sync.Mutex
	connects []*http.Request // for SOCKS5 with a Host and nothing else
	refused  int
}

// newProxy starts a proxy that reaches what dial does.
func newProxy(t *testing.T, scheme string, cert tls.Certificate, dial func(addr string) (net.Conn, error)) *proxy {
	p := &proxy{scheme: scheme, dial: dial}
	switch scheme {
	case "http":
		p.addr = listen(t, nil, p.serveHTTP)
	case "https":
		p.addr = listen(t, &tls.Config{Certificates: []tls.Certificate{cert}}, p.serveHTTP)
	default:
		p.addr = listen(t, nil, p.serveSOCKS)
	}
	return p
}

// url is the proxy's address with a password.
func (p *proxy) url(password string) *url.URL {
	return &url.URL{Scheme: p.scheme, Host: p.addr, User: url.UserPassword(proxyUser, password)}
}

// use sends all requests of a transport through the proxy.
func (p *proxy) use() func(*http.Request) (*url.URL, error) {
	return http.ProxyURL(p.url(proxyPassword))
}

func (p *proxy) connected() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.connects)
}

func (p *proxy) note(allowed bool, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !allowed {
		p.refused++
		return
	}
	p.connects = append(p.connects, r)
}

func (p *proxy) serveHTTP(conn net.Conn) {
	br := bufio.NewReader(conn)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
	allowed := r.Header.Get("Proxy-Authorization") == want
	p.note(allowed, r)
	switch {
	case !allowed:
		io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	case r.Method != http.MethodConnect:
		p.forward(conn, br, r)
		return
	}
	target, err := p.dial(r.Host)
	if err != nil {
		io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	io.WriteString(conn, "HTTP/1.1 200 Connection established\r\nX-Proxy: here\r\n\r\n")
	join(conn, target)
}

// forward passes on requests that are not to be encrypted. As many proxies it
// knows no Upgrade.
func (p *proxy) forward(conn net.Conn, br *bufio.Reader, r *http.Request) {
	target, err := p.dial(r.Host)
	if err != nil {
		io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer target.Close()
	for _, hop := range []string{"Proxy-Authorization", "Connection", "Upgrade"} {
		r.Header.Del(hop)
	}
	r.Header.Set("Connection", "close")
	if r.Write(target) == nil {
		io.Copy(conn, target)
	}
}

// serveSOCKS is a SOCKS5 server (RFC 1928) with a user and a password (RFC
// 1929).
func (p *proxy) serveSOCKS(conn net.Conn) {
	br := bufio.NewReader(conn)
	host, allowed, err := p.negotiate(br, conn)
	if err != nil {
		return
	}
	p.note(allowed, &http.Request{Host: host})
	if !allowed {
		return
	}
	reply := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	target, err := p.dial(host)
	if err != nil {
		reply[1] = 5 // connection refused
	}
	conn.Write(reply)
	if err == nil {
		join(conn, target)
	}
}

func (p *proxy) negotiate(br *bufio.Reader, conn net.Conn) (host string, allowed bool, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, e := io.ReadFull(br, b); e != nil && err == nil {
			err = e
		}
		return b
	}
	text := func() string { return string(read(int(read(1)[0]))) }
	if read(1)[0] != 5 {
		return "", false, errors.New("not SOCKS5")
	}
	text() // the methods that are offered
	conn.Write([]byte{5, 2})
	read(1)
	user, password := text(), text()
	if err != nil || user != proxyUser || password != proxyPassword {
		conn.Write([]byte{1, 1})
		return "", false, err
	}
	conn.Write([]byte{1, 0})
	switch kind := read(4)[3]; kind {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = text()
	default:
		return "", false, fmt.Errorf("address type %d", kind)
	}
	port := binary.BigEndian.Uint16(read(2))
	return fmt.Sprintf("%s:%d", host, port), true, err
}

// vacant is an address where nobody listens.
func vacant(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
