package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// oauthFailures are ways of the authorization server to fail, the class, and
// how often one call has it refresh.
var oauthFailures = []struct {
	name   string
	status int // 0: no answer, but err
	body   any
	err    error
	class  b24pull.Class
	asked  int
}{
	{"invalid_grant", 400, map[string]any{"error": "invalid_grant"}, nil, b24pull.ClassFinal, 1},
	{"authorization_error", 401, map[string]any{"error": "authorization_error"}, nil, b24pull.ClassUnavailable, 4},
	{"invalid_client", 401, map[string]any{"error": "invalid_client"}, nil, b24pull.ClassFinal, 1},
	{"PAYMENT_REQUIRED", 402, map[string]any{"error": "PAYMENT_REQUIRED"}, nil, b24pull.ClassFinal, 1},
	{"a code in HTTP 500", 500, map[string]any{"error": "invalid_grant"}, nil, b24pull.ClassFinal, 1},
	{"expired_token", 401, map[string]any{"error": "expired_token"}, nil, b24pull.ClassFinal, 1},
	{"a code that is not known", 400, map[string]any{"error": "NEVER_SEEN"}, nil, b24pull.ClassFinal, 1},
	{"no code", 404, "<html>", nil, b24pull.ClassFinal, 1},
	{"no JSON", 200, "<html>", nil, b24pull.ClassFinal, 1},
	{"QUERY_LIMIT_EXCEEDED", 503, map[string]any{"error": "QUERY_LIMIT_EXCEEDED"}, nil, b24pull.ClassThrottled, 4},
	{"server_error", 500, map[string]any{"error": "server_error"}, nil, b24pull.ClassUnavailable, 2},
	{"server_error with HTTP 400", 400, map[string]any{"error": "server_error"}, nil, b24pull.ClassUnavailable, 1},
	{"temporarily_unavailable", 503, map[string]any{"error": "temporarily_unavailable"}, nil, b24pull.ClassUnavailable, 2},
	{"access_denied", 403, map[string]any{"error": "access_denied"}, nil, b24pull.ClassFinal, 1},
	{"HTTP 429", 429, "", nil, b24pull.ClassThrottled, 4},
	{"HTTP 502", 502, "<html>", nil, b24pull.ClassUnavailable, 2},
	{"INTERNAL_SERVER_ERROR", 500, map[string]any{"error": "INTERNAL_SERVER_ERROR"}, nil, b24pull.ClassUnavailable, 2},
	{"a dial failure", 0, nil, &net.OpError{Op: "dial", Err: errors.New("refused")}, b24pull.ClassNotSent, 4},
	{"a proxy's", 0, nil, &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, b24pull.ClassNotSent, 4},
	{"a broken connection", 0, nil, &net.OpError{Op: "read", Err: errors.New("reset")}, b24pull.ClassUnavailable, 1},
	{"EOF", 0, nil, io.EOF, b24pull.ClassUnavailable, 1},
	{"a transport's own", 0, nil, errors.New("strange"), b24pull.ClassUnavailable, 1},
}

// refusing is an authorization server that fails, n times or always with 0, and
// then is rotating.
func (s *rotating) refusing(status int, body any, failure error, n int) *http.Client {
	failures := 0
	good := s.transport(nil)
	return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		s.mu.Lock()
		fail := n == 0 || failures < n
		if fail {
			failures++
			s.asked++
		}
		s.mu.Unlock()
		switch {
		case !fail:
			return good.Transport.RoundTrip(r)
		case failure != nil:
			return nil, failure
		}
		return resttest.JSONResponse(r, status, body), nil
	})}
}

