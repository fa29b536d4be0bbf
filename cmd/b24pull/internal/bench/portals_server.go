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

// townSpec is a server of many portals, and of the push servers that they
// share.
type townSpec struct {
	Secure bool
	Wait   time.Duration // before each answer
	Quiet  bool          // the channels keep nothing, so that polls hang
}

// townAt is where a town is.
type townAt struct {
	Portals, Push []string // host:port of each listener
	Secure        bool
	Certificate   string // PEM; "" without TLS
}

// townCounts are what a town has been asked for.
type townCounts struct {
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

// A town serves portals and push servers.
type town struct {
	spec    townSpec
	at      townAt
	frame   []byte // the history
	servers []*http.Server

	mu     sync.Mutex
	counts townCounts
	calls  map[string]int    // under way, by portal
	busy   map[connAt]bool   // those with a handshake or a request under way, and whether it is in bound
	bound  int               // so many are
	busyAt map[string]int    // so many, by address
	open   map[net.Conn]bool // of websockets, which nobody else closes
}

// newTown begins to serve.
func newTown(spec townSpec) (*town, error) {
	f, _ := framingOf(4)
	t := &town{
		spec: spec, frame: f.frame([][]byte{f.message(midOf(0), bodyOf(0, 200)), f.message(midOf(1), bodyOf(1, 200))}),
		calls: make(map[string]int), busy: make(map[connAt]bool), busyAt: make(map[string]int), open: make(map[net.Conn]bool),
	}
	t.at.Secure = spec.Secure
	var certificate *tls.Certificate
	if spec.Secure {
		var err error
		if certificate, t.at.Certificate, err = townCertificate(); err != nil {
			return nil, err
		}
	}
	for i := range pushHosts {
		portals := &http.Server{Handler: http.HandlerFunc(t.portal), ConnState: t.portalConn, TLSConfig: t.secured(certificate, "h2", "http/1.1")}
		push := &http.Server{Handler: http.HandlerFunc(t.push), ConnState: t.pushConn, TLSConfig: t.secured(certificate, "http/1.1")}
		if err := errors.Join(t.serve(portals, portalNetwork, i, &t.at.Portals), t.serve(push, pushNetwork, i, &t.at.Push)); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// serve has a server of a town serve, and notes where.
func (t *town) serve(server *http.Server, network, n int, at *[]string) error {
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
	t.servers = append(t.servers, server)
	if t.spec.Secure {
		go server.ServeTLS(l, "", "")
	} else {
		go server.Serve(l)
	}
	return nil
}

// secured is TLS whose handshakes are counted; nil without a certificate.
func (t *town) secured(certificate *tls.Certificate, protocols ...string) *tls.Config {
	if certificate == nil {
		return nil
	}
	config := &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: protocols}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := hello.Conn
		t.begins(c)
		t.bounds(c)
		counted := config.Clone()
		counted.GetConfigForClient = nil
		counted.VerifyConnection = func(tls.ConnectionState) error { // the last that a server does
			t.ends(c)
			return nil
		}
		return counted, nil
	}
	return config
}

// connKey has the connection of a request.
type connKey struct{}

func connOf(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(net.Conn) }

// townCertificate is one of the names of a town, of the kind that most servers
// have.
func townCertificate() (*tls.Certificate, string, error) {
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

// close ends it, with all its connections.
func (t *town) close() {
	for _, s := range t.servers {
		_ = s.Close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		_ = c.Close()
	}
}

func (t *town) counted() townCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// portal answers a portal's call: with its config, whatever is called.
func (t *town) portal(w http.ResponseWriter, r *http.Request) {
	t.bounds(connOf(r))
	host, _, _ := strings.Cut(r.Host, ":")
	t.mu.Lock()
	t.counts.Calls++
	t.calls[host]++
	t.counts.CallsAtOnce = max(t.counts.CallsAtOnce, t.calls[host])
	t.mu.Unlock()
	t.think(r)
	var n int
	_, err := fmt.Sscanf(host, portalHost, &n)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
	} else {
		_ = json.NewEncoder(w).Encode(map[string]any{"result": json.RawMessage(t.at.config(n))})
	}
	t.mu.Lock()
	t.calls[host]--
	t.mu.Unlock()
}

// push answers polls and handshakes.
func (t *town) push(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		t.mu.Lock()
		t.counts.Polls++
		t.mu.Unlock()
		t.poll(w, r)
		return
	}
	t.bounds(connOf(r))
	t.mu.Lock()
	t.counts.Sockets++
	t.mu.Unlock()
	t.think(r)
	small := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := small.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	go func() { // without what the server has of a request
		defer t.closed(ws.NetConn())
		for {
			if _, _, err := ws.NextReader(); err != nil {
				return
			}
		}
	}()
}

func (t *town) closed(c net.Conn) {
	_ = c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}

func (t *town) poll(w http.ResponseWriter, r *http.Request) {
	if t.spec.Quiet || r.URL.Query().Get("mid") >= midOf(1) {
		t.think(r) // it is with the server then, and asks nothing more of it
		select {
		case <-r.Context().Done():
		case <-time.After(40 * time.Second):
			w.Header().Set("Last-Message-Id", "")
			w.Header().Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
			w.WriteHeader(http.StatusNotModified)
		}
		return
	}
	t.think(r)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(t.frame)
}

// think takes the time of an answer, which follows at once.
func (t *town) think(r *http.Request) {
	time.Sleep(t.spec.Wait)
	t.ends(connOf(r))
}

func (t *town) portalConn(c net.Conn, state http.ConnState) {
	t.follow(c, state, &t.counts.PortalConns)
}

func (t *town) pushConn(c net.Conn, state http.ConnState) {
	if state == http.StateHijacked {
		t.mu.Lock()
		t.open[c] = true
		t.mu.Unlock()
	}
	t.follow(c, state, &t.counts.PushConns)
}

// follow is told what a server knows of a connection.
func (t *town) follow(c net.Conn, state http.ConnState, count *int) {
	switch state {
	case http.StateNew:
		t.mu.Lock()
		*count++
		t.mu.Unlock()
	case http.StateActive:
		t.begins(c)
	default:
		t.ends(c)
	}
}

// connAt are a connection's addresses.
type connAt struct{ local, remote string }

func (t *town) begins(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, busy := t.busy[at]; busy {
		return
	}
	t.busy[at] = false
	t.busyAt[at.local]++
	t.counts.AtOnce = max(t.counts.AtOnce, len(t.busy))
	if slices.Contains(t.at.Push, at.local) {
		t.counts.PushAtOnce = max(t.counts.PushAtOnce, t.busyAt[at.local])
	}
}

// bounds is told that what a connection is busy with is no poll.
func (t *town) bounds(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if bound, busy := t.busy[at]; busy && !bound {
		t.busy[at] = true
		t.bound++
		t.counts.BoundAtOnce = max(t.counts.BoundAtOnce, t.bound)
	}
}

func (t *town) ends(c net.Conn) {
	at := connAt{c.LocalAddr().String(), c.RemoteAddr().String()}
	t.mu.Lock()
	defer t.mu.Unlock()
	if bound, busy := t.busy[at]; busy {
		if bound {
			t.bound--
		}
		delete(t.busy, at)
		t.busyAt[at.local]--
	}
}
