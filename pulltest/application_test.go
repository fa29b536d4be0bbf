package pulltest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// Each user's token has that user's private channel.
func TestApplication_UsersOfTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		config := func(user int) configChannels {
			_, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.Token(user).AccessToken})
			var c configChannels
			if err := json.Unmarshal(a.Result, &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
		one, two := config(1).Channels, config(2).Channels
		if one["shared"].ID != two["shared"].ID || one["private"].ID == two["private"].ID {
			t.Errorf("channels %v and %v", one, two)
		}
		m := text("for two")
		m.To = pulltest.Colleague
		p.Emit(m)
		if status, a := call(t, p, p.URL()+"/rest/pull.application.event.add", params{
			"auth": p.AccessToken(), "COMMAND": "tick", "PARAMS": params{"text": "also"}, "USER_ID": 2,
		}); status != 200 {
			t.Fatal(a.Error)
		}
		query := url.Values{"CHANNEL_ID": {two["private"].ID}, "binaryMode": {"true"}, "mid": {zeros}}
		expect(t, "user 2 has", texts(t, decode(t, get(t, p, p.PushURL()+"/sub/?"+query.Encode()).body)), "for two", "also")
		defer func() {
			if recover() == nil {
				t.Error("there is a user 3")
			}
		}()
		p.Token(3)
	})
}

func TestApplication(t *testing.T) {
	app := pulltest.Application{Name: "Stock", ClientID: "app.1", ClientSecret: "s", ApplicationToken: "t", RedirectURL: "https://app.example/done"}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if p.Application() != app {
			t.Errorf("%+v", p.Application())
		}
		resp := getOnce(t, p, p.URL()+"/oauth/authorize/?client_id=app.1")
		if to := resp.Header.Get("Location"); !strings.HasPrefix(to, "https://app.example/done?code=") {
			t.Errorf("redirected to %s", to)
		}
	}, pulltest.WithApplication(app))
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		a := p.Application()
		second := pulltest.NewPortal(pulltest.WithNetwork(n))
		defer second.Close()
		if b := second.Application(); a.ClientSecret == "" || a.ApplicationToken == "" || a.ClientSecret == b.ClientSecret || a.ApplicationToken == b.ApplicationToken {
			t.Errorf("%+v and %+v", a, b)
		}
		if p.MemberID() == second.MemberID() {
			t.Error("two portals have one member id")
		}
	})
}

func TestApplication_OAuthMisbehaves(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1).RefreshToken
		for _, tt := range []struct {
			status int
			code   string
		}{{402, "PAYMENT_REQUIRED"}, {400, "invalid_grant"}, {403, "insufficient_scope"}, {200, "invalid_client"}} {
			p.Misbehave(pulltest.OAuth, pulltest.RESTError(tt.status, tt.code))
			a := refresh(t, p, token)
			if a.status != tt.status || a.Error != tt.code || a.Description == "" || a.raw["time"] != nil {
				t.Errorf("%s: %d %+v", tt.code, a.status, a)
			}
		}
		if e := works(t, p, p.AccessToken()); e != "" {
			t.Errorf("REST misbehaves too: %s", e)
		}
		p.Misbehave(pulltest.OAuth, pulltest.BadGateway)
		if r := post(t, p, p.AuthServer()+"/oauth/token/", nil); r.status != 502 || !strings.HasPrefix(string(r.body), "<html>") {
			t.Errorf("a bad gateway: %d %s", r.status, r.body)
		}
		p.Misbehave(pulltest.OAuth, pulltest.Garble)
		if r := post(t, p, p.AuthServer()+"/oauth/token/", nil); json.Valid(r.body) {
			t.Errorf("garbled: %s", r.body)
		}
		p.Behave(pulltest.OAuth)
		if a := refresh(t, p, token); a.status != 200 {
			t.Errorf("behaving: %d %s", a.status, a.Error)
		}
	})
}

// What is asked is done, though nobody hears of it.
func TestApplication_LostAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		token := p.Token(1)
		ask := func(target string, form url.Values) {
			t.Helper()
			resp, err := p.HTTPClient().PostForm(target, form)
			if err == nil {
				resp.Body.Close()
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
		p.Misbehave(pulltest.OAuth|pulltest.REST, pulltest.LoseAnswer)
		ask(p.AuthServer()+"/oauth/token/", credentials(p, "grant_type", "refresh_token", "refresh_token", token.RefreshToken))
		ask(p.URL()+"/rest/pull.application.event.add", url.Values{"auth": {p.AccessToken()}, "COMMAND": {"x"}})
		p.Behave(pulltest.OAuth | pulltest.REST)
		if s := p.Stats(); s.Refreshes != 1 || s.Published != 1 {
			t.Errorf("%d refreshes, %d published", s.Refreshes, s.Published)
		}
		if a := refresh(t, p, token.RefreshToken); a.Error != "invalid_grant" {
			t.Errorf("the refresh token of the lost answer: %d %s", a.status, a.Error)
		}
	})
}

// A slow authorization server takes virtual time only.
func TestApplication_SlowRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Misbehave(pulltest.OAuth, pulltest.Delay(5*time.Second))
		start := time.Now()
		if a := refresh(t, p, p.Token(1).RefreshToken); a.status != 200 || time.Since(start) != 5*time.Second {
			t.Errorf("%d after %v", a.status, time.Since(start))
		}
	})
}
