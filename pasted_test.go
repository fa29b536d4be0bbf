package b24pull

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// pastes are what comes along when something is pasted.
var pastes = [][2]string{{" ", "\r\n"}, {"\ufeff", ""}, {`"`, `"`}, {"'", "'\n"}, {"“", "”"}, {"\ufeff\u00a0«", "»\u00a0"}, {"\u200b", "\t"}}

// TestPastedAddresses: what stands around an address is no part of it.
func TestPastedAddresses(t *testing.T) {
	for _, around := range pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		if c, err := New(Webhook(pasted("https://portal.example/rest/1/" + hookCode + "/"))); err != nil || c.place.now().String() != "https://portal.example/rest/1/"+hookCode+"/" {
			t.Errorf("a webhook between %q: %v", around, err)
		}
		for _, portal := range []string{"https://portal.example", "portal.example"} {
			if c, err := New(OAuth(pasted(portal), static("t"))); err != nil || c.Portal() != "https://portal.example" {
				t.Errorf("%s between %q: %v", portal, around, err)
			}
		}
		app := &Application{ClientID: pasted("app.1"), ClientSecret: Secret(pasted("s3cr3t")), AuthServer: pasted("https://auth.example"), RedirectURL: pasted("https://app.example/done")}
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

// TestPastedTokens: nor is what stands around a token, and the token as it is
// sent is kept out of errors too.
func TestPastedTokens(t *testing.T) {
	for _, around := range pastes {
		pasted := func(s string) string { return around[0] + s + around[1] }
		var bodies []string
		hc := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			return jsonResponse(r, 400, `{"error":"invalid_request","error_description":"no s3cr3t-token"}`), err
		})}
		c := mustNew(t, OAuth("portal.example", static(pasted("s3cr3t-token"))), WithHTTPClient(hc))
		_, err := c.Call(t.Context(), "a.b", nil, nil)
		checkError(t, err)
		if err == nil || len(bodies) != 1 || bodies[0] != `{"auth":"s3cr3t-token"}` {
			t.Errorf("an access token between %q: %v", around, err)
		}
		app := &Application{ClientID: pasted("app.1"), ClientSecret: Secret(pasted("s3cr3t-client")), HTTPClient: hc}
		_, err = app.Refresh(t.Context(), &Token{Token: oauth2.Token{RefreshToken: pasted("s3cr3t-refresh")}, Portal: "https://portal.example"})
		checkError(t, err)
		if want := "client_id=app.1&client_secret=s3cr3t-client&grant_type=refresh_token&refresh_token=s3cr3t-refresh"; err == nil || len(bodies) != 2 || bodies[1] != want {
			t.Errorf("a refresh token between %q: %v", around, err)
		}
		if err := (&Callback{ApplicationToken: "s3cr3t-app"}).Verify(Secret(pasted("s3cr3t-app"))); err != nil {
			t.Errorf("an application token between %q: %v", around, err)
		}
	}
	empty := mustNew(t, OAuth("portal.example", static(" \"\" ")), WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the portal was called without a token")
		return nil, errors.New("called")
	})}))
	if _, err := empty.Call(context.Background(), "a.b", nil, nil); err == nil || !strings.Contains(err.Error(), "empty token") {
		t.Errorf("a token of quotes: %v", err)
	}
	if err := (&Callback{}).Verify(" "); !errors.Is(err, ErrApplicationToken) {
		t.Errorf("no application token: %v", err)
	}
}

// TestNoNextPage: the last page of a list, and one whose next begins at 0.
func TestNoNextPage(t *testing.T) {
	for body, want := range map[string]Answer{
		`{"result":[],"total":70,"next":50}`:  {Total: 70, Next: 50, HasNext: true},
		`{"result":[],"total":"70","next":0}`: {Total: 70, HasNext: true},
		`{"result":[],"next":"0"}`:            {HasNext: true},
		`{"result":[],"total":70}`:            {Total: 70},
		`{"result":[],"next":null}`:           {},
		`{"result":[],"next":""}`:             {},
		`{"result":[],"next":false}`:          {},
		`{"result":[],"next":"x"}`:            {},
	} {
		_, err := calling(t, body, func(c *Client) error {
			got, err := c.Call(context.Background(), "a.b", nil, nil)
			if got != want {
				t.Errorf("%s: got %+v", body, got)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
