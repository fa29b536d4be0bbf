package realtime

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// world is what a subscription finds, and what goes wrong in it.
type world struct {
	*life
	deaf      atomic.Value // who does not speak TLS, "" for nobody
	untrusted atomic.Value // whose certificate is not trusted, "" for nobody's
	unknown   atomic.Value // whose name does not exist
	token     atomic.Value // the access token that the source gives
}

// Whom a request is for. A portal, its push server and its authorization server
// can have one name.
const (
	thePortal = "portal"
	theAuth   = "authorization server"
	thePush   = "push server"
	theSocket = "push server by websockets"
)

func whose(r *http.Request) string {
	switch {
	case strings.HasPrefix(r.URL.Path, "/rest/"):
		return thePortal
	case strings.HasPrefix(r.URL.Path, "/oauth/"):
		return theAuth
	case r.Header.Get("Upgrade") != "":
		return theSocket
	}
	return thePush
}

// isFor reports whether a request is for one that something is wrong with.
func isFor(r *http.Request, who any) bool {
	asked := whose(r)
	return asked == who || asked == theSocket && who == thePush
}

func newWorld(l *life) *world {
	w := &world{life: l}
	w.deaf.Store("")
	w.untrusted.Store("")
	w.unknown.Store("")
	return w
}

// client trusts all but one, and does not find another.
func (w *world) client() *http.Client {
	good := w.portal.HTTPClient().Transport.(*http.Transport).Clone()
	good.DisableKeepAlives = true
	bad := good.Clone()
	bad.TLSClientConfig.RootCAs = nil
	lost := good.Clone()
	lost.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
	}
	plain := good.Clone()
	plain.DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_, _ = theirs.Read(make([]byte, 1024))
			_, _ = theirs.Write([]byte("SSH-2.0-OpenSSH_10.0\r\n"))
		}()
		return ours, nil
	}
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		switch {
		case isFor(r, w.deaf.Load()):
			return plain.RoundTrip(r)
		case isFor(r, w.unknown.Load()):
			return lost.RoundTrip(r)
		case isFor(r, w.untrusted.Load()):
			return bad.RoundTrip(r)
		}
		return good.RoundTrip(r)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// withoutRefresh has a world's source be one of x/oauth2 whose token has expired
// and has no refresh token.
const withoutRefresh = "without a refresh token"

// Token makes a world a source that cannot refresh.
func (w *world) Token() (*oauth2.Token, error) {
	token, _ := w.token.Load().(string)
	if token == withoutRefresh {
		old := &oauth2.Token{AccessToken: "s3cr3t-and-old", Expiry: time.Now().Add(-time.Hour)}
		return new(oauth2.Config).TokenSource(context.Background(), old).Token()
	}
	return &oauth2.Token{AccessToken: token}, nil
}

// source is the application, with tokens that are not refreshed.
func (w *world) source() ConfigSource {
	return w.made(b24pull.New(b24pull.OAuth(w.portal.URL(), w), b24pull.WithHTTPClient(w.client())))
}

// refreshing is the application, with a token that has to be refreshed first.
func (w *world) refreshing() ConfigSource {
	_, c := w.tokens()
	return c
}

// tokens are the application's, of which one has to be refreshed, and a client
// that has it.
func (w *world) tokens() (*oauth.Tokens, *b24pull.Client) {
	app := w.portal.Application()
	tokens, err := oauth.NewTokens(&oauth.Application{
		ClientID: app.ClientID, ClientSecret: b24pull.Secret(app.ClientSecret),
		AuthServer: w.portal.AuthServer(), HTTPClient: w.client(),
	}, new(oauth.MemoryStore))
	if err != nil {
		w.t.Fatal(err)
	}
	given := w.portal.Token(w.portal.Users()[0].ID)
	old := &oauth.Token{Token: oauth2.Token{AccessToken: given.AccessToken, RefreshToken: given.RefreshToken, Expiry: time.Now().Add(-time.Hour)}}
	w.portal.ExpireToken()
	if err := tokens.Put(w.t.Context(), "portal", old); err != nil {
		w.t.Fatal(err)
	}
	return tokens, w.made(b24pull.New(b24pull.OAuth(w.portal.URL(), tokens.Source("portal")), b24pull.WithHTTPClient(w.client())))
}

func (w *world) webhook(address string) ConfigSource {
	c, err := b24pull.New(b24pull.Webhook(address), b24pull.WithHTTPClient(w.client()))
	w.made(c, err)
	return PortalConfig(c)
}

