package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// A refresher goes through a list of tokens.
type refresher struct {
	mu        sync.Mutex
	tokens    []string
	refreshed int
	err       error
}

func (r *refresher) Token() (*oauth2.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &oauth2.Token{AccessToken: resttest.Mark + r.tokens[0], RefreshToken: resttest.Mark + "refresh-" + r.tokens[0]}, nil
}

func (r *refresher) Refresh(_ context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	if refused.AccessToken == resttest.Mark+r.tokens[0] && len(r.tokens) > 1 {
		r.tokens = r.tokens[1:]
		r.refreshed++
	}
	return &oauth2.Token{AccessToken: resttest.Mark + r.tokens[0]}, nil
}

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

func TestAuth_WebhookAddress(t *testing.T) {
	good := map[string]string{
		"https://portal.example/rest/1/s3cr3thookcode/":      "https://portal.example",
		"https://portal.example/rest/1/s3cr3thookcode":       "https://portal.example",
		"https://Portal.Example:8443/rest/12/s3cr3thookCODE": "https://portal.example:8443",
		"http://127.0.0.1:80/rest/1/s3cr3thookcode/":         "http://127.0.0.1:80",
		"http://localhost/rest/1/s3cr3thookcode/":            "http://localhost",
		"http://[::1]/rest/1/s3cr3thookcode/":                "http://[::1]",

		"https://portal.example/rest/api/1/s3cr3thookcode/":          "https://portal.example",
		"https://portal.example/rest/api/1/s3cr3thookcode":           "https://portal.example",
		"https://portal.example/rest/api/1/s3cr3thookcode/profile":   "https://portal.example",
		"https://portal.example/rest/1/s3cr3thookcode/profile.json":  "https://portal.example",
		"https://portal.example/rest/1/s3cr3thookcode/crm.deal.list": "https://portal.example",
	}
	for address, portal := range good {
		if c, err := New(Webhook(address)); err != nil || c.Portal() != portal {
			t.Errorf("%s: got %v, %v", address, c, err)
		}
	}
	bad := []string{
		"", "s3cr3thookcode", "portal.example/rest/1/s3cr3thookcode/", "//portal.example/rest/1/s3cr3thookcode/",
		"http://portal.example/rest/1/s3cr3thookcode/", "http://127.0.0.1.example/rest/1/s3cr3thookcode/", "ftp://portal.example/rest/1/s3cr3thookcode/",
		"https:///rest/1/s3cr3thookcode/", "https://:443/rest/1/s3cr3thookcode/", "https:s3cr3thookcode", "https://portal.example:x/rest/1/s3cr3thookcode/",
		"https://portal.example/", "https://portal.example/rest/s3cr3thookcode/", "https://portal.example/rest/x/s3cr3thookcode/",
		"https://portal.example/rest/1/s3cr3thookcode//", "https://portal.example/rest/1/s3cr3thookcode/a/b", "https://portal.example/rest/1/s3cr3thookcode/pro-file",
		"https://portal.example/rest/api/", "https://portal.example/rest/api/s3cr3thookcode/", "https://portal.example/rest/api/api/1/s3cr3thookcode/", "https://portal.example/api/1/s3cr3thookcode/",
		"https://portal.example/rest/api/x/s3cr3thookcode/", "https://portal.example/rest/api/1/s3cr3thookcode/a/b", "https://portal.example/REST/1/s3cr3thookcode/", "http://portal.example/rest/api/1/s3cr3thookcode/",
		"https://portal.example/rest/1/s3cr3thookcode%2F..", "https://portal.example/rest/1/../s3cr3thookcode/", "https://portal.example/rest/1//",
		"https://portal.example/rest/1/s3cr3thookcode/?", "https://portal.example/rest/1/s3cr3thookcode/?a=b", "https://portal.example/rest/1/s3cr3thookcode/#a",
		"https://user:s3cr3thookcode@portal.example/rest/1/s3cr3thookcode/", "https://portal.example/rest/1/s3cr3thook\ncode/", "https://portal.example/rest/1/s3cr3thook code/",
		"https://portal.example/rest/1/s3cr3thookcode%zz/",
	}
	for _, address := range bad {
		c, err := New(Webhook(address))
		if err == nil || c != nil {
			t.Errorf("%q was taken", address)
			continue
		}
		if text := err.Error() + Webhook(address).(*webhookAuth).String(); strings.Contains(text, resttest.Mark) || strings.Contains(text, "s3cr3thook code") {
			t.Errorf("%q: the error tells the code: %v", address, err)
		}
		if !strings.Contains(err.Error(), "b24pull: webhook: ") {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func TestAuth_OAuthAddress(t *testing.T) {
	good := map[string]string{
		"https://portal.example":           "https://portal.example",
		"https://portal.example/":          "https://portal.example",
		"https://portal.example/rest/":     "https://portal.example",
		"portal.example/rest/api":          "https://portal.example",
		"https://portal.example/rest/api/": "https://portal.example",
		"portal.example":                   "https://portal.example",
		"Portal.example:8443":              "https://portal.example:8443",
		"127.0.0.1:8443":                   "https://127.0.0.1:8443",
		"http://127.0.0.1:8080":            "http://127.0.0.1:8080",
		"http://localhost/rest/":           "http://localhost",
		"http://[::1]:8080":                "http://[::1]:8080",
	}
	for address, portal := range good {
		c, err := New(OAuth(address, resttest.Static("t")))
		rest := portal + "/rest/"
		if strings.Contains(address, "/api") {
			rest += "api/"
		}
		if err != nil || c.Portal() != portal || c.base.now().String() != rest {
			t.Errorf("%s: got %v, %v", address, c, err)
		}
	}
	bad := []string{
		"", "https://", "http://portal.example", "http://127.0.0.1.portal.example", "http://localhost.example", "http://10.0.0.1", "ws://portal.example", "HTTP://portal.example",
		"https://portal.example/rest/1/s3cr3thookcode/", "https://portal.example/?auth=s3cr3thookcode", "https://s3cr3thookcode@portal.example", "s3cr3thookcode@portal.example",
		"https://portal.example/#s3cr3thookcode", "https://portal.example/s3cr3t%68ookcode",
	}
	for _, address := range bad {
		c, err := New(OAuth(address, resttest.Static("t")))
		if err == nil || c != nil {
			t.Errorf("%q was taken", address)
			continue
		}
		if strings.Contains(err.Error(), "s3cr3thookcode") {
			t.Errorf("%q: the error repeats the address: %v", address, err)
		}
	}
	if _, err := New(OAuth("portal.example", nil)); err == nil {
		t.Error("a nil token source was taken")
	}
}

// tokenPortal takes one token and answers any other as given.
func tokenPortal(t *testing.T, good string, status int, refusal string) (*httptest.Server, *[]string) {
	var mu sync.Mutex
	var seen []string
	return resttest.Portal(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Auth string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		token := strings.TrimPrefix(body.Auth, resttest.Mark)
		seen = append(seen, token)
		mu.Unlock()
		if token != good {
			resttest.Reply(status, refusal)(w, r)
			return
		}
		resttest.Reply(200, `{"result":`+resttest.MinimalConfig+`}`)(w, r)
	}), &seen
}

func TestAuth_RefusedToken(t *testing.T) {
	const expired = `{"error":"expired_token","error_description":"The access token provided has expired."}`
	broken := errors.New("refresh is broken")
	tests := []struct {
		name    string
		source  oauth2.TokenSource
		status  int
		refusal string
		want    error
		seen    []string
	}{
		{"good at once", &refresher{tokens: []string{"good"}}, 401, expired, nil, []string{"good"}},
		{"refreshed once", &refresher{tokens: []string{"old", "good"}}, 401, expired, nil, []string{"old", "good"}},
		{"refreshed once, error in HTTP 200", &refresher{tokens: []string{"old", "good"}}, 200, expired, nil, []string{"old", "good"}},
		{"the new one is refused as well", &refresher{tokens: []string{"old", "older", "good"}}, 401, expired, ErrExpiredToken, []string{"old", "older"}},
		{"the same one again", &refresher{tokens: []string{"old"}}, 401, expired, ErrExpiredToken, []string{"old"}},
		{"no refresher", resttest.Static(resttest.Mark + "old"), 401, expired, ErrExpiredToken, []string{"old"}},
		{"refresh fails", &refresher{tokens: []string{"old"}, err: broken}, 401, expired, broken, []string{"old"}},
		{"another error", &refresher{tokens: []string{"old", "good"}}, 401, `{"error":"NO_AUTH_FOUND"}`, ErrNoAuth, []string{"old"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv, seen := tokenPortal(t, "good", tt.status, tt.refusal)
			cfg, err := oauthClient(t, srv, tt.source).GetApplicationConfig(context.Background(), true)
			t.Log(err)
			if !errors.Is(err, tt.want) || (cfg == nil) != (tt.want != nil) {
				t.Errorf("got %v, %v; want %v", cfg, err, tt.want)
			}
			if !slices.Equal(*seen, tt.seen) {
				t.Errorf("tokens sent: %q, want %q", *seen, tt.seen)
			}
		})
	}
}

func TestAuth_TokenErrors(t *testing.T) {
	own := errors.New("nobody has logged in")
	tests := []struct {
		name   string
		source sourceFunc
		is     error
		want   string
	}{
		{"error of the source's own", func() (*oauth2.Token, error) { return nil, own }, own, "b24pull: no access token: nobody has logged in"},
		{"nil token", func() (*oauth2.Token, error) { return nil, nil }, nil, "b24pull: no access token: the token source returned an empty token and no error; give it an access token"},
		{"empty token", func() (*oauth2.Token, error) { return &oauth2.Token{}, nil }, nil, "b24pull: no access token: the token source returned an empty token and no error; give it an access token"},
		{"answer with a code", func() (*oauth2.Token, error) {
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant", Body: []byte("the body")}
		}, ErrInvalidGrant, "b24pull: no access token: invalid_grant: the authorization server refused the code or refresh token (HTTP 400); have a user open or authorize the application again"},
		{"answer without a code", func() (*oauth2.Token, error) {
			return nil, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 502}, Body: []byte("the body")}
		}, nil, "b24pull: no access token: the authorization server answered HTTP 502"},
		{"wrapped answer", func() (*oauth2.Token, error) {
			return nil, errors.Join(own, &oauth2.RetrieveError{ErrorCode: "PAYMENT_REQUIRED", Body: []byte("the body")})
		}, ErrPaymentRequired, "b24pull: no access token: PAYMENT_REQUIRED: the subscription for the application or the portal's plan has ended; the portal has to renew it; Tokens asks again a minute after the refusal at the earliest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("the portal was called") })
			_, err := oauthClient(t, srv, tt.source).GetApplicationConfig(context.Background(), true)
			var typed *TokenError
			var answer *oauth2.RetrieveError
			if !errors.As(err, &typed) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if errors.As(err, &answer) {
				t.Error("the answer of the authorization server is within reach")
			}
		})
	}
}

