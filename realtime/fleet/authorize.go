package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/oauth"
)

var errUnknownPortal = errors.New("fleet: this application does not know this portal; install it on the portal first, or name the host by WithPortals")

// What users are told.
const (
	toldUnknown = "This application does not know this portal. Install the application on the portal first, " +
		"or have whoever runs the application name the portal's host."
	toldOtherUser = "The application listens to this portal with the access of another user already. " +
		"Only that user can renew it here; if it does not work any more, open the application in the portal."
)

const stateCookie = "b24pull_state"

// Authorize sends a user to a portal who is to authorize the application by the
// way of a code: a GET with portal=HOST in its query. The user comes back to
// [Application.Redirect]. Whoever has made the link may be anybody, so it leads
// to portals only: to those of the Bitrix24 cloud, that WithPortals names, or
// that have installed the application. The state is kept in a cookie.
func (a *Application) Authorize() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := rand.Text()
		to, err := a.tokens.Application().AuthCodeURL(r.URL.Query().Get("portal"), state)
		if err != nil {
			a.refuse(w, r, fmt.Errorf("%w: %w", oauth.ErrCallback, err), "")
			return
		}
		u, err := url.Parse(to)
		if err != nil || !a.fleet.opts.application.hosts.Allow(u.Host) && !a.knows(u.Host) {
			a.refuse(w, r, fmt.Errorf("%q: %w", quote.Name(u.Host), errUnknownPortal), toldUnknown)
			return
		}
		a.setState(w, state, 600)
		http.Redirect(w, r, to, http.StatusFound)
	})
}

// knows reports whether a portal at the host has installed the application.
func (a *Application) knows(host string) bool {
	a.fleet.mu.Lock()
	defer a.fleet.mu.Unlock()
	for _, m := range a.fleet.members {
		if m.address == "https://"+host {
			return true
		}
	}
	return false
}

// setState keeps the state in the user's browser, for so many seconds.
func (a *Application) setState(w http.ResponseWriter, state string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: stateCookie, Value: state, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(a.tokens.Application().RedirectURL, "https:"),
	})
}

// Redirect is where a user comes back to from [Application.Authorize]: the
// RedirectURL of the [oauth.Application]. The code is exchanged and its token
// kept ([oauth.Tokens.HandleCode]), and the portal is listened to. Then next
// answers; nil with 200 and nothing. The code is taken from the browser that
// was sent for it and from no other. What is refused is answered as Callback
// does.
func (a *Application) Redirect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var state string
		if cookie, err := r.Cookie(stateCookie); err == nil {
			state = cookie.Value
		}
		a.setState(w, "", -1)
		code, err := oauth.ParseRedirect(r, state)
		if err != nil {
			a.refuse(w, r, fmt.Errorf("%w: %w", oauth.ErrCallback, err), "")
			return
		}
		ctx := context.WithoutCancel(r.Context()) // what the exchange brings is not to be lost
		token, err := a.tokens.HandleCode(ctx, code)
		if err != nil {
			told := ""
			if errors.Is(err, oauth.ErrOtherUser) {
				told = toldOtherUser
			}
			a.refuse(w, r, err, told)
			return
		}
		a.fleet.opts.logger.Info("a user has authorized the application, and the token is stored", "member", token.MemberID)
		a.touch(ctx, token.MemberID, true)
		if next != nil {
			next.ServeHTTP(w, r)
		}
	})
}
