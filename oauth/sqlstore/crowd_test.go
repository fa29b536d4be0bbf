package sqlstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

const mark = "s3cr3t" // of the tests' secrets

// An authServer renews each refresh token once, to the next of its line: those
// of a member are MARK-member-0, MARK-member-1 and so on.
type authServer struct {
	*httptest.Server
	took time.Duration

	mu    sync.Mutex
	asked int
	spent map[string]bool
}

func newAuthServer(t *testing.T) *authServer {
	t.Helper()
	s := &authServer{spent: make(map[string]bool), took: 50 * time.Millisecond}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *authServer) serve(w http.ResponseWriter, r *http.Request) {
	time.Sleep(s.took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	refresh := r.FormValue("refresh_token")
	name, n, ok := cutLast(refresh)
	if !ok || s.spent[refresh] {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	s.spent[refresh] = true
	member := strings.TrimPrefix(name, mark+"-")
	json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("access-%s-%d", name, n+1), "refresh_token": fmt.Sprintf("%s-%d", name, n+1),
		"expires_in": 3600, "client_endpoint": "https://" + member + ".example/rest/", "member_id": member, "user_id": 1, "scope": "pull", "status": "L"})
}

// cutLast takes the number at the end of a token off.
func cutLast(token string) (name string, n int, ok bool) {
	at := strings.LastIndex(token, "-")
	if at < 0 {
		return "", 0, false
	}
	_, err := fmt.Sscan(token[at+1:], &n)
	return token[:at], n, err == nil
}

func (s *authServer) tokens(t *testing.T, store oauth.TokenStore) *oauth.Tokens {
	t.Helper()
	ts, err := oauth.NewTokens(&oauth.Application{ClientID: "app.1", ClientSecret: b24pull.Secret(mark + "-client"),
		AuthServer: s.URL, HTTPClient: s.Client()}, store)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// install is the event of a member that has installed the application.
func install(t *testing.T, member, refresh string) *oauth.Callback {
	t.Helper()
	form := url.Values{"event": {"ONAPPINSTALL"}}
	for name, v := range map[string]string{"access_token": "access-" + refresh, "refresh_token": refresh, "expires_in": "3600",
		"domain": member + ".example", "client_endpoint": "https://" + member + ".example/rest/", "member_id": member,
		"scope": "pull", "status": "L", "user_id": "1", "application_token": mark + "-app-" + member} {
		form.Set("auth["+name+"]", v)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c, err := oauth.ParseCallback(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// installAll has so many members install the application at once, and then
// again, with the application_token that is known by then: both ranks of
// callbacks wait for the authorization server at the same time.
func installAll(t *testing.T, tokens []*oauth.Tokens, members int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for n := range members {
		ts, member := tokens[n%len(tokens)], fmt.Sprint("member", n)
		wg.Go(func() {
			for again := range 2 {
				c := install(t, member, fmt.Sprintf("%s-%s-%d", mark, member, 100*again))
				err := ts.Handle(ctx, c)
				for errors.Is(err, oauth.ErrBusy) && ctx.Err() == nil {
					err = ts.Handle(ctx, c)
				}
				if err != nil {
					t.Errorf("%s, installation %d: %v", member, again, err)
					return
				}
			}
			if got, err := ts.Get(ctx, member); err != nil || got.RefreshToken != fmt.Sprintf("%s-%s-101", mark, member) {
				t.Errorf("%s: not the last token is stored: %v", member, err)
			}
		})
	}
	wg.Wait()
}
