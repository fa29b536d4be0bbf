package pulltest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

// tokenAnswer is an answer of the authorization server.
type tokenAnswer struct {
	status       int
	raw          map[string]any
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

func readToken(t *testing.T, r pollResult) tokenAnswer {
	t.Helper()
	a := tokenAnswer{status: r.status}
	if err := json.Unmarshal(r.body, &a); err != nil {
		t.Fatalf("answer %s: %v", r.body, err)
	}
	if err := json.Unmarshal(r.body, &a.raw); err != nil {
		t.Fatal(err)
	}
	return a
}

// credentials are a form for /oauth/token/, with pairs of further parameters.
func credentials(p *pulltest.Portal, pairs ...string) url.Values {
	form := url.Values{"client_id": {p.Application().ClientID}, "client_secret": {p.Application().ClientSecret}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func askToken(t *testing.T, p *pulltest.Portal, form url.Values) tokenAnswer {
	t.Helper()
	return readToken(t, post(t, p, p.AuthServer()+"/oauth/token/", []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded"))
}

func refresh(t *testing.T, p *pulltest.Portal, token string) tokenAnswer {
	t.Helper()
	return askToken(t, p, credentials(p, "grant_type", "refresh_token", "refresh_token", token))
}

func exchange(t *testing.T, p *pulltest.Portal, code string) tokenAnswer {
	t.Helper()
	return askToken(t, p, credentials(p, "grant_type", "authorization_code", "code", code))
}

// getOnce is get without following a redirect.
func getOnce(t *testing.T, p *pulltest.Portal, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.HTTPClient().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// authorize returns what the portal's page tells the application.
func authorize(t *testing.T, p *pulltest.Portal) url.Values {
	t.Helper()
	query := url.Values{"client_id": {p.Application().ClientID}, "state": {"s t"}, "redirect_uri": {"https://app.example/done?a=b"}}
	resp := getOnce(t, p, p.URL()+"/oauth/authorize/?"+query.Encode())
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != 302 || to.Host != "app.example" || to.Path != "/done" || to.Query().Get("a") != "b" {
		t.Fatalf("authorize: %d %v", resp.StatusCode, resp.Header)
	}
	return to.Query()
}

// works tells what REST answers to an access token: an error code, or nothing.
func works(t *testing.T, p *pulltest.Portal, token string) string {
	t.Helper()
	_, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": token})
	return a.Error
}

func TestOAuth_AuthorizeExchangeRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		told := authorize(t, p)
		code := told.Get("code")
		told.Del("code")
		want := url.Values{
			"a": {"b"}, "state": {"s t"}, "domain": {strings.TrimPrefix(p.URL(), "https://")}, "member_id": {p.MemberID()},
			"scope": {"pull,pull_channel,user"}, "server_domain": {strings.TrimPrefix(p.AuthServer(), "https://")},
		}
		if diff := cmp.Diff(want, told); diff != "" || code == "" {
			t.Errorf("told (code %q):\n%s", code, diff)
		}
		first := exchange(t, p, code)
		if e := works(t, p, first.AccessToken); first.status != 200 || e != "" {
			t.Fatalf("exchange: %d %s, the token: %s", first.status, first.Error, e)
		}
		if again := exchange(t, p, code); again.status != 400 || again.Error != "invalid_grant" {
			t.Errorf("the code again: %d %s", again.status, again.Error)
		}
		second := refresh(t, p, first.RefreshToken)
		if e := works(t, p, second.AccessToken); second.status != 200 || e != "" || second.RefreshToken == first.RefreshToken {
			t.Fatalf("refresh: %d %s, the token: %s", second.status, second.Error, e)
		}
		if e := works(t, p, first.AccessToken); e != "" {
			t.Errorf("the access token before, an hour not over: %s", e)
		}
		if again := refresh(t, p, first.RefreshToken); again.status != 400 || again.Error != "invalid_grant" || again.Description == "" {
			t.Errorf("the old refresh token: %d %s", again.status, again.Error)
		}
		if third := refresh(t, p, second.RefreshToken); third.status != 200 {
			t.Errorf("the new refresh token: %d %s", third.status, third.Error)
		}
		if s := p.Stats(); s.TokenRequests != 5 || s.Exchanges != 1 || s.Refreshes != 2 {
			t.Errorf("%d requests, %d exchanges, %d refreshes", s.TokenRequests, s.Exchanges, s.Refreshes)
		}
	})
}

// The answer has what the documented ones have, by name and JSON type.
func TestOAuth_TokenAnswerHasDocumentedFields(t *testing.T) {
	documented, err := os.ReadFile("../testdata/rest/oauth_refresh.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(documented, &want); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.SignIn(2)
		for name, a := range map[string]tokenAnswer{
			"exchange": exchange(t, p, authorize(t, p).Get("code")),
			"refresh":  refresh(t, p, p.Token(2).RefreshToken),
		} {
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(a.raw))); diff != "" {
				t.Errorf("%s: fields:\n%s", name, diff)
			}
			for field, v := range want {
				if fmt.Sprintf("%T", v) != fmt.Sprintf("%T", a.raw[field]) {
					t.Errorf("%s: %s is a %T", name, field, a.raw[field])
				}
			}
			delete(a.raw, "access_token")
			delete(a.raw, "refresh_token")
			if diff := cmp.Diff(map[string]any{
				"client_endpoint": "https://portal.example/rest/", "server_endpoint": "https://oauth.example/rest/",
				"domain": "oauth.example", "expires": 946688400.0, "expires_in": 3600.0, "member_id": p.MemberID(),
				"scope": "pull,pull_channel,user", "status": "L", "user_id": 2.0,
			}, a.raw); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
	})
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		a := refresh(t, p, p.Token(1).RefreshToken)
		if a.raw["expires"] != "946688400" || a.raw["expires_in"] != "3600" || a.raw["user_id"] != "1" {
			t.Errorf("numbers as strings: %v", a.raw)
		}
	}, pulltest.WithStringNumbers())
}

