package pulltest_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

// callback is a request that an application's handler received.
type callback struct {
	method string
	kind   string // of the body
	query  url.Values
	form   url.Values
}

// serveApp runs an application's handlers on a listener. It answers 500 at
// /broken.
func serveApp(t *testing.T, l net.Listener) <-chan callback {
	t.Helper()
	got := make(chan callback, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		if err := r.ParseForm(); err == nil {
			got <- callback{r.Method, r.Header.Get("Content-Type"), r.URL.Query(), r.PostForm}
		}
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return got
}

// withApp runs f with an application's handlers, in memory and over sockets.
func withApp(t *testing.T, f func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback)) {
	t.Run("memory", func(t *testing.T) {
		inBubble(t, func(t *testing.T, p *pulltest.Portal, n *pulltest.Network) {
			l, err := n.Listen("app.example:80")
			if err != nil {
				t.Fatal(err)
			}
			f(t, p, "http://app.example", serveApp(t, l))
		})
	})
	t.Run("sockets", func(t *testing.T) {
		p := pulltest.NewPortal()
		defer p.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f(t, p, "http://"+l.Addr().String(), serveApp(t, l))
	})
}

// receive takes what the handler got, with secrets and the like taken out.
func receive(t *testing.T, got <-chan callback, out ...string) (c callback, taken map[string]string) {
	t.Helper()
	select {
	case c = <-got:
	default:
		t.Fatal("the handler received nothing")
	}
	if c.method != "POST" || c.kind != "application/x-www-form-urlencoded" {
		t.Errorf("%s of %s", c.method, c.kind)
	}
	taken = make(map[string]string)
	for _, values := range []url.Values{c.query, c.form} {
		for _, name := range out {
			if v := values.Get(name); v != "" {
				taken[name] = v
				values.Del(name)
			}
		}
	}
	if len(taken) != len(out) {
		t.Errorf("of %v there are only %v", out, taken)
	}
	return c, taken
}

func host(address string) string { return strings.TrimPrefix(address, "https://") }

func TestInstall_AndOpen(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		before := []string{p.Token(2).AccessToken, p.AccessToken()}
		for name, post := range map[string]func(context.Context, string) error{"install": p.Install, "open": p.Open} {
			if err := post(t.Context(), app+"/?keep=this"); err != nil {
				t.Fatal(name, err)
			}
			c, taken := receive(t, got, "AUTH_ID", "REFRESH_ID", "APP_SID")
			if diff := cmp.Diff(url.Values{"keep": {"this"}, "DOMAIN": {host(p.URL())}, "PROTOCOL": {"1"}, "LANG": {"en"}}, c.query); diff != "" {
				t.Errorf("%s: query:\n%s", name, diff)
			}
			if diff := cmp.Diff(url.Values{
				"AUTH_EXPIRES": {"3600"}, "SERVER_ENDPOINT": {p.AuthServer() + "/rest/"}, "member_id": {p.MemberID()}, "status": {"L"},
				"PLACEMENT": {"DEFAULT"}, "PLACEMENT_OPTIONS": {"[]"},
			}, c.form); diff != "" {
				t.Errorf("%s: form:\n%s", name, diff)
			}
			if e := works(t, p, taken["AUTH_ID"]); e != "" {
				t.Errorf("%s: the access token: %s", name, e)
			}
			if a := refresh(t, p, taken["REFRESH_ID"]); a.status != 200 {
				t.Errorf("%s: the refresh token: %d %s", name, a.status, a.Error)
			}
		}
		for _, token := range before {
			if e := works(t, p, token); e != "" {
				t.Errorf("a token of before: %s", e)
			}
		}
	})
}

func TestInstall_Event(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		p.SignIn(2)
		if err := p.InstallByEvent(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		c, taken := receive(t, got, "auth[access_token]", "auth[refresh_token]", "auth[expires]", "ts")
		if diff := cmp.Diff(url.Values{
			"event": {"ONAPPINSTALL"}, "data[VERSION]": {"1"}, "data[ACTIVE]": {"Y"}, "data[INSTALLED]": {"Y"}, "data[LANGUAGE_ID]": {"en"},
			"auth[expires_in]": {"3600"}, "auth[scope]": {"pull,pull_channel,user"}, "auth[domain]": {host(p.URL())}, "auth[status]": {"L"},
			"auth[server_endpoint]": {p.AuthServer() + "/rest/"}, "auth[client_endpoint]": {p.URL() + "/rest/"},
			"auth[member_id]": {p.MemberID()}, "auth[user_id]": {"2"}, "auth[application_token]": {p.Application().ApplicationToken},
		}, c.form); diff != "" || len(c.query) > 0 {
			t.Errorf("query %v, form:\n%s", c.query, diff)
		}
		if e := works(t, p, taken["auth[access_token]"]); e != "" {
			t.Errorf("the access token: %s", e)
		}
		if a := refresh(t, p, taken["auth[refresh_token]"]); a.status != 200 || a.raw["user_id"] != 2.0 {
			t.Errorf("the refresh token: %d %v", a.status, a.raw)
		}
	})
}

