package pulltest

import (
	"slices"
	"strings"
	"time"
)

// Application is what a portal and the authorization server know of the
// application.
type Application struct {
	Name             string // in the portal's language; empty: push notifications are refused
	ClientID         string
	ClientSecret     string
	ApplicationToken string // tells the application that an event comes from the portal; an installation after Uninstall makes up another
	RedirectURL      string // where /oauth/authorize/ leads if its redirect_uri does not say
}

// Application returns the application, whose tokens the portal takes, as it is
// now.
func (p *Portal) Application() Application {
	p.auth.mu.Lock()
	defer p.auth.mu.Unlock()
	a := p.opts.application
	a.ApplicationToken = p.auth.applicationToken
	return a
}

// MemberID is the portal's id, which it keeps when it moves.
func (p *Portal) MemberID() string { return p.opts.memberID }

// WithApplication sets the application, to be the same in several portals, say.
// What a has no value for is made up, but for its name and its RedirectURL.
func WithApplication(a Application) Option {
	return func(o *options) { o.application = a }
}

// WithScope sets what the application and the webhook may do; the default is
// "pull", "pull_channel", "user". A method of another scope is answered 403
// insufficient_scope. user.current will do with "user_basic" or "user_brief",
// too; batch, profile and their like need none.
func WithScope(scopes ...string) Option {
	return func(o *options) { o.scopes = slices.Clone(scopes) }
}

// Scopes are what the application and the webhook may do, as [WithScope] says.
func (p *Portal) Scopes() []string { return append([]string{}, p.opts.scopes...) }

// WithAccessTokenLife sets how long the access tokens are good that the
// authorization server, Token, Install and Open give out, in whole seconds; the
// default is an hour.
func WithAccessTokenLife(d time.Duration) Option {
	return func(o *options) { o.accessLife = d }
}

// WithRefreshTokenLife sets how long refresh tokens are good; the default is
// 180 days.
func WithRefreshTokenLife(d time.Duration) Option {
	return func(o *options) { o.refreshLife = d }
}

// WithStringNumbers makes the authorization server send expires, expires_in and
// user_id as strings, as some do.
func WithStringNumbers() Option {
	return func(o *options) { o.stringNumbers = true }
}

// complete makes up what the user has not set.
func (a *Application) complete() {
	for _, made := range []struct {
		field *string
		value string
	}{
		{&a.ClientID, "local.5f3c0d1b2a4e60.71829304"},
		{&a.ClientSecret, randomSecret()},
		{&a.ApplicationToken, randomSecret()},
	} {
		if *made.field == "" {
			*made.field = made.value
		}
	}
}

func (o *options) scope() string { return strings.Join(o.scopes, ",") }
