package pulltest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// AuthServer is an authorization server that many portals share, as those of the
// cloud do: an application has one client id and one client secret, and one
// place where it refreshes the tokens of every portal it is installed on. Give
// it to the portals with [WithAuthServer].
//
// A request at it is its portal's: that portal's whose authorization code or
// refresh token it has. So [Portal.Misbehave] with [OAuth] makes it fail for one
// portal and not for the others, the portal's [Stats] count it, and its observer
// is told. A request with a code or a token that nobody has given out, or that has
// been used, is answered by the server itself, and counted nowhere.
type AuthServer struct {
	application Application
	network     *Network
	authority   *authority
	url         string
	client      *http.Client
	server      *http.Server
	conns       connections

	mu      sync.Mutex
	portals []*Portal
	closed  bool

	open    sync.WaitGroup
	serving sync.WaitGroup
	once    sync.Once
}

// NewAuthServer starts an authorization server for an application, which is
// completed as [WithApplication] does; its ApplicationToken is not used, since
// each portal has one of its own. It listens on a network in memory, as
// https://oauth.example, or with nil on a loopback port. It panics if it cannot
// listen. Close it when done.
func NewAuthServer(a Application, n *Network) *AuthServer {
	a.complete()
	a.ApplicationToken = ""
	s := &AuthServer{application: a, network: n, conns: connections{open: make(map[*serverConn]struct{})}}
	l, host, err := s.listen()
	if err != nil {
		panic(fmt.Sprintf("pulltest: cannot listen for an authorization server: %v", err))
	}
	cert, err := newCertificate(s.authority, host)
	if err != nil {
		panic(fmt.Sprintf("pulltest: cannot make a certificate: %v", err))
	}
	s.url = "https://" + host
	s.server = &http.Server{
		Handler:     http.HandlerFunc(s.serve),
		ConnContext: withRawConn,
		ConnState:   tracking(&s.open),
		ErrorLog:    log.New(panicsOnly{}, "", log.LstdFlags),
		Protocols:   http1(),
	}
	l = withTLS(&serverListener{l, &s.conns}, cert)
	s.serving.Go(func() { s.server.Serve(l) })
	return s
}

func (s *AuthServer) listen() (l net.Listener, host string, err error) {
	if s.network != nil {
		s.authority, s.client = &s.network.authority, s.network.HTTPClient()
		l, host = listenAs(s.network, "oauth")
		return l, host, nil
	}
	s.authority = new(authority)
	s.authority.make()
	s.client = newClient(nil, clientTLS(s.authority.roots(), false))
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
		host = l.Addr().String()
	}
	return l, host, err
}

// URL is the base of the server's paths, https and without a trailing slash;
// tokens are to be had at /oauth/token/ below it.
func (s *AuthServer) URL() string { return s.url }

// Application is what the server knows of the application. It has no
// ApplicationToken; see [Portal.Application].
func (s *AuthServer) Application() Application { return s.application }

// HTTPClient returns a client that reaches the server and all portals that have
// it: the server's authority signs their certificates, too. It is the same
// client each time, and on a Network that of [Network.HTTPClient].
func (s *AuthServer) HTTPClient() *http.Client { return s.client }

// Close cuts every connection, stops the server and waits until nothing of it
// runs any more. The portals go on without it.
func (s *AuthServer) Close() {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.conns.abortAll()
		s.server.Close()
	})
	s.serving.Wait()
	s.open.Wait()
	s.client.CloseIdleConnections()
}

// WithAuthServer has the portal's application be that of an authorization
// server, which gives out the tokens of this portal as well. The portal has its
// own member id and its own application_token, and its certificate is signed by
// the server's authority unless [WithCertificate] gives one. It is on the
// server's Network, if that has one.
// [Start] returns an error if [WithNetwork] or [WithApplication] says otherwise.
func WithAuthServer(s *AuthServer) Option {
	return func(o *options) { o.authServer = s }
}

// adopt takes over what the authorization server says of the portal.
func (o *options) adopt() error {
	s := o.authServer
	if s == nil {
		return nil
	}
	given := o.application
	switch {
	case o.network != nil && o.network != s.network:
		return errors.New("pulltest: WithAuthServer: it is not on the Network of WithNetwork; make both with the same one")
	case given.ClientID != "" && given.ClientID != s.application.ClientID,
		given.ClientSecret != "" && given.ClientSecret != s.application.ClientSecret:
		return errors.New("pulltest: WithAuthServer: WithApplication names another application; give that to NewAuthServer")
	case o.plainURLs:
		return errors.New("pulltest: WithAuthServer: it has an https address only, which does not go together with WithPlainURLs")
	}
	o.network = s.network
	o.application = s.application
	o.application.ApplicationToken = given.ApplicationToken
	return nil
}

// join has a portal's tokens be known.
func (s *AuthServer) join(p *Portal) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("pulltest: WithAuthServer: it is closed")
	}
	s.portals = append(s.portals, p)
	return nil
}

// leave undoes join. No request reaches the portal from then on.
func (s *AuthServer) leave(p *Portal) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.portals = slices.DeleteFunc(s.portals, func(q *Portal) bool { return p == q })
}

// serve hands a request to the portal it is about.
func (s *AuthServer) serve(w http.ResponseWriter, r *http.Request) {
	s.open.Add(1) // a hijacked connection is tracked no more
	defer s.open.Done()
	if r.URL.Path != tokenPath {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	r.Body = io.NopCloser(bytes.NewReader(body))
	form := r.Clone(r.Context())
	if err != nil || form.ParseForm() != nil {
		answerOAuth(w, nil, errInvalidRequest)
		return
	}
	p := s.enter(form.Form)
	if p == nil {
		refusal := errInvalidGrant
		if _, _, err := s.application.asked(form.Form); err != nil {
			refusal = err
		}
		answerOAuth(w, nil, refusal)
		return
	}
	defer p.open.Done()
	r.Body, r.Host = io.NopCloser(bytes.NewReader(body)), hostOf(s.url)
	p.server.Handler.ServeHTTP(w, r)
}

// enter finds the portal that a request for a token is about, and keeps it from
// being closed until open.Done.
func (s *AuthServer) enter(form url.Values) *Portal {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.portals {
		if p.auth.knows(form) {
			p.open.Add(1)
			return p
		}
	}
	return nil
}

// knows reports whether a request for a token has a code or a refresh token that
// was given out here.
func (a *auth) knows(form url.Values) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, code := a.codes[form.Get("code")]
	_, refresh := a.refresh[form.Get("refresh_token")]
	return code && form.Get("grant_type") == byCode || refresh && form.Get("grant_type") == byRefreshToken
}

// tracking counts the connections that net/http serves.
func tracking(open *sync.WaitGroup) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}
}
