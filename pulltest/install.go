package pulltest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const formType = "application/x-www-form-urlencoded"

// Install installs the application for the user who is signed in, and posts
// what its install handler receives: a form with AUTH_ID, REFRESH_ID,
// AUTH_EXPIRES, SERVER_ENDPOINT, member_id, status and PLACEMENT, and in the
// query DOMAIN, PROTOCOL, LANG and APP_SID. After Uninstall the tokens of
// before stay dead, and the application_token is a new one. The application
// counts as installed before it, too.
//
// handlerURL is reached over the portal's Network, if it has one: http, or
// https with a certificate that HTTPClient trusts. A status other than 2xx is
// an error.
func (p *Portal) Install(ctx context.Context, handlerURL string) error {
	p.auth.reinstall()
	return p.postForm(ctx, handlerURL)
}

// InstallByEvent is [Portal.Install] with the event ONAPPINSTALL in place of
// the form: event, data[…], ts, and auth[…] with the tokens and the
// application_token.
func (p *Portal) InstallByEvent(ctx context.Context, handlerURL string) error {
	p.auth.reinstall()
	token := p.describeToken(p.auth.issue(p.auth.user()))
	return p.postEvent(ctx, handlerURL, "ONAPPINSTALL", map[string]string{
		"data[VERSION]":       "1",
		"data[ACTIVE]":        "Y",
		"data[INSTALLED]":     "Y",
		"data[LANGUAGE_ID]":   "en",
		"auth[access_token]":  token.AccessToken,
		"auth[expires]":       fmt.Sprint(token.Expires),
		"auth[expires_in]":    fmt.Sprint(token.ExpiresIn),
		"auth[refresh_token]": token.RefreshToken,
		"auth[scope]":         token.Scope,
		"auth[status]":        token.Status,
		"auth[user_id]":       fmt.Sprint(token.UserID),
	})
}

// Open posts what the application's own address receives when the user who is
// signed in opens it, with new tokens: the same form as [Portal.Install].
func (p *Portal) Open(ctx context.Context, handlerURL string) error {
	return p.postForm(ctx, handlerURL)
}

// Uninstall removes the application: all its tokens and codes are refused from
// then on, whatever the handler says, and what it has bound is forgotten. Then it posts the event ONAPPUNINSTALL,
// with the application_token and no other. Errors are those of
// [Portal.Install].
func (p *Portal) Uninstall(ctx context.Context, handlerURL string) error {
	p.auth.uninstall()
	p.handlers.clear()
	return p.postEvent(ctx, handlerURL, "ONAPPUNINSTALL", map[string]string{
		"data[LANGUAGE_ID]": "en",
		"data[CLEAN]":       "0",
	})
}

func (a *auth) user() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signedIn
}

func (p *Portal) postForm(ctx context.Context, handlerURL string) error {
	target, err := url.Parse(handlerURL)
	if err != nil {
		return fmt.Errorf("pulltest: the handler's address: %w", err)
	}
	query := target.Query()
	query.Set("DOMAIN", p.hostname())
	query.Set("PROTOCOL", "1")
	if strings.HasPrefix(p.URL(), "http://") {
		query.Set("PROTOCOL", "0")
	}
	query.Set("LANG", "en")
	query.Set("APP_SID", randomID())
	target.RawQuery = query.Encode()
	token := p.describeToken(p.auth.issue(p.auth.user()))
	return p.postTo(ctx, target.String(), url.Values{
		"AUTH_ID":           {token.AccessToken},
		"AUTH_EXPIRES":      {fmt.Sprint(token.ExpiresIn)},
		"REFRESH_ID":        {token.RefreshToken},
		"SERVER_ENDPOINT":   {token.ServerEndpoint},
		"member_id":         {token.MemberID},
		"status":            {token.Status},
		"PLACEMENT":         {"DEFAULT"},
		"PLACEMENT_OPTIONS": {"[]"},
	})
}

// postEvent adds what every event says of the portal.
func (p *Portal) postEvent(ctx context.Context, handlerURL, event string, fields map[string]string) error {
	form := url.Values{
		"event":                   {event},
		"ts":                      {strconv.FormatInt(p.opts.clock.now().Unix(), 10)},
		"auth[domain]":            {p.hostname()},
		"auth[client_endpoint]":   {p.clientEndpoint()},
		"auth[server_endpoint]":   {p.serverEndpoint()},
		"auth[member_id]":         {p.opts.memberID},
		"auth[application_token]": {p.Application().ApplicationToken},
	}
	for name, value := range fields {
		form.Set(name, value)
	}
	return p.postTo(ctx, handlerURL, form)
}

func (p *Portal) postTo(ctx context.Context, handlerURL string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, handlerURL, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("pulltest: the handler's address: %w", err)
	}
	req.Header.Set("Content-Type", formType)
	resp, err := p.client.Transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("pulltest: calling the handler: %w", err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxRequest))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("pulltest: the handler answered %s", resp.Status)
	}
	return nil
}
