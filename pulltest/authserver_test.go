package pulltest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/b24pull/b24pull/pulltest"
)

// sharing runs f with an authorization server and so many portals that have it,
// on virtual time and over real sockets.
func sharing(t *testing.T, portals int, f func(t *testing.T, s *pulltest.AuthServer, portals []*pulltest.Portal), opts ...pulltest.Option) {
	t.Helper()
	run := func(t *testing.T, n *pulltest.Network) {
		s := pulltest.NewAuthServer(pulltest.Application{Name: "shop"}, n)
		defer s.Close()
		var all []*pulltest.Portal
		for range portals {
			p := pulltest.NewPortal(append(opts, pulltest.WithAuthServer(s))...)
			defer p.Close()
			all = append(all, p)
		}
		f(t, s, all)
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, pulltest.NewNetwork()) })
	})
	t.Run("sockets", func(t *testing.T) { run(t, nil) })
}

// TestAuthServer_Portals: one server gives out the tokens of all portals, each
// its own, which are good there alone.
func TestAuthServer_Portals(t *testing.T) {
	sharing(t, 3, func(t *testing.T, s *pulltest.AuthServer, portals []*pulltest.Portal) {
		members := make(map[string]bool)
		for i, p := range portals {
			if a, b := p.Application(), s.Application(); p.AuthServer() != s.URL() || a.ClientID != b.ClientID || a.ClientSecret != b.ClientSecret || a.Name != "shop" || a.ApplicationToken == "" {
				t.Errorf("portal %d has another server or application", i)
			}
			members[p.MemberID()], members[p.Application().ApplicationToken] = true, true
			for _, token := range []tokenAnswer{exchange(t, p, authorize(t, p).Get("code")), refresh(t, p, p.Token(2).RefreshToken)} {
				if token.Error != "" || token.raw["member_id"] != p.MemberID() || token.raw["client_endpoint"] != p.URL()+"/rest/" || token.raw["server_endpoint"] != s.URL()+"/rest/" {
					t.Errorf("portal %d: %q, of the portal itself: %t", i, token.Error, token.raw["member_id"] == p.MemberID())
				}
				for j, other := range portals {
					if got := works(t, other, token.AccessToken); (got == "") != (i == j) {
						t.Errorf("a token of portal %d at portal %d: %q", i, j, got)
					}
				}
			}
			if st := p.Stats(); st.TokenRequests != 2 || st.Exchanges != 1 || st.Refreshes != 1 {
				t.Errorf("portal %d has counted %d, %d and %d", i, st.TokenRequests, st.Exchanges, st.Refreshes)
			}
		}
		if len(members) != 6 {
			t.Errorf("%d member ids and application tokens are not 6", len(members))
		}
	})
}

