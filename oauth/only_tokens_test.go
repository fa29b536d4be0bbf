package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// oddValues are what a field can be that it should not.
var oddValues = []any{nil, false, true, 0, 1, -1, 1.5, 1e30, "", "x", "%zz", " ", "-1", "99999999999999999999", []any{}, []any{"a"}, map[string]any{}, map[string]any{"a": 1},
	"http://portal.example/rest/", "https://evil.example/rest/", "\ufeff", strings.Repeat("x", 10_000), missing}

// missing leaves a field out.
const missing = "\x00missing"

var answerFields = []string{"client_endpoint", "server_endpoint", "domain", "member_id", "user_id", "scope", "status", "expires", "expires_in",
	"token_type", "error", "error_description", "error_uri", "application_token", "portal", "revoked", "application_token_kept", "Expires_In", "ERROR", "something_new"}

// oddValuesOf are the values of the nth field: a short run has a third of them
// for each, and each of them for a third of the fields.
func oddValuesOf(n int) []any {
	if !testing.Short() {
		return oddValues
	}
	var some []any
	for i := n % 3; i < len(oddValues); i += 3 {
		some = append(some, oddValues[i])
	}
	return some
}

// odd is the server's answer, with one field as it should not be.
func (s *rotating) odd(field string, v any) {
	s.change = map[string]any{field: v}
}

func checkStored(t *testing.T, name string, got *Token, err error) {
	t.Helper()
	if err != nil {
		resttest.CheckError(t, err)
		t.Errorf("%s: the token is lost: %v", name, err)
		return
	}
	left := time.Until(got.Expiry)
	if got.AccessToken != resttest.Mark+"-access-1" || got.RefreshToken != resttest.Mark+"-refresh-1" || got.Portal != "https://portal.example" || got.MemberID != "member1" ||
		left < -time.Minute || left > longestLife*time.Second || got.Expiry.IsZero() || got.Revoked {
		t.Errorf("%s: got %v, which lives for %v", name, got, left)
	}
	var again Token
	if err := again.UnmarshalJSON(got.Raw()); err != nil || string(again.Raw()) != string(got.Raw()) {
		t.Errorf("%s: what is stored cannot be read: %v", name, err)
	}
}

// TestOnlyTokens_NothingButTheTokensLosesAToken: the refresh token is spent when the
// answer comes, so whatever else is in that, or around it, the new ones are
// kept.
func TestOnlyTokens_NothingButTheTokensLosesAToken(t *testing.T) {
	for n, field := range answerFields {
		for _, v := range oddValuesOf(n) {
			name := fmt.Sprintf("%s = %.40q", field, fmt.Sprint(v))
			server := &rotating{}
			server.odd(field, v)
			got, err := testApp(server.transport(nil)).Refresh(t.Context(), server.present())
			checkStored(t, "refresh, "+name, got, err)

			ts := keep(t, &rotating{change: server.change}, new(MemoryStore))
			_, err = ts.Source("member1").Refresh(t.Context(), bare(server.start()))
			if err == nil {
				got, err = ts.Get(t.Context(), "member1")
			}
			checkStored(t, "stored, "+name, got, err)
		}
	}
}

// start is the token that the server began with.
func (s *rotating) start() *Token {
	t := &Token{Portal: "https://portal.example", MemberID: "member1"}
	t.AccessToken, t.RefreshToken = resttest.Mark+"-access-0", resttest.Mark+"-refresh-0"
	return t
}

// TestOnlyTokens_ExchangeLosesNoToken: the redirect has told the portal and the member.
func TestOnlyTokens_ExchangeLosesNoToken(t *testing.T) {
	for n, field := range answerFields {
		for _, v := range oddValuesOf(n) {
			if v == "https://evil.example/rest/" && field == "client_endpoint" {
				continue // what the authorization server names is the portal
			}
			server := &rotating{generation: 1, change: map[string]any{field: v}}
			got, err := testApp(server.transport(nil)).Exchange(t.Context(), AuthCode{Code: resttest.Mark + "-code", Portal: "https://portal.example", MemberID: "member1"})
			if got != nil && field == "member_id" && got.MemberID == fmt.Sprint(v) {
				got.MemberID = "member1" // told
			}
			checkStored(t, fmt.Sprintf("%s = %.40q", field, fmt.Sprint(v)), got, err)
		}
	}
}

