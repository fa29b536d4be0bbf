package oauth

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// TestPasted_Application: what stands around the parts of an application is no
// part of them.
func TestPasted_Application(t *testing.T) {
	for _, around := range resttest.Pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		app := &Application{ClientID: pasted("app.1"), ClientSecret: b24pull.Secret(pasted("s3cr3t")), AuthServer: pasted("https://auth.example"), RedirectURL: pasted("https://app.example/done")}
		address, err := app.AuthCodeURL(pasted("portal.example"), "state")
		if want := "https://portal.example/oauth/authorize/?client_id=app.1&redirect_uri=https%3A%2F%2Fapp.example%2Fdone&response_type=code&state=state"; err != nil || address != want {
			t.Errorf("between %q: %v, %v", around, address, err)
		}
		if u, err := app.serverFor(pasted("oauth.bitrix24.tech")); err != nil || u.String() != AuthServerEast {
			t.Errorf("between %q: %v, %v", around, u, err)
		}
		if u, err := app.check(); err != nil || u.String() != "https://auth.example" {
			t.Errorf("between %q: %v, %v", around, u, err)
		}
	}
}

// TestPasted_RefreshTokens: nor is what stands around tokens, and they are kept
// out of errors as they are sent, too.
func TestPasted_RefreshTokens(t *testing.T) {
	for _, around := range resttest.Pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		var bodies []string
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			return resttest.JSONResponse(r, 400, `{"error":"invalid_request","error_description":"no s3cr3t-token"}`), err
		})}
		app := &Application{ClientID: pasted("app.1"), ClientSecret: b24pull.Secret(pasted("s3cr3t-client")), HTTPClient: hc}
		_, err := app.Refresh(t.Context(), &Token{Token: oauth2.Token{RefreshToken: pasted("s3cr3t-refresh")}, Portal: "https://portal.example"})
		resttest.CheckError(t, err)
		if want := "client_id=app.1&client_secret=s3cr3t-client&grant_type=refresh_token&refresh_token=s3cr3t-refresh"; err == nil || len(bodies) != 1 || bodies[0] != want {
			t.Errorf("a refresh token between %q: %v", around, err)
		}
		if err := (&Callback{ApplicationToken: "s3cr3t-app"}).Verify(b24pull.Secret(pasted("s3cr3t-app"))); err != nil {
			t.Errorf("an application token between %q: %v", around, err)
		}
	}
	if err := (&Callback{}).Verify(" "); !errors.Is(err, ErrApplicationToken) {
		t.Errorf("no application token: %v", err)
	}
}
