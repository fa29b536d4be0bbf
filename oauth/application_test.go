package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// A rotating server is an authorization server in memory: it rotates the
// refresh token at every refresh and knows no other.
type rotating struct {
	mu         sync.Mutex
	generation int
	asked      int
	endpoint   string            // of the portal
	change     map[string]any    // of the answer
	refuse     func() (int, any) // another answer
	took       time.Duration
}

func (s *rotating) access() string  { return fmt.Sprintf("%s-access-%d", resttest.Mark, s.generation) }
func (s *rotating) refresh() string { return fmt.Sprintf("%s-refresh-%d", resttest.Mark, s.generation) }

// counts tells how often the server was asked and which token is its present
// one.
func (s *rotating) counts() (asked, generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.generation
}

// present is the token the server would take.
func (s *rotating) present() *Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &Token{Portal: "https://portal.example", MemberID: "member1"}
	t.AccessToken, t.RefreshToken = s.access(), s.refresh()
	return t
}

func (s *rotating) answer(form url.Values) (int, any) {
	time.Sleep(s.took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case s.refuse != nil:
		return s.refuse()
	case form.Get("client_id") != "app.1" || form.Get("client_secret") != resttest.ClientSecret:
		return 401, map[string]any{"error": "invalid_client"}
	case form.Get("grant_type") == "authorization_code" && form.Get("code") == resttest.Mark+"-code":
	case form.Get("grant_type") == "refresh_token" && form.Get("refresh_token") == s.refresh():
		s.generation++
	default:
		return 400, map[string]any{"error": "invalid_grant", "error_description": resttest.Mark}
	}
	answer := map[string]any{"access_token": s.access(), "refresh_token": s.refresh(), "expires_in": "3600", "expires": "4070908800",
		"client_endpoint": "https://portal.example/rest/", "server_endpoint": "https://oauth.bitrix.info/rest/", "domain": "oauth.bitrix.info",
		"member_id": "member1", "user_id": "67", "scope": "crm,pull", "status": "F"}
	if s.endpoint != "" {
		answer["client_endpoint"] = s.endpoint
	}
	for name, v := range s.change {
		if answer[name] = v; v == missing {
			delete(answer, name)
		}
	}
	return 200, answer
}

// A call is a request that a server of roundTrip saw.
type call struct{ method, address, body string }

// transport plays the server to every host and writes down the calls.
func (s *rotating) transport(seen *[]call) *http.Client {
	return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		status, answer := s.answer(form)
		if seen != nil {
			*seen = append(*seen, call{r.Method, r.URL.String(), string(body)})
		}
		return resttest.JSONResponse(r, status, answer), r.Context().Err()
	})}
}

func testApp(hc *http.Client) *Application {
	return &Application{ClientID: "app.1", ClientSecret: resttest.ClientSecret, HTTPClient: hc, AuthServer: "https://oauth.example"}
}

func TestApplication_AuthCodeURL(t *testing.T) {
	app := testApp(nil)
	app.RedirectURL, app.Scopes = "https://app.example/back", []string{"crm", "pull"}
	address, err := app.AuthCodeURL("portal.example", "the state")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(address, "https://portal.example/oauth/authorize/?") || q.Get("client_id") != "app.1" || q.Get("state") != "the state" ||
		q.Get("redirect_uri") != app.RedirectURL || q.Get("scope") != "crm,pull" || strings.Contains(address, resttest.Mark) {
		t.Errorf("got %s", address)
	}
	for _, portal := range []string{"http://portal.example", "https://portal.example/x/", "", "https://a@portal.example"} {
		if _, err := app.AuthCodeURL(portal, "state"); err == nil {
			t.Errorf("%q was taken", portal)
		}
	}
	if _, err := app.AuthCodeURL("portal.example", ""); err == nil {
		t.Error("an empty state was taken")
	}
}

func TestApplication_BadApplication(t *testing.T) {
	for _, app := range []*Application{nil, {}, {ClientID: "a"}, {ClientID: "a", ClientSecret: resttest.ClientSecret, AuthServer: "http://oauth.example"},
		{ClientID: "a", ClientSecret: resttest.ClientSecret, AuthServer: "https://"}} {
		if _, err := NewTokens(app, new(MemoryStore)); err == nil {
			t.Errorf("%v was taken", app)
		}
		if _, err := app.Exchange(context.Background(), AuthCode{Code: "x"}); err == nil {
			t.Errorf("%v exchanged", app)
		}
	}
}

