package b24pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/panics"
	"github.com/b24pull/b24pull/internal/redact"
)

// Auth says who calls: Webhook or OAuth. It prints without its secrets.
type Auth interface {
	fmt.Formatter
	slog.LogValuer

	// endpoint checks what the Auth was made of. plain has http be taken for
	// every host.
	endpoint(plain bool) (endpoint, error)
	// token returns the token to call with, nil where a call needs none.
	token(ctx context.Context) (*oauth2.Token, error)
	// refused is told that the portal refused a token as expired. It returns
	// another one, or nil if it has none.
	refused(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error)
	// unknown is told that the portal does not know a token. It returns another
	// one, or nil if it has none.
	unknown(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error)
	// rejected is told that the portal refused a token, too, that refused has
	// returned.
	rejected(token *oauth2.Token)
}

// An endpoint is where calls go.
type endpoint struct {
	base    *url.URL // ends with a slash; the method's name follows
	portal  string   // scheme://host
	secrets redact.Redactor
}

// TokenRefresher is a TokenSource that can also be told that the portal refused
// a token (401 expired_token). The call is then repeated once with what Refresh
// returns.
type TokenRefresher interface {
	oauth2.TokenSource

	// Refresh returns a token other than the refused one. It may be called by
	// several goroutines with the same refused token; it should refresh once
	// and give the new token to all. Later calls of Token must return the new
	// token too. A call whose context ends does not wait for Refresh.
	Refresh(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error)
}

// TokenReloader is a TokenRefresher that shares its tokens with other
// processes, or that asks for them at a distance. It is told what else a portal
// says of a token.
type TokenReloader interface {
	TokenRefresher

	// Reload is told that the portal does not know a token (NO_AUTH_FOUND). It
	// returns another one, if there is one by now, and else nil. The call is
	// then repeated once with it. Reload does not refresh.
	Reload(ctx context.Context, unknown *oauth2.Token) (*oauth2.Token, error)
	// Rejected is told that the portal has refused a token as expired in the
	// very call that Refresh has returned it for. It does not wait.
	Rejected(token *oauth2.Token)
}

// Webhook calls as the owner of an incoming webhook. url is the webhook's
// address as the portal shows it, https://portal.bitrix24.com/rest/USER/CODE/,
// or that of the newer REST, https://portal.bitrix24.com/rest/api/USER/CODE/,
// and is a secret. Calls go below that address; a method's name at its end, as
// portals show it in examples, is left out. New checks it: https is required,
// http is taken for a loopback host, or with WithPlainHTTP. White space and quotes around it, and
// around all addresses and tokens that this package is given, are left out.
func Webhook(url string) Auth { return &webhookAuth{url: func() string { return url }} }

// OAuth calls as an application, for the user its tokens were given for. portal
// is the portal's address, https://portal.bitrix24.com, or its bare host name;
// with the path /rest/api/ the calls go to the newer REST. A token goes to that
// address and nowhere else; https is required, http is taken for a loopback
// host, or with WithPlainHTTP.
//
// ts.Token is asked before each call, so it should keep its token for as long
// as it is good. It takes no context: a call that is cancelled while Token runs
// returns at once and leaves Token to finish on its own. If ts is a
// TokenRefresher, a call refused with 401 expired_token is repeated once with a
// new token; oauth2.ReuseTokenSource around it would hide that.
func OAuth(portal string, ts oauth2.TokenSource) Auth {
	return &oauthAuth{portal: func() string { return portal }, source: func() oauth2.TokenSource { return ts }}
}

// The two kinds keep all in functions: where they stand in an unexported field,
// fmt does not call Format but prints their fields, a function as an address.

type webhookAuth struct{ url func() string }

var (
	userForm = regexp.MustCompile(`^[0-9]+$`)
	hookForm = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	// callForm is a method's name at the end of an address, with the format of
	// its answer.
	callForm = regexp.MustCompile(`^(?i)[a-z0-9_]+(\.[a-z0-9_]+)*$`)
)

const webhookWant = "want https://PORTAL/rest/USER/CODE/ or https://PORTAL/rest/api/USER/CODE/, as the portal shows it"

// hookPath takes the path of a webhook apart: what comes before the user, the
// user and the code. A problem says what is wrong with it.
func hookPath(escaped string) (base, user, code, problem string) {
	base = "/rest/"
	rest, newer := strings.CutPrefix(escaped, "/rest/api/")
	below := newer
	if newer {
		base = "/rest/api/"
	} else {
		rest, below = strings.CutPrefix(escaped, "/rest/")
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	switch {
	case strings.Trim(escaped, "/") == "":
		problem = "this is only the portal's address"
	case strings.Contains(escaped, "//"):
		problem = "it has // in its path"
	case !below && strings.HasPrefix(strings.ToLower(escaped), "/rest/"):
		problem = "want /rest/ in lower case"
	case !below && strings.Trim(escaped, "/") != "rest":
		problem = "this is the address of a page, not of a webhook"
	case !below, len(parts) < 2:
		problem = "USER or CODE is missing in it"
	case parts[0] == "USER" || parts[1] == "CODE":
		problem = "USER stands for the number of your webhook's user, CODE for its code"
	case !userForm.MatchString(parts[0]):
		problem = "in the place of USER there is no number"
	case !hookForm.MatchString(parts[1]):
		problem = "its CODE has other characters than letters, digits, _ and -"
	case len(parts) > 3, len(parts) == 3 && !callForm.MatchString(parts[2]):
		problem = "something follows its CODE that is no method's name"
	default:
		return base, parts[0], parts[1], ""
	}
	return "", "", "", problem
}

func (a *webhookAuth) endpoint(plain bool) (endpoint, error) {
	u, err := addr.Base(a.url())
	if err != nil {
		return endpoint{}, fmt.Errorf("b24pull: webhook: the address: %w; %s", err, webhookWant)
	}
	base, user, code, problem := hookPath(u.EscapedPath())
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return endpoint{}, fmt.Errorf("b24pull: webhook: the address begins with %s://; %s", u.Scheme, webhookWant)
	case problem != "":
		return endpoint{}, errors.New("b24pull: webhook: the address: " + problem + "; " + webhookWant)
	case u.Scheme == "http" && !plain && !addr.Loopback(u.Hostname()):
		return endpoint{}, errors.New("b24pull: webhook: https is required: over http anybody on the way reads the webhook's code; http is for a loopback host, or with WithPlainHTTP")
	}
	u.Path = base + user + "/" + code + "/"
	return endpoint{base: u, portal: u.Scheme + "://" + u.Host, secrets: redact.Redactor{}.With(code)}, nil
}

