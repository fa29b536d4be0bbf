package realtime_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// A service is one of the four that the product talks to.
type service string

const (
	overREST      service = "REST"
	overOAuth     service = "authorization server"
	overPolls     service = "polls"
	overWebSocket service = "websocket"
)

var services = []service{overREST, overOAuth, overPolls, overWebSocket}

// A site is a portal with a name that no resolver knows: only what is laid for
// a test leads there. What goes another way does not arrive.
type site struct {
	t       *testing.T
	service service // that is to be reached
	host    string  // its name as a user writes it
	portal  *pulltest.Portal
	cert    tls.Certificate  // of the site and of the proxies before it
	front   string           // where the name leads to, by TLS of the test's own
	agent   string           // what the product is to call itself
	port    string           // that the name is reached at
	plain   bool             // the push server is reached without TLS
	instead http.HandlerFunc // what the service answers in its place

	mu       sync.Mutex
	dialed   []string        // what was dialed by dial
	requests []*http.Request // that the service has got
	names    []string        // that TLS was asked for
}

// newSite starts one; edit may change the TLS that it speaks.
func newSite(t *testing.T, of service, host, ascii string, edit func(*tls.Config)) *site {
	s := &site{t: t, service: of, host: host, agent: b24pull.DefaultUserAgent, port: "443", cert: newCertificate(t, ascii)}
	opts := []pulltest.Option{pulltest.WithHandler(s.watch)}
	if of == overWebSocket {
		opts = append(opts, pulltest.WithoutPolling()) // the history comes by websocket as well
	}
	s.portal = pulltest.NewPortal(opts...)
	t.Cleanup(s.portal.Close)
	config := &tls.Config{
		Certificates: []tls.Certificate{s.cert}, NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.names = append(s.names, hello.ServerName)
			return nil, nil
		},
	}
	if edit != nil {
		edit(config)
	}
	s.front = listen(t, config, s.serve)
	return s
}

// newPlainSite starts one whose websockets are without TLS.
func newPlainSite(t *testing.T) *site {
	s := newSite(t, overWebSocket, siteHost, siteHost, nil)
	s.front, s.port, s.plain = listen(t, nil, s.serve), "80", true
	return s
}

func (s *site) serve(conn net.Conn) {
	if back, err := s.dialPortal(); err == nil {
		join(conn, back)
	}
}

// gateway puts a reverse proxy that speaks HTTP/2 in the front's place.
func (s *site) gateway(rewrite func(*httputil.ProxyRequest), modify func(*http.Response)) {
	to, err := url.Parse(s.portal.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{
			Transport: s.portal.HTTPClient().Transport,
			ErrorLog:  log.New(io.Discard, "", 0),
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				r.Out.Host = r.In.Host
				rewrite(r)
			},
			ModifyResponse: func(r *http.Response) error {
				modify(r)
				return nil
			},
		},
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	s.t.Cleanup(func() {
		server.Close()
		<-done
	})
	s.front = l.Addr().String()
}

func (s *site) dialPortal() (net.Conn, error) {
	roots := x509.NewCertPool()
	roots.AddCert(s.portal.Certificate())
	return tls.Dial("tcp", strings.TrimPrefix(s.portal.URL(), "https://"), &tls.Config{RootCAs: roots})
}

// answerInstead has requests to the service answered by another handler.
func (s *site) answerInstead(by http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = by
}

// watch keeps the requests to the service.
func (s *site) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.serves(r) {
			s.requests = append(s.requests, r)
		}
		serve := s.instead
		if serve == nil || !s.serves(r) {
			serve = next.ServeHTTP
		}
		s.mu.Unlock()
		serve(w, r)
	})
}

func (s *site) serves(r *http.Request) bool {
	switch {
	case strings.HasPrefix(r.URL.Path, "/rest/"):
		return s.service == overREST
	case strings.HasPrefix(r.URL.Path, "/oauth/"):
		return s.service == overOAuth
	case r.Header.Get("Upgrade") != "":
		return s.service == overWebSocket
	}
	return s.service == overPolls
}

// reach is the only way to the site: its name leads to the front. Numbers lead
// where they lead.
func (s *site) reach(addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	switch {
	case err != nil:
		return nil, err
	case name == s.cert.Leaf.DNSNames[0]:
		return net.Dial("tcp", s.front)
	case net.ParseIP(name) == nil:
		return nil, fmt.Errorf("no such host: %s", name)
	}
	return net.Dial("tcp", addr)
}

// dial is reach, of which the site is told.
func (s *site) dial(_, addr string) (net.Conn, error) {
	s.mu.Lock()
	s.dialed = append(s.dialed, addr)
	s.mu.Unlock()
	return s.reach(addr)
}

func (s *site) dialContext(_ context.Context, network, addr string) (net.Conn, error) {
	return s.dial(network, addr)
}