func TestOAuth_TokenRequestErrors(t *testing.T) {
	type request struct {
		name   string
		form   url.Values
		status int
		err    string
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1).RefreshToken
		secret := credentials(p, "grant_type", "refresh_token", "refresh_token", token)
		secret.Set("client_secret", "guess")
		client := credentials(p, "grant_type", "refresh_token", "refresh_token", token)
		client.Set("client_id", "guess")
		for _, tt := range []request{
			{"nothing", nil, 400, "invalid_request"},
			{"no grant type", credentials(p, "refresh_token", token), 400, "invalid_request"},
			{"unknown grant type", credentials(p, "grant_type", "password", "refresh_token", token), 400, "invalid_request"},
			{"no refresh token", credentials(p, "grant_type", "refresh_token"), 400, "invalid_request"},
			{"no code", credentials(p, "grant_type", "authorization_code", "refresh_token", token), 400, "invalid_request"},
			{"no secret", url.Values{"client_id": secret["client_id"], "grant_type": {"refresh_token"}, "refresh_token": {token}}, 400, "invalid_request"},
			{"wrong secret", secret, 401, "invalid_client"},
			{"wrong client", client, 401, "invalid_client"},
			{"unknown refresh token", credentials(p, "grant_type", "refresh_token", "refresh_token", "guess"), 400, "invalid_grant"},
			{"a refresh token as a code", credentials(p, "grant_type", "authorization_code", "code", token), 400, "invalid_grant"},
			{"too much scope", credentials(p, "grant_type", "refresh_token", "refresh_token", token, "scope", "pull,crm"), 400, "invalid_scope"},
		} {
			a := askToken(t, p, tt.form)
			if a.status != tt.status || a.Error != tt.err || a.Description == "" || a.AccessToken != "" {
				t.Errorf("%s: %d %+v", tt.name, a.status, a)
			}
			if _, ok := a.raw["time"]; ok {
				t.Errorf("%s: the answer has a time", tt.name)
			}
		}
		form := credentials(p, "grant_type", "refresh_token", "refresh_token", token, "scope", "pull")
		if a := readToken(t, get(t, p, p.AuthServer()+"/oauth/token/?"+form.Encode())); a.status != 200 {
			t.Errorf("refused requests burnt the token, or GET does not work: %d %s", a.status, a.Error)
		}
		for _, query := range []string{"?client_id=guess&redirect_uri=https://app.example/", "?client_id=" + p.Application().ClientID} {
			if resp := getOnce(t, p, p.URL()+"/oauth/authorize/"+query); resp.StatusCode/100 != 4 {
				t.Errorf("authorize %s: %d", query, resp.StatusCode)
			}
		}
	})
}

