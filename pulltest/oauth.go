package pulltest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	authorizePath = "/oauth/authorize/"
	tokenPath     = "/oauth/token/"

	byCode         = "authorization_code"
	byRefreshToken = "refresh_token"
)

// Errors of the authorization server.
var (
	errInvalidRequest  = &restError{http.StatusBadRequest, "invalid_request", "The request is missing a required parameter or is otherwise malformed."}
	errInvalidClient   = &restError{http.StatusUnauthorized, "invalid_client", "The client credentials are invalid."}
	errInvalidGrant    = &restError{http.StatusBadRequest, "invalid_grant", "The provided code or refresh token is invalid or has expired."}
	errInvalidScope    = &restError{http.StatusBadRequest, "invalid_scope", "The requested scope exceeds that of the application."}
	errAuthorization   = &restError{http.StatusUnauthorized, "authorization_error", "Unable to authorize user"}
	errPaymentRequired = &restError{http.StatusPaymentRequired, "PAYMENT_REQUIRED", "Payment required"}
)

// AuthServer is the base of the authorization server's paths, https and without
// a trailing slash; tokens are to be had at /oauth/token/ below it. On a
// Network it is https://oauth.example, for further portals
// https://oauth2.example and so on, with a certificate that HTTPClient trusts;
// without one, or with [WithPlainURLs], it is the URL that the portal has at the
// beginning. With [WithAuthServer] it is the URL of that one.
func (p *Portal) AuthServer() string { return p.authServer }

func (p *Portal) authHost() string { return hostOf(p.authServer) }

// authorizing serves the authorization server where that is a host of its own.
func (p *Portal) authorizing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !p.atAuthHost(r):
			next.ServeHTTP(w, r)
		case r.URL.Path == tokenPath:
			p.serveToken(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// authorize is the page where the user who is signed in lets the application
// in, without asking.
func (p *Portal) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	to := query.Get("redirect_uri")
	if to == "" {
		to = p.opts.application.RedirectURL
	}
	target, err := url.Parse(to)
	switch {
	case query.Get("client_id") != p.opts.application.ClientID:
		answerOAuth(w, nil, errInvalidClient)
		return
	case err != nil || !target.IsAbs():
		answerOAuth(w, nil, errInvalidRequest)
		return
	}
	answer := target.Query()
	for name, value := range map[string]string{
		"code":          p.auth.code(),
		"state":         query.Get("state"),
		"domain":        p.hostname(),
		"member_id":     p.opts.memberID,
		"scope":         p.opts.scope(),
		"server_domain": p.authHost(),
	} {
		answer.Set(name, value)
	}
	target.RawQuery = answer.Encode()
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusFound)
}

// serveToken gives out tokens. Parameters may come in a form or in the query.
func (p *Portal) serveToken(w http.ResponseWriter, r *http.Request) {
	p.push.hub.count(func(s *Stats) { s.TokenRequests++ })
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if r.ParseForm() != nil || r.Method != http.MethodPost && r.Method != http.MethodGet {
		answerOAuth(w, nil, errInvalidRequest)
		return
	}
	token, err := p.grant(r.Form)
	if err != nil {
		noteOf(r).event.Reason = err.code
		answerOAuth(w, nil, err)
		return
	}
	answerOAuth(w, p.describeToken(token), nil)
}

func (p *Portal) grant(form url.Values) (Token, *restError) {
	kind, key, err := p.opts.application.asked(form)
	switch {
	case err != nil:
		return Token{}, err
	case !p.opts.allows(form.Get("scope")):
		return Token{}, errInvalidScope
	case kind == byCode:
		return p.redeem(p.auth.exchange, key, func(s *Stats) { s.Exchanges++ })
	default:
		return p.redeem(p.auth.rotate, key, func(s *Stats) { s.Refreshes++ })
	}
}

// asked is which kind of grant a request for a token wants, and by what code or
// refresh token.
func (a Application) asked(form url.Values) (kind, key string, err *restError) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	switch {
	case id == "" || secret == "":
		return "", "", errInvalidRequest
	case id != a.ClientID || secret != a.ClientSecret:
		return "", "", errInvalidClient
	}
	switch kind = form.Get("grant_type"); kind {
	case byCode:
		key = form.Get("code")
	case byRefreshToken:
		key = form.Get("refresh_token")
	}
	if key == "" {
		return "", "", errInvalidRequest
	}
	return kind, key, nil
}

// redeem counts what is granted.
func (p *Portal) redeem(by func(string) (Token, *restError), key string, count func(*Stats)) (Token, *restError) {
	token, err := by(key)
	if err == nil {
		p.push.hub.count(count)
	}
	return token, err
}

// allows reports whether the application has all scopes of a list.
func (o *options) allows(scope string) bool {
	for _, s := range strings.FieldsFunc(scope, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(o.scopes, s) {
			return false
		}
	}
	return true
}

// tokenAnswer is what the authorization server says of a token, and much of
// what the portal tells an application of it.
type tokenAnswer struct {
	AccessToken    string `json:"access_token"`
	ClientEndpoint string `json:"client_endpoint"`
	Domain         string `json:"domain"`
	Expires        any    `json:"expires"`
	ExpiresIn      any    `json:"expires_in"`
	MemberID       string `json:"member_id"`
	RefreshToken   string `json:"refresh_token"`
	Scope          string `json:"scope"`
	ServerEndpoint string `json:"server_endpoint"`
	Status         string `json:"status"`
	UserID         any    `json:"user_id"`
}

// applicationStatus is that of an application made for one portal.
const applicationStatus = "L"

func (p *Portal) describeToken(t Token) tokenAnswer {
	number := func(n int64) any {
		if p.opts.stringNumbers {
			return strconv.FormatInt(n, 10)
		}
		return n
	}
	return tokenAnswer{
		AccessToken:    t.AccessToken,
		ClientEndpoint: p.clientEndpoint(),
		Domain:         p.authHost(),
		Expires:        number(t.Expires.Unix()),
		ExpiresIn:      number(int64(p.opts.accessLife.Seconds())),
		MemberID:       p.opts.memberID,
		RefreshToken:   t.RefreshToken,
		Scope:          p.opts.scope(),
		ServerEndpoint: p.serverEndpoint(),
		Status:         applicationStatus,
		UserID:         number(int64(t.UserID)),
	}
}

func (p *Portal) clientEndpoint() string { return p.URL() + "/rest/" }
func (p *Portal) serverEndpoint() string { return p.authServer + "/rest/" }

func answerOAuth(w http.ResponseWriter, answer any, err *restError) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(err.status)
		answer = map[string]string{"error": err.code, "error_description": err.description}
	}
	json.NewEncoder(w).Encode(answer)
}
