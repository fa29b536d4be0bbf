package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// portalServersSpec is what portalServers are to be.
type portalServersSpec struct {
	Secure bool
	Wait   time.Duration // before each answer
	Quiet  bool          // the channels keep nothing, so that polls hang
}

// portalServersAt is where they are.
type portalServersAt struct {
	Portals, Push []string // host:port of each listener
	Secure        bool
	Certificate   string // PEM; "" without TLS
}

// portalServersCounts are what they have been asked for.
type portalServersCounts struct {
	Calls, Sockets, Polls int
	PortalConns           int // connections to portals
	PushConns             int // connections to push servers
	CallsAtOnce           int // of one portal

	// Connections in their TLS handshake, or with a request that had not been
	// answered yet: to all hosts, and to one push server. A handshake may be
	// for a request that is made over another connection meanwhile.
	AtOnce, PushAtOnce int
	// Of those to all hosts, what is never to be more than is allowed: without
	// polls, which count as hanging when they are not answered for a while.
	BoundAtOnce int
}

// pushHosts is how many push servers the portals share.
const pushHosts = 4

// Numbers in the addresses of portals and push servers.
const (
	portalNetwork = 1
	pushNetwork   = 2
)

// Names of portals and push servers. They are of a domain that cannot be.
const (
	portalHost = "p%d.portal.invalid"
	pushHost   = "rt%d.push.invalid"
)

// portalServers are the servers of many portals, and the push servers that these
// share.
type portalServers struct {
	spec    portalServersSpec
	at      portalServersAt
	frame   []byte // the history
	servers []*http.Server

	mu     sync.Mutex
	counts portalServersCounts
	calls  map[string]int    // under way, by portal
	busy   map[connAt]bool   // those with a handshake or a request under way, and whether it is in bound
	bound  int               // so many are
	busyAt map[string]int    // so many, by address
	open   map[net.Conn]bool // of websockets, which nobody else closes
}

// newPortalServers has them begin to serve.
func newPortalServers(spec portalServersSpec) (*portalServers, error) {
	f, _ := framingOf(4)
	s := &portalServers{
		spec: spec, frame: f.frame([][]byte{f.message(midOf(0), bodyOf(0, 200)), f.message(midOf(1), bodyOf(1, 200))}),
		calls: make(map[string]int), busy: make(map[connAt]bool), busyAt: make(map[string]int), open: make(map[net.Conn]bool),
	}
	s.at.Secure = spec.Secure
	var certificate *tls.Certificate
	if spec.Secure {
		var err error
		if certificate, s.at.Certificate, err = portalServersCertificate(); err != nil {
			return nil, err
		}
	}
	for i := range pushHosts {
		portals := &http.Server{Handler: http.HandlerFunc(s.portal), ConnState: s.portalConn, TLSConfig: s.secured(certificate, "h2", "http/1.1")}
		push := &http.Server{Handler: http.HandlerFunc(s.push), ConnState: s.pushConn, TLSConfig: s.secured(certificate, "http/1.1")}
		if err := errors.Join(s.serve(portals, portalNetwork, i, &s.at.Portals), s.serve(push, pushNetwork, i, &s.at.Push)); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// serve has one of the servers serve, and notes where.
func (s *portalServers) serve(server *http.Server, network, n int, at *[]string) error {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // each has a host's ports of its own
		host = fmt.Sprintf("127.0.%d.%d", network, n+1)
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return err
	}
	*at = append(*at, l.Addr().String())
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.servers = append(s.servers, server)
	if s.spec.Secure {
		go server.ServeTLS(l, "", "")
	} else {
		go server.Serve(l)
	}
	return nil
}

// secured is TLS whose handshakes are counted; nil without a certificate.
func (s *portalServers) secured(certificate *tls.Certificate, protocols ...string) *tls.Config {
	if certificate == nil {
		return nil
	}
	config := &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: protocols}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := hello.Conn
		s.begins(c)
		s.bounds(c)
		counted := config.Clone()
		counted.GetConfigForClient = nil
		counted.VerifyConnection = func(tls.ConnectionState) error { // the last that a server does
			s.ends(c)
			return nil
		}
		return counted, nil
	}
	return config
}