func TestOAuth_AuthServerHost(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		second := pulltest.NewPortal(pulltest.WithNetwork(n))
		defer second.Close()
		if p.AuthServer() != "https://oauth.example" || second.AuthServer() != "https://oauth2.example" || second.URL() != "https://portal2.example" {
			t.Errorf("servers %s and %s", p.AuthServer(), second.AuthServer())
		}
		for _, target := range []string{p.URL() + "/oauth/token/", p.AuthServer() + "/rest/pull.config.get", p.AuthServer() + "/oauth/authorize/"} {
			if r := get(t, p, target); r.status != 404 {
				t.Errorf("%s: %d", target, r.status)
			}
		}
	})
}

func TestOAuth_TokensExpire(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		early, late := authorize(t, p).Get("code"), authorize(t, p).Get("code")
		time.Sleep(30*time.Second - time.Millisecond)
		token := exchange(t, p, early)
		if token.status != 200 {
			t.Errorf("a code just before 30 s: %s", token.Error)
		}
		time.Sleep(time.Millisecond)
		if a := exchange(t, p, late); a.Error != "invalid_grant" {
			t.Errorf("a code after 30 s: %d %s", a.status, a.Error)
		}
		time.Sleep(time.Hour - time.Second)
		if e := works(t, p, token.AccessToken); e != "" {
			t.Errorf("before an hour: %s", e)
		}
		time.Sleep(time.Second)
		if e := works(t, p, token.AccessToken); e != "expired_token" {
			t.Errorf("after an hour: %q", e)
		}
		if e := works(t, p, p.AccessToken()); e != "" {
			t.Errorf("AccessToken after an hour: %s", e)
		}
		token = refresh(t, p, token.RefreshToken)
		time.Sleep(180*24*time.Hour - time.Second)
		next := refresh(t, p, token.RefreshToken)
		if next.status != 200 {
			t.Errorf("before 180 days: %s", next.Error)
		}
		time.Sleep(180 * 24 * time.Hour)
		if a := refresh(t, p, next.RefreshToken); a.Error != "invalid_grant" {
			t.Errorf("after 180 days: %d %s", a.status, a.Error)
		}
	}, pulltest.WithPingInterval(0))
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		token := p.Token(1)
		if !token.Expires.Equal(time.Now().Add(time.Hour + time.Minute)) {
			t.Errorf("it expires at %s", token.Expires)
		}
		time.Sleep(time.Minute)
		if e := works(t, p, token.AccessToken); e != "expired_token" {
			t.Errorf("after a minute: %q", e)
		}
		time.Sleep(time.Minute)
		if a := refresh(t, p, token.RefreshToken); a.Error != "invalid_grant" {
			t.Errorf("after two minutes: %d %s", a.status, a.Error)
		}
	}, pulltest.WithAccessTokenLife(time.Minute), pulltest.WithRefreshTokenLife(2*time.Minute), pulltest.WithClockShift(time.Hour))
}

// Of many who refresh with one token, one gets a new one.
func TestOAuth_ConcurrentRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1).RefreshToken
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { refresh(t, p, token) })
		}
		wg.Wait()
		if s := p.Stats(); s.Refreshes != 1 || s.TokenRequests != 20 {
			t.Errorf("%d of %d refreshed", s.Refreshes, s.TokenRequests)
		}
	})
}

func TestOAuth_ExpireTokenLeavesRefreshTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1)
		p.ExpireToken()
		if e := works(t, p, token.AccessToken); e != "expired_token" {
			t.Errorf("the access token: %q", e)
		}
		if a := refresh(t, p, token.RefreshToken); a.status != 200 || works(t, p, a.AccessToken) != "" {
			t.Errorf("the refresh token: %d %s", a.status, a.Error)
		}
	})
}
