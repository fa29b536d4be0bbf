package oauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/internal/useragent"
)

// The authorization servers of Bitrix24. They and the one that an Application
// names are the only ones to see its client_secret.
const (
	// AuthServerWest serves portals of the West.
	AuthServerWest = "https://oauth.bitrix.info"
	// AuthServerEast serves portals of the East.
	AuthServerEast = "https://oauth.bitrix24.tech"
)

// Application is a Bitrix24 application as it was registered. It makes tokens:
// of a code, after a user was sent to AuthCodeURL, or of an older token. An
// application that portals install gets its first token with a Callback
// instead. Do not change it once it is in use.
type Application struct {
	// ClientID and ClientSecret name the application. The secret goes to
	// authorization servers only, over https, in the body of a POST.
	ClientID     string
	ClientSecret b24pull.Secret
	// RedirectURL is where the user comes back to; "" for the one that was
	// registered.
	RedirectURL string
	// Scopes are what to ask for; nil for what was registered.
	Scopes []string
	// AuthServer is the authorization server, scheme and host; "" for
	// AuthServerWest. A token's own server is asked first if it is this one,
	// AuthServerWest or AuthServerEast.
	AuthServer string
	// HTTPClient calls the authorization server; nil for one with net/http's
	// default transport. Redirects are not followed. It needs no Timeout:
	// Exchange and each refresh end within a minute, which begins with its
	// turn where a fleet has them wait for one. A shorter one costs a token if
	// the server answers later.
	HTTPClient *http.Client
	// UserAgent is the User-Agent header of what the authorization server is
	// asked; "" for b24pull.DefaultUserAgent.
	UserAgent string
}

// check tells what is wrong with the Application; it returns the authorization
// server.
func (a *Application) check() (*url.URL, error) {
	if a == nil {
		return nil, errors.New("b24pull: the application is nil; give an Application with the ClientID and the ClientSecret that the portal or the marketplace shows")
	}
	for _, field := range []struct{ name, value string }{{"ClientID", a.ClientID}, {"ClientSecret", string(a.ClientSecret)}} {
		if addr.Trim(field.value) == "" {
			return nil, fmt.Errorf("b24pull: application: %s is empty", field.name)
		}
	}
	if err := useragent.Check(a.userAgent()); err != nil {
		return nil, fmt.Errorf("b24pull: application: UserAgent: %w", err)
	}
	u, err := authServer(cmp.Or(a.AuthServer, AuthServerWest))
	if err != nil {
		return nil, fmt.Errorf("b24pull: application: AuthServer: %w", err)
	}
	return u, nil
}

func (a *Application) userAgent() string { return cmp.Or(a.UserAgent, b24pull.DefaultUserAgent) }