func TestAuth_TokenSourceThatHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	done := make(chan struct{})
	source := sourceFunc(func() (*oauth2.Token, error) {
		defer close(done)
		cancel()
		<-release
		return nil, errors.New("too late")
	})
	srv := resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("the portal was called") })
	if _, err := oauthClient(t, srv, source).GetApplicationConfig(ctx, true); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	<-done
}

// A deafRefresher heeds no context.
type deafRefresher struct{ boom bool }

func (deafRefresher) Token() (*oauth2.Token, error) {
	return &oauth2.Token{AccessToken: resttest.AccessToken}, nil
}

func (r deafRefresher) Refresh(context.Context, *oauth2.Token) (*oauth2.Token, error) {
	if r.boom {
		panic("boom")
	}
	time.Sleep(time.Hour)
	return &oauth2.Token{AccessToken: resttest.Mark + "too late"}, nil
}

// TestAuth_RefresherThatHangs: neither the caller's deadline nor the timeout waits
// for it; its panic comes out where the caller can recover it.
func TestAuth_RefresherThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){says(401, `{"error":"expired_token"}`)}}
		c := mustNew(t, OAuth("portal.example", deafRefresher{}), WithHTTPClient(s.client()), WithTimeout(10*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := event(ctx, c); !errors.Is(err, context.DeadlineExceeded) || time.Since(s.start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(s.start))
		}
		if err := event(t.Context(), c); !errors.Is(err, context.DeadlineExceeded) || time.Since(s.start) != 11*time.Second {
			t.Errorf("%v after %v", err, time.Since(s.start))
		}
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
			time.Sleep(2 * time.Hour)
		}()
		c = mustNew(t, OAuth("portal.example", deafRefresher{boom: true}), WithHTTPClient(s.client()))
		t.Errorf("no panic, but %v", event(t.Context(), c))
	})
}