func TestInstall_Uninstall(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		before, other, forever, code := p.Token(1), p.Token(1), p.AccessToken(), authorize(t, p).Get("code")
		if err := p.Uninstall(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		c, _ := receive(t, got, "ts")
		if diff := cmp.Diff(url.Values{
			"event": {"ONAPPUNINSTALL"}, "data[LANGUAGE_ID]": {"en"}, "data[CLEAN]": {"0"},
			"auth[domain]": {host(p.URL())}, "auth[server_endpoint]": {p.AuthServer() + "/rest/"}, "auth[client_endpoint]": {p.URL() + "/rest/"},
			"auth[member_id]": {p.MemberID()}, "auth[application_token]": {p.Application().ApplicationToken},
		}, c.form); diff != "" {
			t.Errorf("form:\n%s", diff)
		}
		refused := func(when string) {
			t.Helper()
			for name, token := range map[string]string{"access token": before.AccessToken, "AccessToken": forever} {
				if status, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": token}); status != 401 || a.Error != "NO_AUTH_FOUND" {
					t.Errorf("%s: %s: %d %s", when, name, status, a.Error)
				}
			}
		}
		refused("uninstalled")
		if a := refresh(t, p, before.RefreshToken); a.status != 400 || a.Error != "invalid_grant" {
			t.Errorf("uninstalled: the refresh token: %d %s", a.status, a.Error)
		}
		if e := works(t, p, p.Token(1).AccessToken); e != "NO_AUTH_FOUND" {
			t.Errorf("a token of an application that is not installed: %q", e)
		}
		if status, a := call(t, p, p.Webhook()+"pull.config.get", params{}); status != 200 {
			t.Errorf("the webhook: %d %s", status, a.Error)
		}
		former := p.Application()
		if err := p.Install(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		_, taken := receive(t, got, "AUTH_ID")
		refused("installed again")
		again := p.Application()
		if again.ApplicationToken == former.ApplicationToken || again.ApplicationToken == "" {
			t.Error("the application_token is the one of before")
		}
		if again.ApplicationToken = former.ApplicationToken; again != former {
			t.Errorf("%+v has become %+v", former, again)
		}
		if err := p.InstallByEvent(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		if c, _ := receive(t, got); c.form.Get("auth[application_token]") != p.Application().ApplicationToken {
			t.Error("ONAPPINSTALL brings another application_token")
		}
		if a := refresh(t, p, other.RefreshToken); a.Error != "invalid_grant" {
			t.Errorf("the refresh token of before: %d %s", a.status, a.Error)
		}
		if a := exchange(t, p, code); a.Error != "invalid_grant" {
			t.Errorf("the code of before: %d %s", a.status, a.Error)
		}
		for _, token := range []string{taken["AUTH_ID"], p.AccessToken(), p.Token(2).AccessToken} {
			if e := works(t, p, token); e != "" {
				t.Errorf("installed again: %s", e)
			}
		}
	})
}

// A handler that fails is an error, but what the portal did stays done.
func TestInstall_HandlerErrors(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		cancel()
		for name, err := range map[string]error{
			"status 500":    p.Install(t.Context(), app+"/broken"),
			"no address":    p.Open(t.Context(), "\x00"),
			"event nowhere": p.InstallByEvent(t.Context(), "\x00"),
			"no time":       p.Open(ctx, app),
			"uninstall":     p.Uninstall(ctx, app),
		} {
			if err == nil {
				t.Errorf("%s is no error", name)
			}
		}
		if e := works(t, p, p.AccessToken()); e != "NO_AUTH_FOUND" {
			t.Errorf("uninstalled all the same: %q", e)
		}
	})
}

func TestInstall_TellsPlainHTTP(t *testing.T) {
	withApp(t, func(t *testing.T, p *pulltest.Portal, app string, got <-chan callback) {
		to := p.Move("http://new.example")
		if err := p.Open(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		c, _ := receive(t, got, "AUTH_ID")
		if c.query.Get("PROTOCOL") != "0" || "http://"+c.query.Get("DOMAIN") != to {
			t.Errorf("moved to %s, told %v", to, c.query)
		}
	})
}