func lastsAnHour(t *Token) bool { return time.Until(t.Expiry).Round(time.Minute) == time.Hour }

func TestApplication_ExchangeAndRefresh(t *testing.T) {
	server := &rotating{}
	var seen []call
	app := testApp(server.transport(&seen))
	back := httptest.NewRequest("GET", "/back?code="+resttest.Mark+"-code&state=st&domain=portal.example&member_id=member1&scope=crm&server_domain=oauth.example", nil)
	code, err := ParseRedirect(back, "st")
	if err != nil {
		t.Fatal(err)
	}
	first, err := app.Exchange(context.Background(), code)
	if err != nil {
		t.Fatal(err)
	}
	if first.Portal != "https://portal.example" || first.UserID != 67 || first.Status != "F" ||
		first.MemberID != "member1" || strings.Join(first.Scope, " ") != "crm pull" || !lastsAnHour(first) || first.AccessToken != resttest.Mark+"-access-0" {
		t.Errorf("got %s", first.Raw())
	}
	first.ServerEndpoint, first.ApplicationToken = "", resttest.Mark+"app"
	server.change = map[string]any{"client_endpoint": nil, "member_id": "", "user_id": nil, "scope": "", "status": nil, "server_endpoint": nil, "expires": first.Expiry.Unix()}
	second, err := app.Refresh(context.Background(), first)
	if err != nil {
		t.Fatal(err)
	}
	want := *first
	want.AccessToken, want.RefreshToken = resttest.Mark+"-access-1", resttest.Mark+"-refresh-1"
	if string(second.Raw()) != string(want.Raw()) {
		t.Errorf("got  %s\nwant %s", second.Raw(), want.Raw())
	}
	for _, c := range seen {
		if c.method != "POST" || c.address != "https://oauth.example/oauth/token/" || !strings.Contains(c.body, "client_secret="+resttest.ClientSecret) {
			t.Errorf("called %s %s", c.method, c.address)
		}
	}
}

// TestApplication_SecretGoesNowhereElse: whatever a token or a callback names.
func TestApplication_SecretGoesNowhereElse(t *testing.T) {
	named := map[string]string{
		"":                                       "https://oauth.example",
		"https://oauth.example/rest/":            "https://oauth.example",
		"https://oauth.bitrix.info/rest/":        "https://oauth.bitrix.info",
		"oauth.bitrix24.tech":                    "https://oauth.bitrix24.tech",
		"https://OAuth.Bitrix24.tech/rest/":      "https://oauth.bitrix24.tech",
		"http://oauth.bitrix.info/rest/":         "https://oauth.example",
		"https://evil.example/rest/":             "https://oauth.example",
		"https://oauth.bitrix.info.evil.example": "https://oauth.example",
		"https://oauth.bitrix.info@evil.example": "https://oauth.example",
		"https://oauth.bitrix.info:8443/":        "https://oauth.example",
		"https://evil.example/oauth.bitrix.info": "https://oauth.example",
		"//oauth.bitrix.info":                    "https://oauth.example",
		"%zz":                                    "https://oauth.example",
	}
	for endpoint, want := range named {
		server := &rotating{}
		var seen []call
		old := server.present()
		old.ServerEndpoint = endpoint
		if _, err := testApp(server.transport(&seen)).Refresh(context.Background(), old); err != nil {
			t.Errorf("%q: %v", endpoint, err)
		}
		if len(seen) != 1 || seen[0].address != want+"/oauth/token/" {
			t.Errorf("%q: called %v, want %s", endpoint, seen, want)
		}
	}
}

// TestApplication_TokenRedirect: a redirect of the authorization server is not followed.
func TestApplication_TokenRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		calls := 0
		srv := resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("Location", "/elsewhere?"+resttest.Mark)
			w.WriteHeader(status)
		})
		app := testApp(srv.Client())
		app.AuthServer = srv.URL
		_, err := app.Refresh(context.Background(), (&rotating{}).present())
		resttest.CheckError(t, err)
		if calls != 1 {
			t.Errorf("%d: %d calls", status, calls)
		}
	}
}