// connKey has the connection of a request.
type connKey struct{}

func connOf(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(net.Conn) }

// portalServersCertificate is one of all their names, of the kind that most servers
// have.
func portalServersCertificate() (*tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"*.portal.invalid", "*.push.invalid"}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), nil
}

// close ends them, with all their connections.
func (s *portalServers) close() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *portalServers) counted() portalServersCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// portal answers a portal's call: with its config, whatever is called.
func (s *portalServers) portal(w http.ResponseWriter, r *http.Request) {
	s.bounds(connOf(r))
	host, _, _ := strings.Cut(r.Host, ":")
	s.mu.Lock()
	s.counts.Calls++
	s.calls[host]++
	s.counts.CallsAtOnce = max(s.counts.CallsAtOnce, s.calls[host])
	s.mu.Unlock()
	s.think(r)
	var n int
	_, err := fmt.Sscanf(host, portalHost, &n)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
	} else {
		_ = json.NewEncoder(w).Encode(map[string]any{"result": json.RawMessage(s.at.config(n))})
	}
	s.mu.Lock()
	s.calls[host]--
	s.mu.Unlock()
}

// push answers polls and handshakes.
func (s *portalServers) push(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		s.mu.Lock()
		s.counts.Polls++
		s.mu.Unlock()
		s.poll(w, r)
		return
	}
	s.bounds(connOf(r))
	s.mu.Lock()
	s.counts.Sockets++
	s.mu.Unlock()
	s.think(r)
	small := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := small.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	go func() { // without what the server has of a request
		defer s.closed(ws.NetConn())
		for {
			if _, _, err := ws.NextReader(); err != nil {
				return
			}
		}
	}()
}

func (s *portalServers) closed(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

func (s *portalServers) poll(w http.ResponseWriter, r *http.Request) {
	if s.spec.Quiet || r.URL.Query().Get("mid") >= midOf(1) {
		s.think(r) // it is with the server then, and asks nothing more of it
		select {
		case <-r.Context().Done():
		case <-time.After(40 * time.Second):
			w.Header().Set("Last-Message-Id", "")
			w.Header().Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
			w.WriteHeader(http.StatusNotModified)
		}
		return
	}
	s.think(r)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(s.frame)
}

// think takes the time of an answer, which follows at once.
func (s *portalServers) think(r *http.Request) {
	time.Sleep(s.spec.Wait)
	s.ends(connOf(r))
}

func (s *portalServers) portalConn(c net.Conn, state http.ConnState) {
	s.follow(c, state, &s.counts.PortalConns)
}

func (s *portalServers) pushConn(c net.Conn, state http.ConnState) {
	if state == http.StateHijacked {
		s.mu.Lock()
		s.open[c] = true
		s.mu.Unlock()
	}
	s.follow(c, state, &s.counts.PushConns)
}

// follow is told what a server knows of a connection.
func (s *portalServers) follow(c net.Conn, state http.ConnState, count *int) {
	switch state {
	case http.StateNew:
		s.mu.Lock()
		*count++
		s.mu.Unlock()
	case http.StateActive:
		s.begins(c)
	default:
		s.ends(c)
	}
}

// connAt are a connection's addresses.
type connAt struct{ local, remote string }

func (s *portalServers) begins(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.busy[at]; busy {
		return
	}
	s.busy[at] = false
	s.busyAt[at.local]++
	s.counts.AtOnce = max(s.counts.AtOnce, len(s.busy))
	if slices.Contains(s.at.Push, at.local) {
		s.counts.PushAtOnce = max(s.counts.PushAtOnce, s.busyAt[at.local])
	}
}

// bounds is told that what a connection is busy with is no poll.
func (s *portalServers) bounds(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bound, busy := s.busy[at]; busy && !bound {
		s.busy[at] = true
		s.bound++
		s.counts.BoundAtOnce = max(s.counts.BoundAtOnce, s.bound)
	}
}

func (s *portalServers) ends(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bound, busy := s.busy[at]; busy {
		if bound {
			s.bound--
		}
		delete(s.busy, at)
		s.busyAt[at.local]--
	}
}