// TestTokenclass_TokenErrorClasses: what is repeated is the refresh, so calls that have an
// effect are like reads; and a refresh is repeated only where that loses
// nothing.
func TestTokenclass_TokenErrorClasses(t *testing.T) {
	for _, tt := range oauthFailures {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, effects := range []bool{false, true} {
					server := &rotating{}
					ts, err := NewTokens(testApp(server.refusing(tt.status, tt.body, tt.err, 0)), new(MemoryStore))
					if err != nil {
						t.Fatal(err)
					}
					if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
						t.Fatal(err)
					}
					c := clientOf(t, server, ts.Source("member1"), b24pull.WithRetry(b24pull.Retry{Effects: effects}))
					for name, call := range map[string]func() error{
						"a read":   func() error { _, err := c.GetApplicationConfig(t.Context(), true); return err },
						"an event": func() error { return event(t.Context(), c) },
					} {
						before, _ := server.counts()
						err := call()
						after, _ := server.counts()
						want := tt.asked
						if tt.name == "invalid_grant" || tt.name == "PAYMENT_REQUIRED" || tt.name == "a code in HTTP 500" {
							want -= before // the refusal is remembered
						}
						var typed *b24pull.TokenError
						if !errors.As(err, &typed) || b24pull.ClassOf(err) != tt.class || after-before != want {
							t.Errorf("%s: %v; class %v, %d refreshes, want %v and %d", name, err, b24pull.ClassOf(err), after-before, tt.class, want)
						}
						resttest.CheckError(t, err)
					}
				}
			})
		})
	}
}

// TestTokenclass_CodesOfTheStandard: what RFC 6749 calls server_error and access_denied is
// not what portals call so.
func TestTokenclass_CodesOfTheStandard(t *testing.T) {
	for code, not := range map[string]error{"server_error": b24pull.ErrServerNotConfigured, "access_denied": b24pull.ErrAccessDenied} {
		for _, status := range []int{400, 403, 500} {
			server := &rotating{refuse: func() (int, any) { return status, map[string]any{"error": code} }}
			_, err := testApp(server.transport(nil)).Refresh(t.Context(), server.present())
			var refused *b24pull.TokenError
			if !errors.As(err, &refused) || refused.Code != code || errors.Is(err, not) || strings.Contains(err.Error(), "Push & Pull") || strings.Contains(err.Error(), "plan") {
				t.Errorf("got %v", err)
			}
			if portal := (&b24pull.APIError{Code: code}); !errors.Is(portal, not) {
				t.Errorf("a portal's %s is none", code)
			}
		}
	}
}

// TestTokenclass_RefreshAgain: what passes costs a call a pause.
func TestTokenclass_RefreshAgain(t *testing.T) {
	for _, tt := range oauthFailures {
		if tt.asked == 1 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			server := &rotating{}
			ts, err := NewTokens(testApp(server.refusing(tt.status, tt.body, tt.err, tt.asked-1)), new(MemoryStore))
			if err != nil {
				t.Fatal(err)
			}
			if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
				t.Fatal(err)
			}
			c := clientOf(t, server, ts.Source("member1"), b24pull.WithRetry(b24pull.Retry{}))
			if _, err := c.GetApplicationConfig(t.Context(), true); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		})
	}
}

// TestTokenclass_StoredAgain: the new token is in memory, and a repeat stores it.
func TestTokenclass_StoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{}, &brokenStore{}
		ts := keep(t, server, store)
		if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
			t.Fatal(err)
		}
		full := errors.New("the disk is full")
		store.fail = full
		c := clientOf(t, server, ts.Source("member1"), b24pull.WithRetry(b24pull.Retry{}))
		_, err := c.GetApplicationConfig(t.Context(), true)
		if !errors.Is(err, full) || b24pull.ClassOf(err) != b24pull.ClassUnavailable {
			t.Errorf("got %v of class %v", err, b24pull.ClassOf(err))
		}
		go func() {
			time.Sleep(2 * time.Second)
			store.mu.Lock()
			store.fail = nil
			store.mu.Unlock()
		}()
		_, err = c.GetApplicationConfig(t.Context(), true)
		if asked, _ := server.counts(); err != nil || asked != 1 {
			t.Errorf("%v, %d refreshes", err, asked)
		}
	})
}