func (s *site) dialTLS(network, addr string) (net.Conn, error) {
	conn, err := s.dial(network, addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	config := s.trust()
	config.ServerName = host
	return tls.Client(conn, config), nil
}

func (s *site) dialTLSContext(_ context.Context, network, addr string) (net.Conn, error) {
	return s.dialTLS(network, addr)
}

// trust is the TLS configuration of who trusts the site and its proxies.
func (s *site) trust() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.cert.Leaf)
	return &tls.Config{RootCAs: roots}
}

// arrived are the requests to the service.
func (s *site) arrived() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// told are the addresses that were dialed and the names that TLS was asked for.
func (s *site) told() (dialed, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dialed), slices.Clone(s.names)
}

// call uses the service by an HTTP client, and returns what went wrong at the
// first try.
func (s *site) call(client *http.Client, opts ...realtime.Option) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	defer client.CloseIdleConnections()
	switch s.service {
	case overREST:
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: s.portal.AccessToken()})
		c := s.rest(tokens, b24pull.WithHTTPClient(client), b24pull.WithUserAgent(s.agent))
		_, err := c.GetApplicationConfig(ctx, true)
		return err
	case overOAuth:
		registered := s.portal.Application()
		app := &oauth.Application{ClientID: registered.ClientID, ClientSecret: b24pull.Secret(registered.ClientSecret),
			AuthServer: "https://" + s.host, HTTPClient: client, UserAgent: s.agent}
		_, err := app.Refresh(ctx, &oauth.Token{Token: oauth2.Token{RefreshToken: s.portal.Token(1).RefreshToken}})
		return err
	case overPolls:
		opts = append(opts, realtime.WithTransport(realtime.TransportLongPolling))
	case overWebSocket:
		opts = append(opts, realtime.WithTransport(realtime.TransportWebSocket))
	}
	return s.subscribe(ctx, append(opts, realtime.WithHTTPClient(client)))
}

func (s *site) rest(tokens oauth2.TokenSource, opts ...b24pull.Option) *b24pull.Client {
	s.t.Helper()
	opts = append(opts, b24pull.WithRetry(b24pull.Retry{Attempts: 1}))
	c, err := b24pull.New(b24pull.OAuth("https://"+s.host, tokens), opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// config is the portal's, with the push server at the site's name.
func (s *site) config(ctx context.Context) *b24pull.Config {
	s.t.Helper()
	c, err := b24pull.New(b24pull.OAuth(s.portal.URL(), oauth2.StaticTokenSource(&oauth2.Token{AccessToken: s.portal.AccessToken()})),
		b24pull.WithHTTPClient(s.portal.HTTPClient()))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err := c.GetApplicationConfig(ctx, true)
	if err != nil {
		s.t.Fatal(err)
	}
	own := strings.TrimPrefix(s.portal.URL(), "https://")
	for _, address := range []*string{&cfg.Server.LongPollingSecure, &cfg.Server.WebSocketSecure} {
		*address = strings.Replace(*address, own, s.host, 1)
	}
	cfg.Server.LongPolling, cfg.Server.WebSocket = "", ""
	if s.plain {
		cfg.Server.WebSocket = strings.Replace(cfg.Server.WebSocketSecure, "wss:", "ws:", 1)
	}
	return cfg
}

// source is what realtime uses of a *b24pull.Client.
type source struct {
	config *b24pull.Config
	agent  string
}

func (s source) GetApplicationConfig(context.Context, bool) (*b24pull.Config, error) {
	return s.config, nil
}
func (s source) UserAgent() string { return s.agent }

var (
	errGotMessage = errors.New("the message has come")
	errTriesAgain = errors.New("the subscription tries again")
)

// subscribe waits for a message, or for the first thing that goes wrong.
func (s *site) subscribe(ctx context.Context, opts []realtime.Option) error {
	s.t.Helper()
	trouble := make(chan error, 1)
	opts = append(opts, realtime.WithObserver(func(e realtime.Event) {
		if c, ok := e.(realtime.StateChange); ok && c.To == realtime.StateWaiting && c.Cause != nil {
			select {
			case trouble <- fmt.Errorf("%w: %w", errTriesAgain, c.Cause):
			default:
			}
		}
	}))
	s.portal.Emit(pulltest.Message{Command: "before"}) // or Ready would take two seconds
	sub, err := realtime.Subscribe(source{s.config(ctx), s.agent}, opts...)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- sub.Run(ctx, realtime.HandlerFunc(func(_ context.Context, m realtime.Message) error {
			if m.Command != "hello" {
				return nil
			}
			return errGotMessage
		}))
	}()
	defer func() {
		sub.Close()
		if ended != nil {
			<-ended
		}
	}()
	ready := sub.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			s.portal.Emit(pulltest.Message{Command: "hello"})
		case err := <-trouble:
			return err
		case err := <-ended:
			ended = nil
			if errors.Is(err, errGotMessage) {
				err = nil
			}
			return err
		}
	}
}