func (w *world) made(c *b24pull.Client, err error) *b24pull.Client {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// misbehave is a fault of a service, and its end.
func misbehave(service pulltest.Service, fault pulltest.Fault) func(*world, bool) {
	return func(w *world, wrong bool) {
		if wrong {
			w.portal.Misbehave(service, fault)
		} else {
			w.portal.Behave(service)
		}
	}
}

// distrust is a certificate, hide a name that goes wrong.
func distrust(who string) func(*world, bool) {
	return func(w *world, wrong bool) { set(&w.untrusted, who, wrong) }
}

func hide(who string) func(*world, bool) {
	return func(w *world, wrong bool) { set(&w.unknown, who, wrong) }
}

func deafen(who string) func(*world, bool) {
	return func(w *world, wrong bool) { set(&w.deaf, who, wrong) }
}

func set(v *atomic.Value, who string, wrong bool) {
	if v.Store(""); wrong {
		v.Store(who)
	}
}

// wrongs are what somebody has to see to.
var wrongs = []struct {
	name   string
	set    func(w *world, wrong bool)
	source func(*world) ConfigSource // nil: the application
	opts   []Option
	portal []pulltest.Option
	final  bool     // afterwards, too
	text   []string // of the error
}{
	{name: "empty token", set: func(w *world, wrong bool) {
		if wrong {
			w.token.Store("")
		}
	}, text: []string{"empty token", "give it"}},
	{name: "expired token", set: misbehave(pulltest.REST, pulltest.RESTError(401, "expired_token")), text: []string{"expired_token", "no other one", "refreshes"}},
	{name: "expired token without a refresh token", set: func(w *world, wrong bool) {
		if wrong {
			w.token.Store(withoutRefresh)
		}
	}, text: []string{"refresh token is not set", "refreshes"}},
	{name: "unknown token", set: func(w *world, wrong bool) {
		if wrong {
			w.token.Store("s3cr3t-of-another-portal")
		}
	}, final: true, text: []string{"NO_AUTH_FOUND"}},
	{name: "wrong code", set: func(*world, bool) {}, source: func(w *world) ConfigSource {
		return w.webhook(w.portal.URL() + "/rest/1/s3cr3tcode/")
	}, final: true, text: []string{"webhook"}},
	{name: "missing scope", set: misbehave(pulltest.REST, pulltest.RESTError(403, "insufficient_scope")), text: []string{"insufficient_scope", "pull"}},
	{name: "no REST for the plan", set: misbehave(pulltest.REST, pulltest.RESTError(403, "ACCESS_DENIED")), text: []string{"ACCESS_DENIED", "administrator"}},
	{name: "unknown refusal", set: misbehave(pulltest.REST, pulltest.RESTError(400, "NEW")), text: []string{"NEW"}},
	{name: "404 page", set: misbehave(pulltest.REST, pulltest.FalseAnswer(404, "text/html", "<h1>Not Found</h1>")), text: []string{"404"}},
	{name: "web page", set: misbehave(pulltest.REST, pulltest.WebPage), text: []string{"text/html"}},
	{name: "login page", set: misbehave(pulltest.REST, pulltest.LoginPage), text: []string{"login page"}},
	{name: "portal's certificate", set: distrust(thePortal), text: []string{"certificate"}},
	{name: "portal's name", set: hide(thePortal), text: []string{"no such host", "check the host's name"}},
	{name: "portal's port", set: deafen(thePortal), text: []string{"portal.example:443", "does not speak https", "port"}},

	{name: "authorization server's certificate", source: (*world).refreshing, set: distrust(theAuth), text: []string{"certificate"}},
	{name: "authorization server's name", source: (*world).refreshing, set: hide(theAuth), text: []string{"no such host"}},
	{name: "no authorization server", source: (*world).refreshing, set: misbehave(pulltest.OAuth, pulltest.FalseAnswer(404, "text/html", "<h1>Not Found</h1>")), text: []string{"404"}},
	{name: "unknown application", source: (*world).refreshing, set: misbehave(pulltest.OAuth, pulltest.RESTError(400, "invalid_client")), final: true, text: []string{"invalid_client", "client_secret"}},
	{name: "new refusal of the authorization server", source: (*world).refreshing, set: misbehave(pulltest.OAuth, pulltest.RESTError(400, "unauthorized_client")), text: []string{"unauthorized_client"}},

	{name: "push server's certificate", set: distrust(thePush), text: []string{"certificate", "push server"}},
	{name: "push server's certificate, websocket", set: distrust(thePush), opts: []Option{WithTransport(TransportWebSocket)}, text: []string{"certificate", "push server"}},
	{name: "push server's certificate, polls", set: distrust(thePush), opts: []Option{WithTransport(TransportLongPolling)}, text: []string{"certificate", "push server"}},
	{name: "push server's certificate, no polls", set: distrust(thePush), portal: []pulltest.Option{pulltest.WithVersion(5), pulltest.WithoutPolling()}, text: []string{"certificate", "push server"}},
	{name: "push server's name", set: hide(thePush), text: []string{"no such host", "push server"}},
	{name: "push server's name, websocket", set: hide(thePush), opts: []Option{WithTransport(TransportWebSocket)}, text: []string{"no such host", "push server"}},
	{name: "push server's port", set: deafen(thePush), text: []string{"push server", "TLS", "port"}},
	{name: "push server's name, polls", set: hide(thePush), opts: []Option{WithTransport(TransportLongPolling)}, text: []string{"no such host", "push server"}},
}

// open makes a world in which nothing is wrong yet.
func (w *world) open(opts ...pulltest.Option) {
	w.life.open(opts...)
	w.token.Store(w.portal.AccessToken())
}
