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
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"runtime"
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
	PushAtOnce            int // connections to one push server, each from its beginning to its first answer, or with a request to be answered
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
	busy   map[string]int    // connections, by address of a push server
	seen   map[net.Conn]bool // those that are counted as busy
	open   map[net.Conn]bool // of websockets, which nobody else closes
}

// newTown begins to serve.
func newTown(spec townSpec) (*town, error) {
	f, _ := framingOf(4)
	t := &town{
		spec: spec, frame: f.frame([][]byte{f.message(midOf(0), bodyOf(0, 200)), f.message(midOf(1), bodyOf(1, 200))}),
		calls: make(map[string]int), busy: make(map[string]int), seen: make(map[net.Conn]bool), open: make(map[net.Conn]bool),
	}
	t.at.Secure = spec.Secure
	var secured *tls.Config
	if spec.Secure {
		certificate, text, err := townCertificate()
		if err != nil {
			return nil, err
		}
		t.at.Certificate = text
		secured = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	for i := range pushHosts {
		for _, kind := range []struct {
			at      *[]string
			handler http.HandlerFunc
			state   func(net.Conn, http.ConnState)
			network byte
		}{{&t.at.Portals, t.portal, t.portalConn, portalNetwork}, {&t.at.Push, t.push, t.pushConn, pushNetwork}} {
			host := "127.0.0.1"
			if runtime.GOOS == "linux" { // each has a host's ports of its own
				host = fmt.Sprintf("127.0.%d.%d", kind.network, i+1)
			}
			l, err := net.Listen("tcp", host+":0")
			if err != nil {
				t.close()
				return nil, err
			}
			*kind.at = append(*kind.at, l.Addr().String())
			server := &http.Server{
				Handler: kind.handler, ConnState: kind.state, TLSConfig: secured, ErrorLog: log.New(io.Discard, "", 0),
				ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
			}
			if kind.network == pushNetwork { // as push servers do, which websockets want anyway
				server.Protocols = new(http.Protocols)
				server.Protocols.SetHTTP1(true)
			}
			t.servers = append(t.servers, server)
			if spec.Secure {
				go server.ServeTLS(l, "", "")
			} else {
				go server.Serve(l)
			}
		}
	}
	return t, nil
}

// connKey has the connection of a request.
type connKey struct{}

// townCertificate is one of the names of a town, of the kind that most servers
// have.
func townCertificate() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"*.portal.invalid", "*.push.invalid"}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), nil
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
	host, _, _ := strings.Cut(r.Host, ":")
	t.mu.Lock()
	t.counts.Calls++
	t.calls[host]++
	t.counts.CallsAtOnce = max(t.counts.CallsAtOnce, t.calls[host])
	t.mu.Unlock()
	time.Sleep(t.spec.Wait)
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
	t.mu.Lock()
	t.counts.Sockets++
	t.mu.Unlock()
	time.Sleep(t.spec.Wait)
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
		t.mu.Lock()
		t.ends(r.Context().Value(connKey{}).(net.Conn)) // it is with the server, and asks nothing more of it
		t.mu.Unlock()
		select {
		case <-r.Context().Done():
		case <-time.After(40 * time.Second):
			w.Header().Set("Last-Message-Id", "")
			w.Header().Set("Expires", "Thu, 01 Jan 1973 11:11:01 GMT")
			w.WriteHeader(http.StatusNotModified)
		}
		return
	}
	time.Sleep(t.spec.Wait)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(t.frame)
}

func (t *town) portalConn(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.counts.PortalConns++
	}
}

func (t *town) pushConn(c net.Conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateNew:
		t.counts.PushConns++
		t.begins(c)
	case http.StateActive:
		t.begins(c)
	case http.StateHijacked:
		t.open[c] = true
		t.ends(c)
	default:
		t.ends(c)
	}
}

// begins notes that a connection is to be answered. mu is held.
func (t *town) begins(c net.Conn) {
	if t.seen[c] {
		return
	}
	t.seen[c] = true
	at := c.LocalAddr().String()
	t.busy[at]++
	t.counts.PushAtOnce = max(t.counts.PushAtOnce, t.busy[at])
}

// ends notes that it has been. mu is held.
func (t *town) ends(c net.Conn) {
	if t.seen[c] {
		delete(t.seen, c)
		t.busy[c.LocalAddr().String()]--
	}
}
