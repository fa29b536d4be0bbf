package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

const (
	// installedPage is shown in the portal while it installs the application,
	// which it has to be told the end of.
	installedPage = `<!doctype html><title>Installed</title><p>Installed.
<script src="https://api.bitrix24.com/api/v1/"></script>
<script>BX24.init(function () { BX24.installFinish() })</script>`

	openPage = `<!doctype html><title>Application</title><p>The application listens to this portal.`

	stateCookie = "b24pull_state"
)

// maxBody is more than a form or an event has bytes.
const maxBody = 1 << 20

// routes are where portals and users come. Whatever is read of a body is
// bounded.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /install", a.callback("installed", installedPage))
	mux.HandleFunc("POST /open", a.callback("opened", openPage))
	mux.HandleFunc("POST /event", a.callback("", ""))
	mux.HandleFunc("GET /authorize", a.authorize)
	mux.HandleFunc("GET /redirect", a.redirect)
	return http.MaxBytesHandler(mux, maxBody)
}

// refusal is an error that is the caller's.
type refusal struct {
	error
	status int
	page   string // what the caller is told; "" for the status
}

func (e refusal) Unwrap() error { return e.error }

// answer tells the caller no more than the status, or the refusal's page; the
// log has the error.
func (a *app) answer(w http.ResponseWriter, r *http.Request, page string, err error) {
	var refused refusal
	status, text := http.StatusServiceUnavailable, ""
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
		return
	case errors.As(err, &refused):
		status, text = refused.status, refused.page
	case errors.Is(err, oauth.ErrApplicationToken), errors.Is(err, b24pull.ErrNoToken), errors.Is(err, b24pull.ErrInvalidGrant):
		status = http.StatusForbidden
	}
	a.say("%s refused: %v", r.URL.Path, err)
	http.Error(w, cmp.Or(text, http.StatusText(status)), status)
}

// callback takes forms and events. done is what a form tells, by its address.
func (a *app) callback(done, page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, r, page, a.take(r.Context(), r, done))
	}
}

// take does what a callback asks, once it is to be believed.
func (a *app) take(ctx context.Context, r *http.Request, done string) error {
	c, err := oauth.ParseCallback(r)
	if err != nil {
		return refusal{error: err, status: http.StatusBadRequest}
	}
	if a.applicationToken != "" && c.Event != "" {
		if err := c.Verify(a.applicationToken); err != nil {
			return err
		}
	}
	before, err := a.tokens.Get(ctx, c.MemberID)
	known := err == nil
	if err := a.tokens.Handle(ctx, c); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // a portal that does not wait has installed the application all the same
	switch {
	case c.Uninstalled():
		a.say("member %s: uninstalled by the event, and the tokens are deleted", c.MemberID)
		return a.uninstalled(ctx, c.MemberID)
	case c.Installed():
		a.say("member %s: installed by the event, and the tokens are stored with the application_token", c.MemberID)
	case c.Event != "":
		a.say("member %s: event %q", c.MemberID, c.Event)
		return nil
	case known:
		if a.rests(ctx, c.MemberID, before) {
			return nil
		}
		a.say("member %s: %s by a form; there are tokens already", c.MemberID, done)
	default:
		a.say("member %s: %s by a form, and the tokens are stored", c.MemberID, done)
		if err := a.complete(ctx, c.MemberID); err != nil {
			return err
		}
	}
	return a.start(ctx, c.MemberID)
}

// authorize sends a user to a portal, who comes back to redirect.
func (a *app) authorize(w http.ResponseWriter, r *http.Request) {
	state := rand.Text()
	to, err := a.application.AuthCodeURL(r.URL.Query().Get("portal"), state)
	if err != nil {
		a.answer(w, r, "", refusal{error: err, status: http.StatusBadRequest})
		return
	}
	if err := a.checkPortal(to); err != nil {
		a.answer(w, r, "", err)
		return
	}
	a.setState(w, state, 600)
	http.Redirect(w, r, to, http.StatusFound)
}

// setState keeps the state in the user's browser, for so many seconds.
func (a *app) setState(w http.ResponseWriter, state string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: stateCookie, Value: state, Path: "/redirect", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(a.application.RedirectURL, "https:"),
	})
}

// redirect exchanges the code that a user comes back with.
func (a *app) redirect(w http.ResponseWriter, r *http.Request) {
	var state string
	if cookie, err := r.Cookie(stateCookie); err == nil {
		state = cookie.Value
	}
	a.setState(w, "", -1)
	code, err := oauth.ParseRedirect(r, state)
	if err != nil {
		err = refusal{error: err, status: http.StatusBadRequest}
	} else {
		err = a.exchange(context.WithoutCancel(r.Context()), code) // what the exchange brings is not to be lost
	}
	a.answer(w, r, openPage, err)
}

// exchangeTime is how long a code lives.
const exchangeTime = 30 * time.Second

// codesAtOnce are exchanged without a distance, then so many a second.
const (
	codesAtOnce    = 60
	codesPerSecond = 1
)

// errExchanging refuses a code while too many others are exchanged.
var errExchanging = errors.New("too many codes are being exchanged")

func (a *app) exchange(ctx context.Context, code oauth.AuthCode) error {
	token, err := a.exchangeCode(ctx, code)
	if err != nil {
		return err
	}
	if err := a.keep(ctx, token); err != nil {
		return err
	}
	a.say("member %s: authorized by a user, the code is exchanged and the tokens are stored", token.MemberID)
	return a.start(ctx, token.MemberID)
}

// exchangeCode bounds what anybody can have the authorization server asked, by
// codes that are none.
func (a *app) exchangeCode(ctx context.Context, code oauth.AuthCode) (*oauth.Token, error) {
	select {
	case a.exchanging <- struct{}{}:
		defer func() { <-a.exchanging }()
	default:
		return nil, errExchanging
	}
	if !a.codes.Allow() {
		return nil, errExchanging
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	return a.application.Exchange(ctx, code)
}
