package pulltest

import (
	"sync"
	"time"
)

// codeLife is how long an authorization code can be exchanged.
const codeLife = 30 * time.Second

// auth knows who may call REST: the webhook's code, and what the application
// was given.
type auth struct {
	webhook string
	first   string // the token of AccessToken at the beginning
	opts    *options

	mu               sync.Mutex
	installed        bool
	signedIn         int // who uses the portal's pages
	applicationToken string
	token            string // the one without an end of its own
	access           map[string]grant
	refresh          map[string]grant
	codes            map[string]grant
}

// grant is what one of the application's tokens or codes is good for.
type grant struct {
	user int
	end  time.Time // zero: none
}

// maxGrants is how many tokens of a kind are known at most. Beyond it those are
// forgotten that end first.
const maxGrants = 1 << 16

// give adds a grant to the tokens or codes of its kind.
func give(grants map[string]grant, token string, g grant) {
	forgetHalf(grants, maxGrants, func(a, b grant) int {
		switch {
		case a.end.IsZero() == b.end.IsZero():
			return a.end.Compare(b.end)
		case a.end.IsZero(): // without an end, it comes last
			return 1
		default:
			return -1
		}
	})
	grants[token] = g
}

// Token is a pair of OAuth tokens, as the authorization server gives them out.
type Token struct {
	AccessToken  string
	RefreshToken string
	Expires      time.Time // the end of the access token, by the portal's clock
	UserID       int
}

func newAuth(o *options) *auth {
	a := &auth{webhook: randomSecret()[:16], first: randomSecret(), opts: o}
	a.begin()
	return a
}

// begin is how it is at the beginning. The caller holds a.mu, or is the only one
// who knows a.
func (a *auth) begin() {
	a.signedIn, a.applicationToken = a.opts.first(), a.opts.application.ApplicationToken
	a.install(a.first)
}

// install makes the application known, with nothing granted but the token of
// AccessToken. The caller holds a.mu, or is the only one who knows a.
func (a *auth) install(token string) {
	a.access, a.refresh, a.codes = make(map[string]grant), make(map[string]grant), make(map[string]grant)
	a.token = token
	a.access[a.token] = grant{user: a.opts.first()}
	a.installed = true
}

func (a *auth) uninstall() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.installed = false
}

// reinstall is install, where the application is not.
func (a *auth) reinstall() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.installed {
		a.install(randomSecret())
		a.applicationToken = randomSecret()
	}
}

// expire ends every access token and returns a new one without an end.
func (a *auth) expire() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for token, g := range a.access {
		g.end = longAgo
		a.access[token] = g
	}
	a.token = randomSecret()
	a.access[a.token] = grant{user: a.opts.first()}
	return a.token
}

// revoke makes all tokens and codes unknown.
func (a *auth) revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.installed {
		a.install(randomSecret())
	}
}

// check returns who calls with the access token.
func (a *auth) check(token string) (user int, err *restError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, known := a.access[token]
	switch {
	case !known || !a.installed:
		return 0, errNoAuth
	case a.over(g):
		return 0, errExpiredToken
	}
	return g.user, nil
}

// longAgo is before all that a clock can be set to.
var longAgo = time.Time{}.Add(1)

func (a *auth) over(g grant) bool { return !g.end.IsZero() && !a.opts.clock.now().Before(g.end) }

// issue gives out a new pair of tokens.
func (a *auth) issue(user int) Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pair(user)
}

func (a *auth) pair(user int) Token {
	now := a.opts.clock.now()
	t := Token{randomSecret(), randomSecret(), now.Add(a.opts.accessLife), user}
	give(a.access, t.AccessToken, grant{user, t.Expires})
	give(a.refresh, t.RefreshToken, grant{user, now.Add(a.opts.refreshLife)})
	return t
}

// code gives out an authorization code of the user who is signed in.
func (a *auth) code() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	code := randomSecret()
	give(a.codes, code, grant{a.signedIn, a.opts.clock.now().Add(codeLife)})
	return code
}

// exchange takes an authorization code, which is good once.
func (a *auth) exchange(code string) (Token, *restError) { return a.redeem(&a.codes, code) }

// rotate takes a refresh token, which is good once.
func (a *auth) rotate(token string) (Token, *restError) { return a.redeem(&a.refresh, token) }

func (a *auth) redeem(grants *map[string]grant, key string) (Token, *restError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, known := (*grants)[key]
	delete(*grants, key)
	if !known || !a.installed || a.over(g) {
		return Token{}, errInvalidGrant
	}
	return a.pair(g.user), nil
}

// AccessToken is an OAuth access token of the application for the first user, good
// until ExpireToken or Uninstall, and without a refresh token; see
// [Portal.Token] for one as applications get it.
func (p *Portal) AccessToken() string {
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	return p.auth.token
}

// ExpireToken ends the life of all access tokens given out so far, which are
// answered 401 expired_token from now on, and returns a new one as AccessToken
// does. Refresh tokens are not touched.
func (p *Portal) ExpireToken() string { return p.auth.expire() }

// RevokeTokens takes back all tokens and codes given out so far, while the
// application stays installed: access tokens are answered 401 NO_AUTH_FOUND from
// now on, and refresh tokens invalid_grant. AccessToken returns a new one, and
// those who authorize, install or open the application are given new ones.
func (p *Portal) RevokeTokens() { p.auth.revoke() }

// Token gives out a pair of tokens for a user, as the exchange of an
// authorization code does. It panics at a user that there is not.
func (p *Portal) Token(user int) Token {
	p.opts.mustKnow(user)
	return p.auth.issue(user)
}

// SignIn says who uses the portal's pages from now on, and is the one who
// authorizes, installs and opens the application; it is the first user before.
// It panics at a user that there is not.
func (p *Portal) SignIn(user int) {
	p.opts.mustKnow(user)
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	p.auth.signedIn = user
}