type tokenFunc func() (*oauth2.Token, error)

func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }

// TestAuth_TokenSourcePanics: the panic comes out where the caller can recover it.
func TestAuth_TokenSourcePanics(t *testing.T) {
	c := mustNew(t, OAuth("https://portal.example", tokenFunc(func() (*oauth2.Token, error) { panic("boom") })))
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v", r)
		}
	}()
	_, err := c.GetConfig(context.Background(), true)
	t.Errorf("no panic, but %v", err)
}

// TestAuth_ShortTokenKeepsTheCode: a token that is part of an error code does not
// hide the code.
func TestAuth_ShortTokenKeepsTheCode(t *testing.T) {
	srv := resttest.Portal(t, resttest.Reply(401, `{"error":"expired_token","error_description":"The access token provided has expired."}`))
	c := mustNew(t, OAuth(srv.URL, resttest.Static("token")), WithHTTPClient(srv.Client()))
	if _, err := c.GetApplicationConfig(context.Background(), true); !errors.Is(err, ErrExpiredToken) {
		t.Errorf("got %v", err)
	}
}

// TestAuth_PlainHTTP: http to any host is the explicit choice of WithPlainHTTP,
// for a webhook and a token alike, and leads nowhere else over http.
func TestAuth_PlainHTTP(t *testing.T) {
	for _, auth := range []Auth{
		Webhook("http://portal.lan:8080/rest/1/" + resttest.HookCode + "/"), OAuth("http://portal.lan:8080", resttest.Static(resttest.AccessToken)),
	} {
		if _, err := New(auth); err == nil || !strings.Contains(err.Error(), "WithPlainHTTP") {
			t.Errorf("%v was taken: %v", auth, err)
		}
		var asked []string
		location := ""
		c := mustNew(t, auth, WithPlainHTTP(), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Scheme+"://"+r.URL.Host)
			if location != "" {
				resp := resttest.JSONResponse(r, 302, "")
				resp.Header.Set("Location", location)
				return resp, nil
			}
			return resttest.JSONResponse(r, 200, `{"result":true}`), nil
		})}))
		if _, err := c.Call(t.Context(), "user.admin", nil, nil); err != nil {
			t.Error(err)
		}
		location = "http://elsewhere.lan/rest/"
		_, err := c.Call(t.Context(), "user.admin", nil, nil)
		resttest.CheckError(t, err)
		if want := []string{"http://portal.lan:8080", "http://portal.lan:8080"}; !slices.Equal(asked, want) || c.Portal() != want[0] {
			t.Errorf("asked %v", asked)
		}
		if text := c.String(); !strings.HasSuffix(text, "(http://portal.lan:8080))") {
			t.Errorf("it prints as %s", text)
		}
		if form := resttest.Leak(c); form != "" {
			t.Error(form)
		}
	}
}