func (a *webhookAuth) token(context.Context) (*oauth2.Token, error) { return nil, nil }

func (a *webhookAuth) refused(context.Context, *oauth2.Token) (*oauth2.Token, error) {
	return nil, nil
}

func (a *webhookAuth) unknown(context.Context, *oauth2.Token) (*oauth2.Token, error) {
	return nil, nil
}

func (a *webhookAuth) rejected(*oauth2.Token) {}

// String names the kind and the portal.
func (a *webhookAuth) String() string { return describeAuth("Webhook", a) }

// Format writes String for every verb.
func (a *webhookAuth) Format(f fmt.State, verb rune) { redact.Format(f, verb, a.String()) }

// LogValue is String for log/slog.
func (a *webhookAuth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalText is String for encoding/json.
func (a *webhookAuth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

type oauthAuth struct {
	portal func() string
	source func() oauth2.TokenSource
}

func (a *oauthAuth) endpoint(plain bool) (endpoint, error) {
	if a.source() == nil {
		return endpoint{}, errors.New("b24pull: oauth: the token source is nil; give one, like that of oauth.Tokens, or oauth2.StaticTokenSource")
	}
	base, err := addr.PlainREST(a.portal(), plain)
	if err != nil {
		return endpoint{}, fmt.Errorf("b24pull: oauth: %w", err)
	}
	return endpoint{base: base, portal: portalOf(base)}, nil
}

func (a *oauthAuth) token(ctx context.Context) (*oauth2.Token, error) {
	return tokenOf(ctx, a.source().Token)
}

func (a *oauthAuth) refused(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	refresher, ok := a.source().(TokenRefresher)
	if !ok {
		return nil, nil
	}
	return tokenOf(ctx, func() (*oauth2.Token, error) { return refresher.Refresh(ctx, token) })
}

// errEmptyToken is a token that is none, like that of a variable of the
// environment that is not set.
var errEmptyToken = end(errors.New("the token source returned an empty token and no error; give it an access token"), EndsStart)

// errCutToken is a token that is several words, or was wrapped.
var errCutToken = end(errors.New("the token source returned a token with spaces, line breaks or quotes in it: want the access token alone"), EndsStart)

func checkToken(token *oauth2.Token, err error) error {
	switch {
	case err != nil:
		return err
	case token == nil || addr.Trim(token.AccessToken) == "":
		return errEmptyToken
	case strings.ContainsFunc(addr.Trim(token.AccessToken), addr.Aside):
		return errCutToken
	}
	return nil
}

func (a *oauthAuth) unknown(ctx context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	if source, ok := a.source().(TokenReloader); ok {
		return await(ctx, func() (*oauth2.Token, error) { return source.Reload(ctx, token) })
	}
	return nil, nil
}

func (a *oauthAuth) rejected(token *oauth2.Token) {
	if source, ok := a.source().(TokenReloader); ok {
		source.Rejected(token)
	}
}

// String names the kind and the portal.
func (a *oauthAuth) String() string { return describeAuth("OAuth", a) }

// Format writes String for every verb.
func (a *oauthAuth) Format(f fmt.State, verb rune) { redact.Format(f, verb, a.String()) }

// LogValue is String for log/slog.
func (a *oauthAuth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalText is String for encoding/json.
func (a *oauthAuth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// describeAuth prints no part of an address that New would refuse: it may be a
// secret in a wrong place.
func describeAuth(kind string, a Auth) string {
	e, err := a.endpoint(true)
	if err != nil {
		return "b24pull." + kind + "(invalid)"
	}
	return "b24pull." + kind + "(" + e.portal + ")"
}

// tokenOf has a source of the user's give a token.
func tokenOf(ctx context.Context, source func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	token, err := await(ctx, source)
	return token, checkToken(token, err)
}

// await waits for a source of the user's until the context ends, whatever the
// source does.
func await(ctx context.Context, source func() (*oauth2.Token, error)) (*oauth2.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type answer struct {
		token    *oauth2.Token
		err      error
		panicked any
		stack    []byte
	}
	got := make(chan answer, 1)
	go func() {
		var r answer
		defer func() {
			if r.panicked = recover(); r.panicked != nil {
				r.stack = debug.Stack()
			}
			got <- r
		}()
		r.token, r.err = source()
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-got:
		if r.panicked != nil {
			panics.Note(ctx, r.stack)
			panic(r.panicked) // where the caller can recover it
		}
		return r.token, r.err
	}
}
