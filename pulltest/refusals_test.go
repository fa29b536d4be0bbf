package pulltest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

const everyService = pulltest.REST | pulltest.WebSockets | pulltest.Polls | pulltest.OAuth

// askUnled asks each service once, and follows no redirect.
func askUnled(t *testing.T, p *pulltest.Portal) map[pulltest.Service]*http.Response {
	t.Helper()
	client := *p.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answers := map[pulltest.Service]*http.Response{}
	for s, target := range map[pulltest.Service]string{
		pulltest.REST:  p.URL() + "/rest/pull.application.config.get?auth=" + p.AccessToken(),
		pulltest.Polls: subURL(t, p, zeros),
		pulltest.OAuth: p.AuthServer() + "/oauth/token/?grant_type=refresh_token",
	} {
		req, _ := http.NewRequestWithContext(context.Background(), "GET", target, nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		answers[s] = resp
	}
	ws, resp, err := dialURL(p, subURL(t, p, ""))
	switch {
	case err == nil:
		ws.Close()
	case err != websocket.ErrBadHandshake:
		t.Fatal(err)
	}
	answers[pulltest.WebSockets] = resp
	return answers
}

// TestRefusals_Redirects: every service can lead elsewhere, and the login page's address
// repeats what was asked for.
func TestRefusals_Redirects(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Misbehave(everyService, pulltest.Redirect(301, "https://new.example/x"))
		for s, resp := range askUnled(t, p) {
			if resp.StatusCode != 301 || resp.Header.Get("Location") != "https://new.example/x" {
				t.Errorf("service %d: %d to %q", s, resp.StatusCode, resp.Header.Get("Location"))
			}
		}
		p.Misbehave(everyService, pulltest.LoginPage)
		for s, resp := range askUnled(t, p) {
			to, err := url.Parse(resp.Header.Get("Location"))
			if resp.StatusCode != 302 || err != nil || to.Path != "/auth/" || !strings.HasPrefix(to.Query().Get("backurl"), resp.Request.URL.Path) {
				t.Errorf("service %d: %d", s, resp.StatusCode)
			}
		}
	})
}

// TestRefusals_WithRetryAfter: only refusals bear the header.
func TestRefusals_WithRetryAfter(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Emit(text("kept"))
		for _, f := range []pulltest.Fault{pulltest.BadGateway, pulltest.Refuse(503), pulltest.RESTError(503, "QUERY_LIMIT_EXCEEDED"), pulltest.ErrorObject(429, "A"), pulltest.LoginPage} {
			for _, value := range []string{"", "7", "Mon, 23 Nov 2026 10:00:00 GMT", "soon"} {
				p.Misbehave(everyService, f.WithRetryAfter(value))
				for s, resp := range askUnled(t, p) {
					if got := resp.Header.Get("Retry-After"); got != value || resp.StatusCode < 300 {
						t.Errorf("service %d: %d, Retry-After %q, want %q", s, resp.StatusCode, got, value)
					}
				}
			}
		}
		p.Misbehave(everyService, pulltest.Garble.WithRetryAfter("7"))
		for s, resp := range askUnled(t, p) {
			if got := resp.Header.Get("Retry-After"); got != "" {
				t.Errorf("service %d: not refused, Retry-After %q", s, got)
			}
		}
	})
}

// TestRefusals_ErrorObject: by the fault, and by the newer address.
func TestRefusals_ErrorObject(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		object := func(target string) (status int, object map[string]any) {
			t.Helper()
			r := get(t, p, target)
			var answer struct {
				Error map[string]any `json:"error"`
			}
			if err := json.Unmarshal(r.body, &answer); err != nil {
				t.Fatalf("no error object: %v", err)
			}
			return r.status, answer.Error
		}
		p.Misbehave(pulltest.REST|pulltest.OAuth, pulltest.ErrorObject(200, "expired_token", [2]string{"TITLE", "is empty"}))
		for _, target := range []string{p.Webhook() + "pull.config.get", p.AuthServer() + "/oauth/token/"} {
			status, e := object(target)
			list, _ := e["validation"].([]any)
			if status != 200 || e["code"] != "expired_token" || e["message"] != "The access token provided has expired." || len(list) != 1 {
				t.Errorf("%d %v", status, e)
			}
		}
		p.Behave(pulltest.REST | pulltest.OAuth)
		if status, a := call(t, p, p.APIWebhook()+"pull.config.get", params{}); status != 200 || a.Result == nil {
			t.Errorf("by the newer address: %d", status)
		}
		if status, a := call(t, p, p.URL()+"/rest/api/pull.application.config.get", params{"auth": p.AccessToken()}); status != 200 || a.Result == nil {
			t.Errorf("by the newer address and OAuth: %d", status)
		}
		for _, method := range []string{"pull.application.config.get", "no.such.method"} {
			want := map[string]string{"no.such.method": "ERROR_METHOD_NOT_FOUND"}[method]
			if want == "" {
				want = "WRONG_AUTH_TYPE"
			}
			if status, e := object(p.APIWebhook() + method); e["code"] != want || status < 400 {
				t.Errorf("%s by the newer address: %d %v", method, status, e["code"])
			}
		}
		if status, _ := object(p.URL() + "/rest/api/1/guess/pull.config.get"); status != 403 {
			t.Errorf("a wrong code: %d", status)
		}
	})
}

func TestRefusals_WithoutTime(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		for fault, want := range map[pulltest.Fault]bool{
			pulltest.RESTError(429, "OPERATION_TIME_LIMIT"):               true,
			pulltest.RESTError(429, "OPERATION_TIME_LIMIT").WithoutTime(): false,
		} {
			p.Misbehave(pulltest.REST, fault)
			r := get(t, p, p.Webhook()+"pull.config.get")
			if has := strings.Contains(string(r.body), `"time"`); r.status != 429 || has != want {
				t.Errorf("%d, the time is told: %v, want %v", r.status, has, want)
			}
		}
	})
}