// TestTokenclass_KeepWatchOutlastsAnOutage of the authorization server, and not the end of
// the application's right.
func TestTokenclass_KeepWatchOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{refuse: func() (int, any) { return 502, "<html>" }}
		ts := keep(t, server, new(MemoryStore))
		if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
			t.Fatal(err)
		}
		refuse := func(with func() (int, any)) {
			server.mu.Lock()
			defer server.mu.Unlock()
			server.refuse = with
		}
		time.AfterFunc(5*time.Minute+30*time.Second, func() { refuse(nil) })
		time.AfterFunc(20*time.Minute+30*time.Second, func() {
			refuse(func() (int, any) { return 400, map[string]any{"error": "invalid_grant"} })
			server.mu.Lock()
			server.generation++ // the portal takes none of the tokens that are known
			server.mu.Unlock()
		})
		start, failed := time.Now(), 0
		c := mustNew(t, b24pull.OAuth("portal.example", ts.Source("member1")), b24pull.WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			var body struct{ Auth string }
			json.NewDecoder(r.Body).Decode(&body)
			server.mu.Lock()
			defer server.mu.Unlock()
			if body.Auth != server.access() {
				return resttest.JSONResponse(r, 401, `{"error":"expired_token"}`), nil
			}
			return resttest.JSONResponse(r, 200, `{"result":{"server":true}}`), nil
		})}))
		err := c.KeepWatch(t.Context(), b24pull.Watch{Tags: []string{"server"}, Failed: func(error) { failed++ }})
		if !errors.Is(err, b24pull.ErrInvalidGrant) || time.Since(start) < 20*time.Minute || failed != 6 {
			t.Errorf("%v after %v, %d failures", err, time.Since(start), failed)
		}
	})
}

// TestTokenclass_SourcesOfUsers: their errors have the class of what is in them.
func TestTokenclass_SourcesOfUsers(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for want, failures := range map[b24pull.Class][]error{
		b24pull.ClassNotSent: {dial, fmt.Errorf("asking: %w", dial)},
		b24pull.ClassUnavailable: {&oauth2.RetrieveError{Response: &http.Response{StatusCode: 503}}, &net.OpError{Op: "read", Err: io.EOF},
			context.DeadlineExceeded},
		b24pull.ClassFinal: {errors.New("nobody has logged in"), context.Canceled, b24pull.ErrNoToken, b24pull.ErrUninstalled,
			&oauth2.RetrieveError{ErrorCode: "invalid_grant", Response: &http.Response{StatusCode: 500}}},
	} {
		for _, failure := range failures {
			c := mustNew(t, b24pull.OAuth("portal.example", sourceFunc(func() (*oauth2.Token, error) { return nil, failure })))
			if err := event(context.Background(), c); b24pull.ClassOf(err) != want {
				t.Errorf("%v: class %v, want %v", err, b24pull.ClassOf(err), want)
			}
		}
	}
}

// TestTokenclass_GatewayAtRefresh: its error is that of a lost answer.
func TestTokenclass_GatewayAtRefresh(t *testing.T) {
	for _, status := range []int{500, 502, 503, 504} {
		server := &rotating{refuse: func() (int, any) { return status, "<html>" + resttest.Mark }}
		_, err := testApp(server.transport(nil)).Refresh(context.Background(), server.present())
		var typed *b24pull.TokenError
		want := fmt.Sprintf("b24pull: no access token: the authorization server answered HTTP %d; the new token may be lost with the answer: "+
			"if the next refresh is invalid_grant, have a user open or authorize the application again", status)
		if !errors.As(err, &typed) || err.Error() != want || typed.Status != status || typed.Code != "" {
			t.Errorf("got %v", err)
		}
		_, err = testApp(server.transport(nil)).Exchange(context.Background(), AuthCode{Code: resttest.Mark + "-code"})
		if err == nil || strings.Contains(err.Error(), "refresh") || !strings.Contains(err.Error(), "answered HTTP ") {
			t.Errorf("got %v", err)
		}
	}
}
