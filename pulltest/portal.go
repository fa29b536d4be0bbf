package pulltest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Portal is a Bitrix24 portal: its REST methods for the pull API, one push
// server, and the authorization server that gives out its tokens, over https
// and wss. All methods can be called concurrently.
type Portal struct {
	opts       *options
	where      addresses
	pushURL    string
	authServer string
	authAlone  bool // the authorization server is a host of its own
	push       *pushServer
	config     *configBook
	auth       *auth
	limiter    limiter
	watches    watches
	pushes     pushes
	users      *users
	methods    map[string]method
	answers    canned
	handlers   handlers
	client     *http.Client
	cert       tls.Certificate
	authority  *authority        // who has signed it; nil if it is the user's
	trusted    *x509.Certificate // for other clients
	server     *http.Server
	conns      connections

	open    sync.WaitGroup // connections that net/http serves, and handlers
	serving sync.WaitGroup // listeners
	quit    chan struct{}
	once    sync.Once
}

// NewPortal starts a portal. It panics where [Start] returns an error. Close it
// when done.
func NewPortal(opts ...Option) *Portal {
	p, err := Start(opts...)
	if err != nil {
		panic(err.Error())
	}
	return p
}

// Start starts a portal, or tells why it cannot: its addresses cannot be listened
// at, its options contradict each other, or one of them says what cannot be.
// Close it when done.
func Start(opts ...Option) (*Portal, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	p := &Portal{
		opts:    o,
		push:    newPushServer(o),
		auth:    newAuth(o),
		users:   newUsers(o),
		methods: portalMethods(o),
		conns:   connections{open: make(map[*serverConn]struct{})},
		quit:    make(chan struct{}),
	}
	listeners, err := p.listen()
	if err != nil {
		return nil, err
	}
	p.pushURL = p.where.url + o.pushPath
	p.config = newConfigBook(p.pushURL, p.push.signer, o, p.users)
	p.push.book = p.config
	p.push.hub.observer = newObserver(o.observe)
	p.push.hub.book, p.push.hub.conceal = p.config, p.conceal
	p.push.hub.hold(p.history())
	p.server = &http.Server{
		Handler:     p.handler(),
		ConnContext: withRawConn,
		ConnState:   tracking(&p.open),
		IdleTimeout: o.dialect.idleTimeout,
		ErrorLog:    log.New(panicsOnly{}, "", log.LstdFlags),
		Protocols:   http1(),
	}
	if err := o.authServer.join(p); err != nil {
		for _, l := range listeners {
			l.Close()
		}
		return nil, err
	}
	for _, l := range listeners {
		p.start(l)
	}
	p.open.Add(1)
	go p.every(o.textPing, p.textPing)
	return p, nil
}

// panicsOnly keeps quiet about connections that were cut, which is what
// portals are for, but not about a handler that panics.
type panicsOnly struct{}