// TestOnlyTokens_HandleLosesNoToken: the form and the event bring a token that is
// refreshed before it is stored.
func TestOnlyTokens_HandleLosesNoToken(t *testing.T) {
	for name, form := range map[string]func() *Callback{
		"form":  func() *Callback { return mustParse(t, openForm()) },
		"event": func() *Callback { return mustParse(t, installEvent(resttest.Mark+"app")) },
	} {
		for n, field := range answerFields {
			for _, v := range oddValuesOf(n) {
				if text, ok := v.(string); ok && text != missing && text != "" && (field == "member_id" || field == "client_endpoint") && !strings.Contains(text, "//portal.example") {
					continue // see TestOnlyTokens_HandleBelievesNoStranger
				}
				if _, ok := v.(int); ok && field == "member_id" {
					continue
				}
				server := &rotating{change: map[string]any{field: v}}
				ts, err := NewTokens(testApp(server.transport(nil)), new(MemoryStore))
				if err != nil {
					t.Fatal(err)
				}
				var got *Token
				if err = ts.Handle(t.Context(), form()); err == nil {
					got, err = ts.Get(t.Context(), "member1")
				}
				checkStored(t, fmt.Sprintf("%s, %s = %.40q", name, field, fmt.Sprint(v)), got, err)
			}
		}
	}
}

// TestOnlyTokens_Surroundings: what stands around the answer.
func TestOnlyTokens_Surroundings(t *testing.T) {
	for _, s := range resttest.Surrounds {
		around := func(server *rotating) *http.Client {
			return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
				resp, err := server.transport(nil).Transport.RoundTrip(r)
				if err != nil {
					return nil, err
				}
				var body json.RawMessage
				if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
					return nil, err
				}
				return resttest.JSONResponse(r, resp.StatusCode, s.Before+string(body)+s.After), nil
			})}
		}
		server := &rotating{}
		got, err := testApp(around(server)).Refresh(context.Background(), server.present())
		checkStored(t, s.Name, got, err)
		dead := server.present()
		dead.RefreshToken = resttest.Mark + "-other"
		if _, err := testApp(around(server)).Refresh(context.Background(), dead); !strings.Contains(fmt.Sprint(err), "invalid_grant") {
			t.Errorf("%s: a refusal: %v", s.Name, err)
		}
	}
}

// TestOnlyTokens_BrokenAnswersWithTokens: an answer that is no JSON as a whole, or no
// success, and holds both.
func TestOnlyTokens_BrokenAnswersWithTokens(t *testing.T) {
	const access, refresh = `"access_token":"` + resttest.Mark + `-access-1"`, `"refresh_token":"` + resttest.Mark + `-refresh-1"`
	for name, tt := range map[string]struct {
		status int
		body   string
		err    error
	}{
		"a fatal error at the end": {500, "{" + access + "," + refresh + "}<b>Fatal error</b>", nil},
		"a redirect":               {302, "{" + access + "," + refresh + "}", nil},
		"an error beside them":     {401, `{"error":"authorization_error",` + access + "," + refresh + "}", nil},
		"cut":                      {200, "{" + access + "," + refresh + `,"expires_in":36`, nil},
		"broken off":               {200, "{" + refresh + ` , ` + access + `,"scope":"crm`, io.ErrUnexpectedEOF},
		"a notice within":          {200, "{" + access + ",<b>Notice</b>: {x}\n " + refresh + `,"user_id":`, nil},
		"a control character":      {200, "{" + access + ",\"status\":\"\x00\n\"," + refresh + "}", nil},
		"in a page":                {200, "<html><body>{" + access + "," + refresh + "}</body></html>", nil},
		"too long":                 {200, "{" + access + "," + refresh + `,"scope":"` + strings.Repeat("x", tokenAnswerLimit) + `"}`, nil},
		"in an envelope":           {200, `{"result":{` + access + "," + refresh + `},"error":"","time":{}}`, nil},
		"in a list of envelopes":   {200, `[{"error":null,"result":[{` + access + "," + refresh + `}]}]`, nil},
		"nothing else":             {200, "{" + access + "," + refresh + "}", nil},
		"twice, the last counts":   {200, `{"access_token":"old","refresh_token":"old",` + access + "," + refresh + "}", nil},
	} {
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			resp := resttest.JSONResponse(r, tt.status, "")
			resp.Body = io.NopCloser(strings.NewReader(tt.body))
			if tt.err != nil {
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(tt.body), failing{tt.err}))
			}
			return resp, nil
		})}
		got, err := testApp(hc).Refresh(t.Context(), (&rotating{}).start())
		checkStored(t, name, got, err)
		if err == nil && !lastsAnHour(got) {
			t.Errorf("%s: it expires at %v", name, got.Expiry)
		}
	}
}

