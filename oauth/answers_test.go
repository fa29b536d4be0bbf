package oauth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
	"golang.org/x/oauth2"
)

// appOf is a portal's application.
func appOf(p *pulltest.Portal) *Application {
	return &Application{ClientID: p.Application().ClientID, ClientSecret: b24pull.Secret(p.Application().ClientSecret), AuthServer: p.AuthServer(), HTTPClient: p.HTTPClient()}
}

// TestAnswers_RetryAfterOfTheAuthorizationServer: a refresh keeps away for as long,
// too.
func TestAnswers_RetryAfterOfTheAuthorizationServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		given := portal.Token(1)
		token := &Token{Token: oauth2.Token{AccessToken: given.AccessToken, RefreshToken: given.RefreshToken}, Portal: portal.URL()}
		tokens, err := NewTokens(appOf(portal), new(MemoryStore))
		if err != nil {
			t.Fatal(err)
		}
		if err := tokens.Put(t.Context(), "key", token); err != nil {
			t.Fatal(err)
		}
		portal.ExpireToken()
		c := mustNew(t, b24pull.OAuth(portal.URL(), tokens.Source("key")), b24pull.WithHTTPClient(portal.HTTPClient()), b24pull.WithRetry(b24pull.Retry{}))
		for _, fault := range []pulltest.Fault{pulltest.Refuse(503), pulltest.Refuse(429), pulltest.ErrorObject(200, "QUERY_LIMIT_EXCEEDED")} {
			portal.Misbehave(pulltest.OAuth, fault.WithRetryAfter("120"))
			start := time.Now()
			time.AfterFunc(110*time.Second, func() { portal.Behave(pulltest.OAuth) })
			_, err := c.GetApplicationConfig(t.Context(), true)
			if took := time.Since(start); err != nil || took < 120*time.Second || took > 145*time.Second {
				t.Errorf("%v after %v", err, took)
			}
			portal.ExpireToken()
		}
	})
}

// TestAnswers_LoginPage: what leads to a page says so and names it, over REST and from
// the authorization server; an address that has been moved to for good is named
// as well. Nothing else of the location is told.
func TestAnswers_LoginPage(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	tests := []struct {
		fault  pulltest.Fault
		status int
		want   []string
	}{
		{pulltest.LoginPage, 302, []string{"/auth/", "login page", "expired licence"}},
		{pulltest.Redirect(303, "/license/expired.php?"+resttest.Mark), 303, []string{"/license/expired.php", "login page", "expired licence"}},
		{pulltest.Redirect(307, "https://sso.example/saml2/idp;"+resttest.Mark+"?"+resttest.Mark), 307, []string{"/saml2/", "https://sso.example", "login page"}},
		{pulltest.Redirect(302, "/"+resttest.Mark+"/auth/"+resttest.Mark+"?"+resttest.Mark), 302, []string{"/[redacted]/auth/[redacted]:"}},
		{pulltest.Redirect(302, "/eyJhbGciOi/"+strings.Repeat("a/", 100)), 302, []string{"/[redacted]/a/a/a/a/a/…"}},
		{pulltest.Redirect(301, "https://new.example/rest/1/"+resttest.Mark+"/?"+resttest.Mark), 301, []string{"moved for good to https://new.example;"}},
		{pulltest.Redirect(308, "//new.example:8443/"+resttest.Mark), 308, []string{"moved for good to https://new.example:8443;"}},
		{pulltest.Redirect(301, "https://"+resttest.Mark+":"+resttest.Mark+"@new.example/"), 301, []string{"moved for good to https://new.example;"}},
		{pulltest.Redirect(301, "/elsewhere/?"+resttest.Mark), 301, []string{"moved for good to https://127.0.0.1:", "/elsewhere/;"}},
		{pulltest.Redirect(301, "https://портал.рф/"), 301, []string{"https://портал.рф;"}},
		{pulltest.Redirect(301, "https://"+strings.Repeat("a", 300)+".example/"), 301, []string{"another host"}},
		{pulltest.Redirect(308, ""), 308, nil}, // the login page
		{pulltest.Redirect(302, "%zz"+resttest.Mark), 302, []string{"no address"}},
	}
	app := appOf(portal)
	for _, tt := range tests {
		portal.Misbehave(pulltest.REST|pulltest.OAuth, tt.fault)
		calls := portal.Stats().Calls
		errs := []error{}
		for _, auth := range []b24pull.Auth{b24pull.Webhook(portal.Webhook()), b24pull.Webhook(portal.APIWebhook()), b24pull.OAuth(portal.URL(), resttest.Static(portal.AccessToken()))} {
			_, err := mustNew(t, auth, b24pull.WithHTTPClient(portal.HTTPClient())).GetConfig(t.Context(), true)
			var refused *b24pull.APIError
			if !errors.As(err, &refused) || refused.Status != tt.status || b24pull.ClassOf(err) != b24pull.ClassFinal {
				t.Errorf("got %v", err)
			}
			errs = append(errs, err)
		}
		token := new(Token)
		token.RefreshToken = portal.Token(1).RefreshToken
		_, err := app.Refresh(t.Context(), token)
		var refused *b24pull.TokenError
		if !errors.As(err, &refused) || refused.Status != tt.status || b24pull.ClassOf(err) != b24pull.ClassFinal || strings.Contains(err.Error(), "may be lost") {
			t.Errorf("the authorization server: %v", err)
		}
		for _, err := range append(errs, err) {
			resttest.CheckError(t, err)
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.ContainsAny(err.Error(), "?") || strings.Contains(err.Error(), pulltest.SecretMark) || len(err.Error()) > 400 {
				t.Error("the error tells too much")
			}
		}
		if portal.Stats().Calls != calls {
			t.Error("a redirect was followed")
		}
	}
}

// TestAnswers_TokenErrorObject: the authorization server's errors too.
func TestAnswers_TokenErrorObject(t *testing.T) {
	for body, want := range map[string]error{
		`{"error":{"code":"invalid_grant","message":"m"}}`:            b24pull.ErrInvalidGrant,
		`{"error":{"error":"invalid_client","error_description":""}}`: b24pull.ErrInvalidClient,
	} {
		for _, status := range []int{200, 400} {
			hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
				io.Copy(io.Discard, r.Body)
				return resttest.JSONResponse(r, status, body), nil
			})}
			_, err := testApp(hc).Refresh(t.Context(), &Token{Token: oauth2.Token{RefreshToken: resttest.Mark}})
			if !errors.Is(err, want) {
				t.Errorf("%d: got %v, want %v", status, err, want)
			}
		}
	}
}
