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
	// before is called for each request that comes, and after when its token is
	// spent, before the answer.
	before, after func(n int)
}

func newAuthServer(t *testing.T) *authServer {
	t.Helper()
	s := &authServer{spent: make(map[string]bool), took: 50 * time.Millisecond,
		before: func(int) {}, after: func(int) {}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *authServer) serve(w http.ResponseWriter, r *http.Request) {
	time.Sleep(s.took)
	s.mu.Lock()
	s.asked++
	n, before, after := s.asked, s.before, s.after
	s.mu.Unlock()
	before(n)
	status, answer := s.renew(r)
	after(n)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

// requests is how many have come.
func (s *authServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *authServer) renew(r *http.Request) (status int, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refresh := r.FormValue("refresh_token")
	name, n, ok := cutLast(refresh)
	if !ok || s.spent[refresh] {
		return http.StatusBadRequest, map[string]any{"error": "invalid_grant"}
	}
	s.spent[refresh] = true
	member := strings.TrimPrefix(name, mark+"-")
	return http.StatusOK, map[string]any{"access_token": fmt.Sprintf("access-%s-%d", name, n+1), "refresh_token": fmt.Sprintf("%s-%d", name, n+1),
		"expires_in": 3600, "client_endpoint": "https://" + member + ".example/rest/", "member_id": member, "user_id": 1, "scope": "pull", "status": "L"}
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

// TestCrowd_Installations: however many install the application at once, and
// however few connections there are, nobody waits for another's connection.
func TestCrowd_Installations(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		for _, c := range []struct{ pool, processes, members int }{{10, 1, 20}, {10, 5, 100}, {1, 1, 20}, {1, 2, 20}} {
			t.Run(fmt.Sprintf("%d of %d Tokens on %d connections", c.members, c.processes, c.pool), func(t *testing.T) {
				t.Parallel()
				s, db := newAuthServer(t), d.pool(t, d.place(t), c.pool)
				var tokens []*oauth.Tokens
				for range c.processes {
					tokens = append(tokens, s.tokens(t, d.over(t, db).Tokens()))
				}
				installAll(t, tokens, c.members)
				var left int
				if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM b24pull_locks").Scan(&left); err != nil || left != 0 {
					t.Errorf("%d locks are left, %v", left, err)
				}
			})
		}
	})
}

// TestCrowd_Refreshes: a hundred portals whose tokens are refreshed at once, by
// two processes each, and each is refreshed once.
func TestCrowd_Refreshes(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		const portals = 100
		s, db := newAuthServer(t), d.pool(t, d.place(t), 10)
		one, other := s.tokens(t, d.over(t, db).Tokens()), s.tokens(t, d.over(t, db).Tokens())
		var wg sync.WaitGroup
		for n := range portals {
			member := fmt.Sprint("member", n)
			first := tokenOf(t, member, 0)
			if err := one.Put(t.Context(), member, first); err != nil {
				t.Fatal(err)
			}
			for _, ts := range []*oauth.Tokens{one, other} {
				wg.Go(func() {
					next, err := ts.Source(member).Refresh(t.Context(), &first.Token)
					if err != nil || next.RefreshToken != tokenOf(t, member, 1).RefreshToken {
						t.Errorf("%s: not the next token: %v", member, err)
					}
				})
			}
		}
		wg.Wait()
		if n := s.requests(); n != portals {
			t.Errorf("%d refreshes, want %d", n, portals)
		}
	})
}

// tokenOf is the nth token of a member.
func tokenOf(t *testing.T, member string, n int) *oauth.Token {
	t.Helper()
	token := new(oauth.Token)
	text := fmt.Sprintf(`{"access_token":"access-%s-%s-%d","refresh_token":"%[1]s-%[2]s-%[3]d","portal":"https://%[2]s.example","member_id":"%[2]s"}`, mark, member, n)
	if err := token.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return token
}