// TestOnlyTokens_Lives: an end that cannot be one is none.
func TestOnlyTokens_Lives(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		expires, in any
		want        time.Duration
	}{
		"nothing":             {nil, nil, time.Hour},
		"both":                {now.Add(30 * time.Minute).Unix(), 1800, 30 * time.Minute},
		"no seconds":          {now.Add(30 * time.Minute).Unix(), "soon", 30 * time.Minute},
		"an end in the past":  {now.Add(-time.Hour).Unix(), "1800", 30 * time.Minute},
		"an end in a century": {int64(4070908800), 1800, 30 * time.Minute},
		"the end of time":     {int64(253402300799), 1e18, time.Hour},
		"milliseconds":        {now.UnixMilli(), 1800, 30 * time.Minute},
		"nothing to live":     {0, 0, time.Hour},
		"less than nothing":   {-5, -5, time.Hour},
		"less than a second":  {nil, 0.5, time.Hour},
	} {
		server := &rotating{change: map[string]any{"expires": tt.expires, "expires_in": tt.in}}
		got, err := testApp(server.transport(nil)).Refresh(t.Context(), server.present())
		if err != nil || time.Until(got.Expiry).Round(time.Minute) != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestOnlyTokens_PortalOfAnAnswer: a refresh changes no address, whatever the answer
// names; a first token has https on the host that the authorization server
// names, or else the user's way here did.
func TestOnlyTokens_PortalOfAnAnswer(t *testing.T) {
	code := AuthCode{Code: resttest.Mark + "-code", Portal: "http://From.example", MemberID: "member1"}
	for endpoint, want := range map[any]string{
		"https://portal.example/rest/":        "https://portal.example",
		"http://portal.example/rest/":         "https://portal.example",
		"http://portal.example:80/rest/":      "https://portal.example",
		"HTTP://Portal.Example":               "https://portal.example",
		"https://portal.example:443/rest/":    "https://portal.example",
		"https://portal.example:8443/rest/":   "https://portal.example:8443",
		"http://портал.рф/rest/":              "https://портал.рф",
		"\ufeff https://portal.example/a?b=c": "https://portal.example",
		"https://a:b@portal.example/rest/":    "https://from.example",
		"ftp://portal.example/":               "https://from.example",
		"javascript:alert(1)":                 "https://from.example",
		"https:///rest/":                      "https://from.example",
		"https://:443/":                       "https://from.example",
		"portal":                              "https://from.example",
		"":                                    "https://from.example",
		missing:                               "https://from.example",
		5:                                     "https://from.example",
	} {
		change := map[string]any{"client_endpoint": endpoint}
		first, err := testApp((&rotating{change: change}).transport(nil)).Exchange(t.Context(), code)
		if err != nil || first.Portal != want {
			t.Errorf("exchanged, %v: %v, %v; want %s", endpoint, first, err, want)
		}
		for old, want := range map[string]string{"https://known.example": "https://known.example", "http://known.example": "https://known.example",
			"known.example": "https://known.example", "https://known.example:8443": "https://known.example:8443"} {
			server := &rotating{change: change}
			before := server.present()
			before.Portal = old
			next, err := testApp(server.transport(nil)).Refresh(t.Context(), before)
			if err != nil || next.Portal != want {
				t.Errorf("refreshed, %s, %v: %v, %v", old, endpoint, next, err)
			}
		}
	}
}

// TestOnlyTokens_ServerOfAnAnswer: the one that knows the token stays known when the
// answer names another.
func TestOnlyTokens_ServerOfAnAnswer(t *testing.T) {
	for _, named := range append([]any{"https://evil.example/rest/", "http://oauth.bitrix.info/rest/"}, oddValues...) {
		server := &rotating{change: map[string]any{"server_endpoint": named}}
		var seen []call
		app := testApp(server.transport(&seen))
		first, err := app.Exchange(t.Context(), AuthCode{Code: resttest.Mark + "-code", Portal: "https://portal.example", Server: "oauth.bitrix24.tech"})
		for range 2 {
			if err == nil {
				first, err = app.Refresh(t.Context(), first)
			}
		}
		if err != nil {
			t.Errorf("%v: %v", named, err)
		}
		for _, c := range seen {
			if c.address != AuthServerEast+"/oauth/token/" {
				t.Errorf("%v: called %s", named, c.address)
			}
		}
	}
}

// TestOnlyTokens_HandleBelievesNoStranger: a member or an address that the answer tells is
// believed, and no other.
func TestOnlyTokens_HandleBelievesNoStranger(t *testing.T) {
	const other, evil = "https://other.example/rest/", "https://evil.example"
	for name, tt := range map[string]struct {
		change         map[string]any
		domain, stored string // of the form, and of the token that is stored already
		want           string // the portal; "": refused
	}{
		"as it should be":                    {nil, "portal.example", "", "https://portal.example"},
		"the form lies about the host":       {nil, "evil.example", "", "https://portal.example"},
		"another address":                    {map[string]any{"client_endpoint": other}, "portal.example", "", "https://other.example"},
		"another member":                     {map[string]any{"member_id": "member2"}, "portal.example", "", ""},
		"another member as a number":         {map[string]any{"member_id": 2}, "portal.example", "", ""},
		"no member, and another address":     {map[string]any{"member_id": nil, "client_endpoint": other}, "portal.example", "", ""},
		"no member, as is stored":            {map[string]any{"member_id": nil}, "evil.example", "https://portal.example", "https://portal.example"},
		"no member, not as is stored":        {map[string]any{"member_id": nil}, "portal.example", evil, ""},
		"no address":                         {map[string]any{"client_endpoint": nil}, "portal.example", "", "https://portal.example"},
		"no address, stored":                 {map[string]any{"client_endpoint": []string{}}, "evil.example", "https://portal.example", "https://portal.example"},
		"no address and none in the form":    {map[string]any{"client_endpoint": "%zz"}, "", "", "https://"},
		"neither member nor address, stored": {map[string]any{"client_endpoint": nil, "member_id": nil}, "evil.example", "https://portal.example", "https://portal.example"},
	} {
		server := &rotating{change: tt.change}
		ts, err := NewTokens(testApp(server.transport(nil)), new(MemoryStore))
		if err != nil {
			t.Fatal(err)
		}
		if tt.stored != "" {
			dead := &Token{Portal: tt.stored, MemberID: "member1", Revoked: true}
			dead.AccessToken, dead.RefreshToken = "dead", "dead"
			if err := ts.Put(t.Context(), "member1", dead); err != nil {
				t.Fatal(err)
			}
		}
		c, err := ParseCallback(post("/?DOMAIN="+tt.domain, openForm()))
		if err != nil {
			t.Fatal(err)
		}
		err = ts.Handle(t.Context(), c)
		stored, loading := ts.Get(t.Context(), "member1")
		switch {
		case tt.want == "":
			if err == nil || loading == nil && !stored.Revoked {
				t.Errorf("%s: it was believed: %v", name, stored)
			}
		case err != nil || loading != nil || stored.Revoked || stored.Portal != strings.TrimSuffix(tt.want, "https://") || stored.MemberID != "member1":
			t.Errorf("%s: %v, %v, %v", name, err, loading, stored)
		}
	}
}