// TestAuthServer_Refuses: what is nobody's is refused in the server's words, and
// a fault, a removal or an end of one portal is no other's.
func TestAuthServer_Refuses(t *testing.T) {
	sharing(t, 4, func(t *testing.T, s *pulltest.AuthServer, portals []*pulltest.Portal) {
		used := portals[0].Token(1).RefreshToken
		if got := refresh(t, portals[0], used).Error; got != "" {
			t.Error(got)
		}
		wrong := credentials(portals[0], "grant_type", "refresh_token", "refresh_token", portals[0].Token(1).RefreshToken)
		wrong.Set("client_secret", "another")
		unknown := credentials(portals[0], "grant_type", "authorization_code", "code", "unknown")
		for _, test := range []struct {
			form url.Values
			want string
		}{
			{credentials(portals[0], "grant_type", "refresh_token", "refresh_token", used), "invalid_grant"},
			{unknown, "invalid_grant"},
			{wrong, "invalid_client"},
			{url.Values{}, "invalid_request"},
			{credentials(portals[0], "grant_type", "refresh_token"), "invalid_request"},
			{url.Values{"grant_type": {strings.Repeat("x", 3<<20)}}, "invalid_request"},
		} {
			if got := askToken(t, portals[0], test.form).Error; got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		}
		for _, path := range []string{"/", "/rest/app.info", "/oauth/authorize/"} {
			if resp := getOnce(t, portals[0], s.URL()+path); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		var tokens []string
		for _, p := range portals {
			tokens = append(tokens, p.Token(1).RefreshToken)
		}
		portals[0].Misbehave(pulltest.OAuth, pulltest.RESTError(http.StatusPaymentRequired, "PAYMENT_REQUIRED"))
		portals[1].RevokeTokens()
		client := portals[3]
		portals[2].Close()
		for i, want := range []string{"PAYMENT_REQUIRED", "invalid_grant", "invalid_grant", ""} {
			if got := refresh(t, client, tokens[i]).Error; got != want {
				t.Errorf("portal %d: %q, want %q", i, got, want)
			}
		}
	})
}

// TestAuthServer_Close: neither a portal nor the server waits for requests that
// hang, whichever is closed first.
func TestAuthServer_Close(t *testing.T) {
	for _, first := range []string{"portal", "server"} {
		arrived := make(chan bool, 2)
		told := pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/oauth/token/" {
					arrived <- true
				}
				next.ServeHTTP(w, r)
			})
		})
		sharing(t, 1, func(t *testing.T, s *pulltest.AuthServer, portals []*pulltest.Portal) {
			p := portals[0]
			p.Misbehave(pulltest.OAuth, pulltest.Stall)
			var asking sync.WaitGroup
			asking.Go(func() {
				form := credentials(p, "grant_type", "refresh_token", "refresh_token", p.Token(1).RefreshToken)
				if resp, err := s.HTTPClient().PostForm(s.URL()+"/oauth/token/", form); err == nil {
					resp.Body.Close()
					t.Errorf("answered %s", resp.Status)
				}
			})
			<-arrived
			if first == "portal" {
				p.Close()
			} else {
				s.Close()
			}
			asking.Wait()
			if first == "server" {
				if got := works(t, p, p.AccessToken()); got != "" {
					t.Errorf("the portal answers %q without its server", got)
				}
				if q, err := pulltest.Start(pulltest.WithAuthServer(s)); err == nil {
					q.Close()
					t.Error("a portal begins with a closed server")
				}
			}
		}, told)
	}
}

// TestAuthServer_Options: what contradicts the server is refused.
func TestAuthServer_Options(t *testing.T) {
	n := pulltest.NewNetwork()
	s := pulltest.NewAuthServer(pulltest.Application{ClientID: "app.1"}, n)
	defer s.Close()
	for want, opt := range map[string]pulltest.Option{
		"not on the Network of WithNetwork":         pulltest.WithNetwork(pulltest.NewNetwork()),
		"WithApplication names another application": pulltest.WithApplication(pulltest.Application{ClientID: "app.2"}),
		"does not go together with WithPlainURLs":   pulltest.WithPlainURLs(),
		"give that to NewAuthServer":                pulltest.WithApplication(pulltest.Application{ClientSecret: "x"}),
	} {
		p, err := pulltest.Start(pulltest.WithAuthServer(s), opt)
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "pulltest: WithAuthServer: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	p := pulltest.NewPortal(pulltest.WithAuthServer(s), pulltest.WithNetwork(n), pulltest.WithApplication(pulltest.Application{ClientID: "app.1", ApplicationToken: "given"}))
	defer p.Close()
	if a := p.Application(); a.ApplicationToken != "given" || a.ClientSecret != s.Application().ClientSecret {
		t.Error("what the portal's application has of its own is lost, or more")
	}
}

// TestNetwork_HTTPClient: one client reaches all of a network, also where a
// portal has moved to, and trusts nothing else's certificates.
func TestNetwork_HTTPClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pulltest.NewNetwork()
		s := pulltest.NewAuthServer(pulltest.Application{}, n)
		defer s.Close()
		var addresses []string
		for _, opts := range [][]pulltest.Option{nil, nil, {pulltest.WithAddress("shop.example:8443")}, {pulltest.WithAuthServer(s)}} {
			p := pulltest.NewPortal(append(opts, pulltest.WithNetwork(n))...)
			defer p.Close()
			addresses = append(addresses, p.URL(), p.AuthServer(), p.Move(fmt.Sprint("moved", len(addresses), ".example")))
		}
		for _, address := range addresses {
			resp, err := n.HTTPClient().Get(address + "/oauth/token/")
			if err != nil {
				t.Errorf("%s: %v", address, err)
				continue
			}
			resp.Body.Close()
		}
		if s.HTTPClient() != n.HTTPClient() {
			t.Error("there are several clients")
		}
	})
}
