package pulltest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// postOnce is post without following a redirect.
func postOnce(t *testing.T, p *pulltest.Portal, target, body string) (pollResult, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.HTTPClient().Transport.RoundTrip(req)
	if err != nil {
		return pollResult{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return pollResult{resp.StatusCode, resp.Header, data}, err
}

func TestMove(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		body := func() string { return `{"auth":"` + p.AccessToken() + `"}` }
		const method = "/rest/pull.application.config.get"
		ws := dial(t, p, "")
		defer ws.Close()
		push, server, hook := p.PushURL(), p.AuthServer(), p.Webhook()
		homes := []string{p.URL()}
		for range 2 {
			last := homes[len(homes)-1]
			to := p.Move(strings.Repeat("new", len(homes)) + ".example")
			if to != p.URL() || to == last || !strings.HasPrefix(to, "https://") {
				t.Fatalf("moved from %s to %s, URL is %s", last, to, p.URL())
			}
			for _, old := range homes {
				r, err := postOnce(t, p, old+method+"?a=b", body())
				if err != nil || r.status != 302 || r.header.Get("Location") != to+method+"?a=b" {
					t.Errorf("%s: %d %v %v", old, r.status, r.header, err)
				}
			}
			homes = append(homes, to)
			var c struct {
				Result struct{ Server struct{ Hostname string } }
			}
			r, err := postOnce(t, p, to+method, body())
			if err != nil || r.status != 200 || json.Unmarshal(r.body, &c) != nil || "https://"+c.Result.Server.Hostname != to {
				t.Errorf("%s: %d %s %v", to, r.status, r.body, err)
			}
		}
		if r, err := postOnce(t, p, hook+"pull.config.get", "{}"); err != nil || r.header.Get("Location") != p.Webhook()+"pull.config.get" {
			t.Errorf("webhook: %d %v %v", r.status, r.header, err)
		}
		if a := exchange(t, p, authorize(t, p).Get("code")); a.raw["client_endpoint"] != p.URL()+"/rest/" {
			t.Errorf("client_endpoint %v", a.raw["client_endpoint"])
		}
		if resp := getOnce(t, p, homes[0]+"/oauth/authorize/?client_id=x"); resp.StatusCode != 302 || resp.Header.Get("Location") != p.URL()+"/oauth/authorize/?client_id=x" {
			t.Errorf("authorize: %d %v", resp.StatusCode, resp.Header)
		}
		if p.PushURL() != push || p.AuthServer() != server {
			t.Errorf("the push server is at %s, the authorization server at %s", p.PushURL(), p.AuthServer())
		}
		p.Emit(text("to those who stayed"))
		expect(t, "the open websocket hears", texts(t, next(t, ws)), "to those who stayed")
		if s := p.Stats(); s.Redirects != 5 || s.Insecure != 0 {
			t.Errorf("%d redirects, %d requests over plain http", s.Redirects, s.Insecure)
		}
	})
}

func TestMove_ToPlainHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		first := p.URL()
		to := p.Move("http://new.example")
		r, err := postOnce(t, p, first+"/rest/pull.config.get", "{}")
		if err != nil || r.status != 302 || !strings.HasPrefix(to, "http://") || r.header.Get("Location") != to+"/rest/pull.config.get" {
			t.Errorf("%d %v %v", r.status, r.header, err)
		}
		if n := p.Stats().Insecure; n != 0 {
			t.Errorf("%d requests over plain http before there was one", n)
		}
		if r, err := postOnce(t, p, p.Webhook()+"pull.config.get", "{}"); err != nil || r.status != 200 || !bytes.Contains(r.body, []byte("channels")) {
			t.Errorf("plain http: %d %s %v", r.status, r.body, err)
		}
		if n := p.Stats().Insecure; n != 1 {
			t.Errorf("%d requests over plain http", n)
		}
	})
}

func TestMove_Back(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
		p.Move("new.example")
		if to := p.Move("portal.example"); to != "https://portal.example" {
			t.Errorf("moved to %s", to)
		}
		for target, want := range map[string]int{"https://portal.example": 200, "https://new.example": 302} {
			if r, err := postOnce(t, p, target+"/rest/pull.application.config.get", `{"auth":"`+p.AccessToken()+`"}`); err != nil || r.status != want {
				t.Errorf("%s: %d %v", target, r.status, err)
			}
		}
		second := pulltest.NewPortal(pulltest.WithNetwork(n))
		defer second.Close()
		refused := func(p *pulltest.Portal, to string) {
			t.Helper()
			defer func() {
				if recover() == nil {
					t.Errorf("a move to %s", to)
				}
			}()
			p.Move(to)
		}
		refused(p, "portal2.example") // where another portal is
		second.Close()
		refused(second, "other.example")
	})
}