func (panicsOnly) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		return os.Stderr.Write(line)
	}
	return len(line), nil
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// clientTLS makes connections cheap: there are many, and polls use each once.
// In memory, where all else is quick, most of the time would go into
// handshakes: those of version 1.2 that resume a session exchange no keys.
func clientTLS(roots *x509.CertPool, inMemory bool) *tls.Config {
	config := &tls.Config{
		RootCAs:            roots,
		CurvePreferences:   []tls.CurveID{tls.CurveP256},
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	if inMemory {
		config.MaxVersion = tls.VersionTLS12
	}
	return config
}

func newClient(n *Network, config *tls.Config) *http.Client {
	dial := new(net.Dialer).DialContext
	if n != nil {
		dial = n.DialContext
	}
	return &http.Client{Transport: &http.Transport{
		DialContext:     dial,
		TLSClientConfig: config,
		Protocols:       http1(),
	}}
}

// handler counts the running requests, hijacked ones too, so that Close can
// wait for them.
func (p *Portal) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/rest/", p.atHome(p.serveREST))
	mux.Handle(authorizePath, p.atHome(p.authorize))
	if !p.authAlone {
		mux.HandleFunc(tokenPath, p.serveToken)
	}
	h := p.misbehaving(p.authorizing(p.pushing(mux)))
	if p.opts.middleware != nil {
		h = p.opts.middleware(h)
	}
	h = p.observed(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.open.Add(1)
		defer p.open.Done()
		if r.TLS == nil {
			p.push.hub.count(func(s *Stats) { s.Insecure++ })
		}
		w.Header().Set("Date", p.opts.clock.now().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// pushing serves the push server, whose paths are taken as they come: a mux would
// redirect to tidier ones.
func (p *Portal) pushing(next http.Handler) http.Handler {
	push := http.StripPrefix(p.opts.pushPath, p.push)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := p.pushRequest(r); ok {
			push.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Close cuts every connection, stops the portal and waits until nothing of it
// runs any more. The idle connections of [Portal.HTTPClient] are closed too.
func (p *Portal) Close() {
	p.once.Do(func() {
		p.where.close()
		p.opts.authServer.leave(p)
		close(p.quit)
		p.push.hub.close()
		p.conns.abortAll()
		p.server.Close()
	})
	p.serving.Wait()
	p.open.Wait()
	p.push.hub.observer.end()
	p.client.CloseIdleConnections()
}

// PushURL is the base of the push server's paths, no trailing slash. Below it
// are /sub/ for subscribers, or /subws/, in shared mode and for websockets of
// versions 1 and 2, /rest/ for clients that publish, from version 4 on, /pub/
// for the portal and /server-stat/.
func (p *Portal) PushURL() string { return p.pushURL }

// Webhook is the URL of an incoming webhook of the first user, 1 unless
// [WithUsers] says otherwise, to which method names are appended. Its
// pull.config.get names [UserPrivate] and [UserShared]: who listens by it hears
// what is emitted to these.
func (p *Portal) Webhook() string {
	return fmt.Sprintf("%s/rest/%d/%s/", p.URL(), p.opts.first(), p.auth.webhook)
}

// APIWebhook is the same webhook by the address of the newer REST,
// /rest/api/USER/CODE/, which tells errors as objects {code, message}.
func (p *Portal) APIWebhook() string {
	return fmt.Sprintf("%s/rest/api/%d/%s/", p.URL(), p.opts.first(), p.auth.webhook)
}

// HTTPClient returns a client that trusts the portal's certificate and reaches
// it over its Network, if it has one. It speaks HTTP/1.1 only and sets no
// timeout. Its Transport is an *http.Transport, whose DialContext and
// TLSClientConfig serve a websocket dialer as well. It is the same client each
// time.
func (p *Portal) HTTPClient() *http.Client { return p.client }

// Ping pings every websocket, as the push server's timers do. From version 4 on
// nothing is sent to it until its pong arrives, what was being gathered for it is
// dropped if that takes longer than the gathering, and one that still owes a
// pong is dropped without a close frame; version 3 sends on and drops those who
// owe two, versions 1 and 2 drop nobody.
func (p *Portal) Ping() {
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	for c := range h.sockets {
		c.ping()
	}
}

func (p *Portal) textPing() {
	h := p.push.hub
	h.mu.Lock()
	defer h.unlock()
	for c := range h.sockets {
		c.textPing()
	}
}

// every calls f at an interval until the portal is closed; an interval of 0
// never.
func (p *Portal) every(d time.Duration, f func()) {
	defer p.open.Done()
	if d <= 0 {
		return
	}
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-p.quit:
			return
		}
	}
}

// SecretMark is what every secret begins with that a portal makes up: the
// webhook's code, tokens, codes, the client_secret, the application_token and,
// but for those of WithChannels, channel ids. Look for it in what a program
// prints.
const SecretMark = "5ec2e75ec2e7"

// randomSecret is marked, and long enough to be cut to 16.
func randomSecret() string { return SecretMark + randomID()[len(SecretMark):] }

func randomID() string { return strings.ToLower(rand.Text()) }