func TestApplication_OAuthErrors(t *testing.T) {
	tests := []struct {
		name   string
		status int
		answer any
		is     error
		text   string
	}{
		{"invalid_request", 400, map[string]any{"error": "invalid_request"}, b24pull.ErrInvalidRequest, "invalid_request"},
		{"invalid_client", 401, map[string]any{"error": "invalid_client", "error_description": resttest.Mark}, b24pull.ErrInvalidClient, "check client_id"},
		{"invalid_grant", 400, map[string]any{"error": "invalid_grant"}, b24pull.ErrInvalidGrant, "have a user open or authorize"},
		{"invalid_scope", 400, map[string]any{"error": "invalid_scope"}, b24pull.ErrInvalidScope, "refused the scope"},
		{"insufficient_scope", 403, map[string]any{"error": "insufficient_scope"}, b24pull.ErrInsufficientScope, "insufficient_scope"},
		{"payment", 402, map[string]any{"error": "PAYMENT_REQUIRED"}, b24pull.ErrPaymentRequired, "(HTTP 402); the portal has to renew it"},
		{"in HTTP 200", 200, map[string]any{"error": "invalid_grant"}, b24pull.ErrInvalidGrant, "(HTTP 200)"},
		{"HTML", 502, "<html>" + resttest.Mark, nil, "the authorization server answered HTTP 502; the new token may be lost"},
		{"no JSON in HTTP 200", 200, "<html>" + resttest.Mark, nil, "may be lost with the answer"},
		{"no token", 200, map[string]any{"access_token": ""}, nil, "may be lost with the answer"},
		{"an odd token", 200, map[string]any{"access_token": []string{resttest.Mark}, "refresh_token": resttest.Mark}, nil, "may be lost with the answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := &rotating{refuse: func() (int, any) { return tt.status, tt.answer }}
			_, err := testApp(server.transport(nil)).Refresh(context.Background(), server.present())
			t.Log(err)
			resttest.CheckError(t, err)
			var typed *b24pull.TokenError
			if !errors.As(err, &typed) || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) || (b24pull.ClassOf(err) == b24pull.ClassFinal) != (tt.status < 500) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestApplication_TokenSavedAndLoaded(t *testing.T) {
	full := (&rotating{}).present()
	full.Expiry, full.UserID, full.Scope, full.Status = time.Unix(4070908800, 0).UTC(), 1, []string{"a", "b"}, "L"
	full.ServerEndpoint, full.ApplicationToken, full.TokenType = "https://oauth.example/rest/", resttest.Mark+"app", "bearer"
	full.Revoked, full.inherited = true, true
	var again Token
	if err := json.Unmarshal(full.Raw(), &again); err != nil || string(again.Raw()) != string(full.Raw()) || !again.Expiry.Equal(full.Expiry) {
		t.Errorf("%v, %s", err, again.Raw())
	}
	marshalled, err := json.Marshal(full)
	if err != nil || json.Unmarshal(marshalled, &again) == nil {
		t.Errorf("marshalled and without its secrets it was taken: %s, %v", marshalled, err)
	}
	for name, v := range map[string]any{"Token": *full, "*Token": full, "[]Token": []Token{*full}, "field": struct{ T Token }{*full}} {
		if form := resttest.Leak(v); form != "" {
			t.Errorf("%s tells a secret by %s", name, form)
		}
	}
	inside := struct{ token *Token }{full}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if form := fmt.Sprintf(verb, inside); strings.Contains(form, resttest.Mark) {
			t.Errorf("a *Token in an unexported field tells a secret by %s: %s", verb, form)
		}
	}
	for _, bad := range []string{``, `null`, `[1]`, `{}`, `{"access_token":"` + resttest.Mark, `{"access_token":["` + resttest.Mark + `"],"domain":"a.example"}`, `{"refresh_token":"` + resttest.Mark + `"}`,
		`{"access_token":"x","refresh_token":["` + resttest.Mark + `"]}`, `{"access_token":"x","application_token":["` + resttest.Mark + `"]}`, `{"access_token":"x","revoked":"` + resttest.Mark + `"}`} {
		before := again
		if err := again.UnmarshalJSON([]byte(bad)); !errors.Is(err, b24pull.ErrInvalidConfig) || strings.Contains(err.Error(), resttest.Mark) || string(before.Raw()) != string(again.Raw()) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