// authServer wants scheme and host. A path is left out: what tokens name has
// one.
func authServer(address string) (*url.URL, error) {
	u, err := addr.Base(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w; want https://HOST", err)
	case u.Scheme != "https" && !(u.Scheme == "http" && addr.Loopback(u.Hostname())):
		return nil, errors.New("https is required (http for a loopback host only): the client_secret goes there")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// serverFor returns the authorization server that a callback or a token names,
// if it may see the client_secret, and else the application's.
func (a *Application) serverFor(named string) (*url.URL, error) {
	own, err := a.check()
	if err != nil {
		return nil, err
	}
	if u := a.namedServer(named); u != nil {
		return u, nil
	}
	return own, nil
}

// namedServer returns the authorization server that a callback or a token
// names, nil if that may not see the client_secret.
func (a *Application) namedServer(named string) *url.URL {
	u, err := authServer(addr.WithScheme(named)) // server_domain is a bare host
	if err != nil {
		return nil
	}
	own, err := a.check()
	switch address := u.String(); {
	case address == AuthServerWest, address == AuthServerEast, err == nil && address == own.String():
		return u
	}
	return nil
}

func (a *Application) config(server string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: addr.Trim(a.ClientID), ClientSecret: addr.Trim(string(a.ClientSecret)), RedirectURL: addr.Trim(a.RedirectURL),
		Endpoint: oauth2.Endpoint{AuthURL: server + "/oauth/authorize/", TokenURL: server + "/oauth/token/", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// AuthCodeURL returns the address on the portal to send a user's browser to.
// state is a value that nobody can guess, like that of crypto/rand.Text, kept
// in the user's session for ParseRedirect.
func (a *Application) AuthCodeURL(portal, state string) (string, error) {
	if _, err := a.check(); err != nil {
		return "", err
	}
	base, err := addr.PlainREST(portal, true)
	switch {
	case err != nil:
		return "", fmt.Errorf("b24pull: application: %w", err)
	case base.Scheme == "http" && !addr.Loopback(base.Hostname()):
		return "", errors.New("b24pull: application: https is required (http for a loopback host only): the code comes back from there")
	case state == "":
		return "", errors.New("b24pull: application: the state is empty: anybody could bring a code of his own")
	}
	var opts []oauth2.AuthCodeOption
	if len(a.Scopes) > 0 {
		opts = append(opts, oauth2.SetAuthURLParam("scope", strings.Join(a.Scopes, ",")))
	}
	return a.config(base.Scheme+"://"+base.Host).AuthCodeURL(state, opts...), nil
}

// Exchange makes a token of a code that ParseRedirect returned. A code lives
// for 30 seconds and works once: if ctx ends before the answer has come, the
// user has to be sent to AuthCodeURL again. It ends after a minute where ctx
// does not end it sooner.
//
// Portal is https on the host that the authorization server names as the
// portal's, or else on that of the redirect. What else the answer does not
// tell, or not in a form that can be read, is taken from the redirect as well,
// or left out: only a missing access_token is an error.
//
// Errors: a *b24pull.TokenError, like b24pull.ErrInvalidGrant for a code that
// is too old, or b24pull.ErrPaymentRequired. b24pull.ErrAuthorization is met
// with some repeats, within seconds.
func (a *Application) Exchange(ctx context.Context, code AuthCode) (*Token, error) {
	server, err := a.serverFor(code.Server)
	if err != nil {
		return nil, err
	}
	known := redact.Redactor{}.With(string(a.ClientSecret), string(code.Code))
	answer, err := a.callServer(ctx, known, server, func(ctx context.Context) (*oauth2.Token, error) {
		return a.config(server.String()).Exchange(ctx, string(code.Code))
	})
	t, err := a.take(known, answer, err)
	if err != nil {
		return nil, err
	}
	t.Portal = cmp.Or(t.Portal, addr.Portal(code.Portal))
	t.inherit(&Token{MemberID: code.MemberID, Scope: scopes(code.Scope)})
	if t.ServerEndpoint == "" && code.Server != "" {
		t.ServerEndpoint = server.String() + "/rest/" // no other one knows the token
	}
	return t, nil
}

// Refresh makes a new token of an older one, whose refresh token is dead
// afterwards: save the new one before it is used. The portal, the member and
// the user stay those of the old one, where it has them; a portal that moves
// tells that itself, see b24pull.WithMoved. What else the answer does not tell,
// or not in a form that can be read, is taken from the old one too: nothing but
// a missing access_token is an error, since the old refresh token is spent by
// then. Tokens does all that.
//
// An answer that is lost on its way is a token lost: the authorization server
// has changed the refresh token then, and the next try is
// b24pull.ErrInvalidGrant. Only a user who opens or authorizes the application
// again brings another. So ctx should not be that of a request, whose end
// breaks the call off.
//
// Trying again loses nothing that is not lost already. Where the server was not
// reached, or has failed before it did anything, it brings the token.
//
// Errors: a *b24pull.TokenError, like b24pull.ErrInvalidGrant or
// b24pull.ErrPaymentRequired. b24pull.ErrAuthorization, which spends no token,
// is met with some repeats, within seconds.
func (a *Application) Refresh(ctx context.Context, old *Token) (*Token, error) {
	if old == nil {
		old = new(Token)
	}
	t, err := a.refresh(ctx, old)
	if err != nil {
		return nil, err
	}
	t.Portal = cmp.Or(addr.Portal(old.Portal), t.Portal)
	t.MemberID = cmp.Or(old.MemberID, t.MemberID)
	t.UserID = cmp.Or(old.UserID, t.UserID)
	t.inherit(old)
	return t, nil
}

var errNoRefreshToken = &b24pull.TokenError{Err: netfail.ErrNoRefreshToken}

// refresh returns the token as it was answered.
func (a *Application) refresh(ctx context.Context, old *Token) (*Token, error) {
	refreshToken := addr.Trim(old.RefreshToken)
	if refreshToken == "" {
		return nil, errNoRefreshToken
	}
	server, err := a.serverFor(old.ServerEndpoint)
	if err != nil {
		return nil, err
	}
	known := redact.Redactor{}.With(string(a.ClientSecret), old.RefreshToken, old.AccessToken)
	answer, err := a.callServer(ctx, known, server, func(ctx context.Context) (*oauth2.Token, error) {
		return a.config(server.String()).TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	})
	t, err := a.take(known, answer, err)
	if e, ok := err.(*b24pull.TokenError); ok && answerLost(e) {
		e.Err = fmt.Errorf("%w; the new token may be lost with the answer: if the next refresh is invalid_grant, "+
			"have a user open or authorize the application again", cmp.Or(e.Err, netfail.Status(e.Status)))
	}
	return t, err
}

// passing are the pauses before the authorization server is asked again that
// has answered authorization_error. It has spent neither the code nor the
// refresh token then.
var passing = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// callServer has x/oauth2 call the authorization server, and again if its
// refusal passes. It ends within refreshTimeout, which does not run while it
// waits for its turn among other requests.
func (a *Application) callServer(ctx context.Context, known redact.Redactor, server *url.URL, call func(context.Context) (*oauth2.Token, error)) (*oauth2.Token, error) {
	ctx, cancel := gate.WithTimeout(ctx, refreshTimeout, nil)
	defer cancel()
	for attempt := 0; ; attempt++ {
		answer, err := a.askOnce(ctx, known, server, call)
		var refused *oauth2.RetrieveError
		passes := errors.As(err, &refused) && errors.Is(&b24pull.TokenError{Code: refused.ErrorCode}, b24pull.ErrAuthorization)
		if !passes || attempt == len(passing) || !sleep.Within(ctx, passing[attempt]) {
			return answer, err
		}
	}
}

func (a *Application) askOnce(ctx context.Context, known redact.Redactor, server *url.URL, call func(context.Context) (*oauth2.Token, error)) (*oauth2.Token, error) {
	place, late := gate.Enter(ctx, gate.REST, server.Host, nil)
	if late != nil {
		return nil, &netfail.Error{Text: "its turn among requests to all hosts has not come: " + late.Error(), Err: late, Sent: netfail.NotSent}
	}
	defer place.Leave()
	var trace netfail.Trace
	var location string
	answer, err := call(a.context(redact.KeepLocation(trace.Watch(place.Context(ctx)), &location)))
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil && netfail.Redirected(refused.Response.StatusCode) {
		status := refused.Response.StatusCode
		return nil, &b24pull.TokenError{Status: status, Err: fmt.Errorf("the authorization server answered with %s (HTTP %d)", known.Redirect(status, server, location), status)}
	}
	if err != nil && netfail.FromNetwork(err) {
		clean := known.Error(err)
		err = &netfail.Error{Text: netfail.Explain(known.Text(addr.HostPort(server)), clean), Err: clean, Sent: trace.Sent()}
	}
	return answer, err
}

// answerLost reports whether the authorization server may have given out a
// token that has not arrived.
func answerLost(e *b24pull.TokenError) bool {
	var broken *netfail.Error
	if e.Code != "" || netfail.Redirected(e.Status) || errors.As(e.Err, &broken) && broken.NotSent() {
		return false
	}
	return e.Err != nil || e.Status >= http.StatusInternalServerError
}

// authError says why there is no token.
func authError(known redact.Redactor, err error) error {
	clean := known.Error(err)
	if _, ok := clean.(*b24pull.TokenError); ok {
		return clean
	}
	refusal, cause := netfail.Refusal(clean, err)
	e := &b24pull.TokenError{Code: refusal.Code, Status: refusal.Status, RetryAfter: refusal.RetryAfter, Err: cause}
	if errors.Is(e, b24pull.ErrAuthorization) && cause == nil {
		e.Err = errAsked
	}
	return e
}

// errAsked is the cause of an authorization_error that has not passed.
var errAsked error = askedError{}

type askedError struct{}

func (askedError) Error() string { return "the authorization server was asked several times" }

// Class is that of b24pull.ErrAuthorization.
func (askedError) Class() b24pull.Class { return b24pull.ClassUnavailable }

// Repeatable reports false: a call that is repeated would ask as often again.
func (askedError) Repeatable() bool { return false }

// inherit takes from old what an answer may leave out.
func (t *Token) inherit(old *Token) {
	t.ServerEndpoint = cmp.Or(t.ServerEndpoint, old.ServerEndpoint)
	t.MemberID = cmp.Or(t.MemberID, old.MemberID)
	t.UserID = cmp.Or(t.UserID, old.UserID)
	t.Status = cmp.Or(t.Status, old.Status)
	if t.ApplicationToken == "" {
		t.ApplicationToken, t.inherited = old.ApplicationToken, old.inherited
	}
	if len(t.Scope) == 0 {
		t.Scope = old.Scope
	}
}

// take decodes an answer of the authorization server, which tolerant has gone
// over.
func (a *Application) take(known redact.Redactor, answer *oauth2.Token, err error) (*Token, error) {
	if err != nil {
		return nil, authError(known, err)
	}
	fields := map[string]any{}
	// Not the domain, which is the authorization server's own.
	for _, name := range []string{"access_token", "refresh_token", "expires", "expires_in", "client_endpoint", "server_endpoint",
		"member_id", "user_id", "scope", "status"} {
		if v := answer.Extra(name); v != nil && v != "" {
			fields[name] = v
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, authError(known, err)
	}
	t := new(Token)
	if err := t.UnmarshalJSON(data); err != nil {
		return nil, &b24pull.TokenError{Err: err}
	}
	t.RefreshToken = cmp.Or(t.RefreshToken, answer.RefreshToken)
	if a.namedServer(t.ServerEndpoint) == nil {
		t.ServerEndpoint = ""
	}
	return t, nil
}

// context has x/oauth2 call with our client. Nothing can bring the secret
// elsewhere: redirects are not followed.
func (a *Application) context(ctx context.Context) context.Context {
	var own http.Client
	if a.HTTPClient != nil {
		own = *a.HTTPClient
	}
	own.Transport = tolerant{useragent.Transport{Base: redact.NewTransport(own.Transport), Agent: a.userAgent()}}
	return context.WithValue(ctx, oauth2.HTTPClient, &own)
}
