package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

const (
	errUnknown refusal = "This application does not know this portal. Install the application on the portal first, " +
		"or have whoever runs the application name the portal's host in B24PULL_PORTALS."
	errOtherUser refusal = "The application listens to this portal with the access of another user already. " +
		"Only that user can renew it here; if it does not work any more, open the application in the portal."
)

// authorize sends a user to a portal, who comes back to redirect. The one who
// has made the link may be anybody, so it leads to portals only: to those of
// the cloud, that the environment names, or that have installed the
// application.
func (a *app) authorize(w http.ResponseWriter, r *http.Request) {
	state := rand.Text()
	to, err := a.AuthCodeURL(r.URL.Query().Get("portal"), state)
	if err != nil {
		a.answer(w, r, "", fmt.Errorf("%w: %w", errRequest, err))
		return
	}
	if u, err := url.Parse(to); err != nil || !a.allows(u.Host) && !a.knows(u.Host) {
		a.answer(w, r, "", fmt.Errorf("%q: %w", u.Host, errUnknown))
		return
	}
	a.setState(w, state, 600)
	http.Redirect(w, r, to, http.StatusFound)
}

// zones are those in which Bitrix24 has portals. There are other hosts named
// bitrix24, in zones that anybody can register, and what users publish is in
// others again, like site.
var zones = []string{"by", "cn", "co", "com", "com.br", "com.tr", "de", "es", "eu", "fr", "id", "in", "it", "jp", "kz", "mx", "pl", "ru", "uk", "vn"}

// portalName is the first part of the name of a portal in the cloud.
var portalName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// allows reports whether a host is one of the Bitrix24 cloud, a name and a
// zone, or one that the environment names, by itself or as *.DOMAIN.
func (a *app) allows(host string) bool {
	name, domain, _ := strings.Cut(host, ".")
	zone, cloud := strings.CutPrefix(domain, "bitrix24.")
	return cloud && portalName.MatchString(name) && slices.Contains(zones, zone) ||
		slices.Contains(a.hosts, host) || domain != "" && slices.Contains(a.hosts, "*."+domain)
}

// knows reports whether a portal at the host has installed the application.
func (a *app) knows(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.portals {
		if p.address == "https://"+host {
			return true
		}
	}
	return false
}

const stateCookie = "b24pull_state"

// setState keeps the state in the user's browser, for so many seconds.
func (a *app) setState(w http.ResponseWriter, state string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: stateCookie, Value: state, Path: "/redirect", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(a.RedirectURL, "https:"),
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
		a.answer(w, r, "", fmt.Errorf("%w: %w", errRequest, err))
		return
	}
	ctx := context.WithoutCancel(r.Context()) // what the exchange brings is not to be lost
	token, err := a.exchange(ctx, code)
	if err == nil {
		err = a.keep(ctx, token)
	}
	if err == nil {
		a.log.Info("a user has authorized the application, and the token is stored", "member", token.MemberID)
		err = a.listen(ctx, token.MemberID)
	}
	a.answer(w, r, openPage, err)
}

// exchange bounds what anybody can have the authorization server asked.
func (a *app) exchange(ctx context.Context, code oauth.AuthCode) (*oauth.Token, error) {
	select {
	case a.exchanging <- struct{}{}:
		defer func() { <-a.exchanging }()
		if !a.codes.Allow() {
			return nil, errExchanging
		}
	default:
		return nil, errExchanging
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // as long as a code lives
	defer cancel()
	return a.Exchange(ctx, code)
}

var errExchanging = errors.New("too many codes are being exchanged")

// keep stores the token that a code was exchanged for, in place of one that is
// refused or the same user's: any user of the portal can authorize.
func (a *app) keep(ctx context.Context, token *oauth.Token) error {
	err := a.tokens.Update(ctx, token.MemberID, func(t *oauth.Token) error {
		if !t.Revoked && (t.UserID == 0 || t.UserID != token.UserID) {
			return errOtherUser
		}
		token.ApplicationToken = t.ApplicationToken // a code brings none
		*t = *token
		return nil
	})
	if errors.Is(err, b24pull.ErrNoToken) {
		err = a.tokens.Put(ctx, token.MemberID, token)
	}
	return err
}
