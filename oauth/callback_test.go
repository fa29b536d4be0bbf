package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

func post(target string, form url.Values) *http.Request {
	r := httptest.NewRequest("POST", target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func openForm() url.Values {
	return url.Values{"AUTH_ID": {resttest.Mark + "-access-0"}, "REFRESH_ID": {resttest.Mark + "-refresh-0"}, "AUTH_EXPIRES": {"3600"}, "member_id": {"member1"},
		"status": {"L"}, "PLACEMENT": {"DEFAULT"}, "SERVER_ENDPOINT": {"https://oauth.example/rest/"}}
}

func installEvent(applicationToken string) url.Values {
	form := url.Values{"event": {"ONAPPINSTALL"}, "data[VERSION]": {"1"}, "data[LANGUAGE_ID]": {"de"}}
	for name, v := range map[string]string{"access_token": resttest.Mark + "-access-0", "refresh_token": resttest.Mark + "-refresh-0", "expires_in": "3600",
		"domain": "portal.example", "server_endpoint": "https://oauth.example/rest/", "client_endpoint": "https://portal.example/rest/",
		"member_id": "member1", "scope": "crm,pull", "status": "F", "user_id": "67", "application_token": applicationToken} {
		form.Set("auth["+name+"]", v)
	}
	return form
}

func uninstallEvent(applicationToken string) url.Values {
	return url.Values{"event": {"onappuninstall"}, "auth[member_id]": {"member1"}, "auth[domain]": {"portal.example"}, "auth[application_token]": {applicationToken}}
}

func mustParse(t *testing.T, form url.Values) *Callback {
	t.Helper()
	c, err := ParseCallback(post("/?DOMAIN=portal.example&PROTOCOL=1&LANG=en&APP_SID="+resttest.Mark, form))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCallback_ParseCallback(t *testing.T) {
	open := mustParse(t, openForm())
	if open.Event != "" || open.Installed() || open.Lang != "en" || open.Placement != "DEFAULT" || open.Token.Portal != "https://portal.example" ||
		open.Token.AccessToken != resttest.Mark+"-access-0" || open.Token.RefreshToken != resttest.Mark+"-refresh-0" || open.Token.Expiry.IsZero() || open.MemberID != "member1" {
		t.Errorf("got %v, %s", open, open.Token.Raw())
	}
	install := mustParse(t, installEvent(resttest.Mark+"app"))
	if !install.Installed() || install.Token.UserID != 67 || string(install.ApplicationToken) != resttest.Mark+"app" || install.Lang != "en" ||
		install.Value("data[VERSION]") != "1" || install.Token.Portal != "https://portal.example" {
		t.Errorf("got %v, %s", install, install.Token.Raw())
	}
	uninstall := mustParse(t, uninstallEvent(resttest.Mark+"app"))
	if !uninstall.Uninstalled() || uninstall.Token != nil || uninstall.MemberID != "member1" {
		t.Errorf("got %v", uninstall)
	}
	for name, v := range map[string]any{"*Callback": install, "Callback": *install} {
		if form := resttest.Leak(v); form != "" {
			t.Errorf("%s tells a secret by %s", name, form)
		}
	}
}

// TestCallback_CallbacksAsTheyCome: what a token is not made of refuses none, since the
// token is confirmed before it is kept, and a portal is https on the host that
// is named.
func TestCallback_CallbacksAsTheyCome(t *testing.T) {
	with := func(form url.Values, name, v string) url.Values { form.Set(name, v); return form }
	const known = "https://portal.example"
	for name, tt := range map[string]struct {
		r      *http.Request
		portal string
	}{
		"no portal":              {post("/", openForm()), ""},
		"no host":                {post("/?DOMAIN=%25zz", openForm()), ""},
		"over http":              {post("/?DOMAIN=portal.example&PROTOCOL=0", openForm()), known},
		"an http address":        {post("/?DOMAIN=http://Portal.example:80/", openForm()), known},
		"a path":                 {post("/?DOMAIN=portal.example/"+resttest.Mark, openForm()), known},
		"a byte order mark":      {post("/?DOMAIN=%EF%BB%BFportal.example.", openForm()), known},
		"a port":                 {post("/?DOMAIN=portal.example:8443", openForm()), known + ":8443"},
		"an event over http":     {post("/", with(installEvent(""), "auth[client_endpoint]", "http://portal.example/rest/")), known},
		"an event of no address": {post("/", with(installEvent(""), "auth[client_endpoint]", "%zz"+resttest.Mark)), known},
		"an odd user":            {post("/", with(installEvent(""), "auth[user_id]", resttest.Mark)), known},
		"an odd end":             {post("/", with(with(installEvent(""), "auth[expires]", resttest.Mark), "auth[expires_in]", "1e400")), known},
	} {
		c, err := ParseCallback(tt.r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Token.Portal != tt.portal || c.Token.AccessToken != resttest.Mark+"-access-0" || c.Token.RefreshToken != resttest.Mark+"-refresh-0" || c.MemberID != "member1" {
			t.Errorf("%s: got %v", name, c.Token)
		}
	}
}

func TestCallback_BadCallbacks(t *testing.T) {
	without := func(form url.Values, name string) url.Values { form.Del(name); return form }
	with := func(form url.Values, name, v string) url.Values { form.Set(name, v); return form }
	tests := map[string]*http.Request{
		"GET":                        httptest.NewRequest("GET", "/?"+openForm().Encode(), nil),
		"no form":                    httptest.NewRequest("POST", "/", strings.NewReader(resttest.Mark)),
		"too long":                   post("/?DOMAIN=portal.example", with(openForm(), "x", strings.Repeat(resttest.Mark, callbackLimit))),
		"no member":                  post("/?DOMAIN=portal.example", without(openForm(), "member_id")),
		"member that is a path":      post("/?DOMAIN=portal.example", with(openForm(), "member_id", "../"+resttest.Mark)),
		"no token":                   post("/?DOMAIN=portal.example", without(openForm(), "AUTH_ID")),
		"domain has a user":          post("/?DOMAIN="+resttest.Mark+"@portal.example", openForm()),
		"a user and no URL":          post("/?DOMAIN=https://"+resttest.Mark+"%25zz@portal.example", openForm()),
		"client_endpoint has a user": post("/", with(installEvent(""), "auth[client_endpoint]", "https://portal.example:"+resttest.Mark+"@10.0.0.1/rest/")),
		"server_endpoint has a user": post("/?DOMAIN=portal.example", with(openForm(), "SERVER_ENDPOINT", "https://oauth.bitrix.info@"+resttest.Mark+".example/rest/")),
	}
	for name, r := range tests {
		c, err := ParseCallback(r)
		if c != nil {
			t.Errorf("%s was taken", name)
		}
		if strings.Contains(name, "has a user") && !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
		resttest.CheckError(t, err)
	}
}

func TestCallback_ParseRedirect(t *testing.T) {
	const good = "/?code=" + resttest.Mark + "&state=st&domain=Portal.example&member_id=member1&scope=crm&server_domain=oauth.bitrix.info"
	code, err := ParseRedirect(httptest.NewRequest("GET", good, nil), "st")
	want := AuthCode{Code: resttest.Mark, Portal: "https://portal.example", MemberID: "member1", Scope: "crm", Server: "oauth.bitrix.info"}
	if err != nil || code != want {
		t.Errorf("got %v, %v", code, err)
	}
	if form := resttest.Leak(code); form != "" {
		t.Errorf("a code tells itself by %s", form)
	}
	for target, state := range map[string]string{
		good:       "other",
		good + "x": "",
		"/?code=" + resttest.Mark + "&domain=portal.example":                                            "",
		"/?code=" + resttest.Mark + "&domain=portal.example&state=":                                     "st",
		"/?state=st&domain=portal.example":                                                              "st",
		"/?state=st&code=" + resttest.Mark:                                                              "st",
		"/?state=st&domain=ftp://portal.example&code=" + resttest.Mark:                                  "st",
		"/?state=st&domain=https://" + resttest.Mark + "@portal.example&code=x":                         "st",
		"/?state=st&domain=%25zz&code=" + resttest.Mark:                                                 "st",
		"/?state=st&domain=portal.example&code=x&server_domain=" + resttest.Mark + "@oauth.bitrix.info": "st",
		"/?state=st&error=access_denied&error_description=" + resttest.Mark:                             "st",
		"/?state=st&domain=portal.example&error=" + resttest.Mark + "%20no code":                        "st",
	} {
		_, err := ParseRedirect(httptest.NewRequest("GET", strings.ReplaceAll(target, " ", "+"), nil), state)
		resttest.CheckError(t, err)
	}
}

func TestCallback_Verify(t *testing.T) {
	for _, tt := range []struct {
		came, known b24pull.Secret
		good        bool
	}{{"a", "a", true}, {"a", "b", false}, {"", "", false}, {"a", "", false}, {"", "a", false}, {"a", "ab", false}} {
		if err := (&Callback{ApplicationToken: tt.came}).Verify(tt.known); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrApplicationToken) {
			t.Errorf("%q, %q: %v", string(tt.came), string(tt.known), err)
		}
	}
}

// TestCallback_Handle goes through the life of an installation, with others who send
// what they like.
func TestCallback_Handle(t *testing.T) {
	ctx := context.Background()
	server := &rotating{}
	ts, err := NewTokens(testApp(server.transport(nil)), new(MemoryStore))
	if err != nil {
		t.Fatal(err)
	}
	handle := func(form url.Values) error { return ts.Handle(ctx, mustParse(t, form)) }
	access := func() string {
		stored, err := ts.Get(ctx, "member1")
		if errors.Is(err, b24pull.ErrNoToken) {
			return b24pull.ErrNoToken.Error()
		}
		if err != nil {
			return err.Error()
		}
		return stored.AccessToken + " " + string(stored.ApplicationToken)
	}
	check := func(step string, err, want error, stored string) {
		t.Helper()
		if !errors.Is(err, want) || access() != stored {
			t.Errorf("%s: %v, stored %s; want %v, %s", step, err, access(), want, stored)
		}
	}
	event := url.Values{"event": {"ONCRMLEADADD"}, "auth[member_id]": {"member1"}, "auth[application_token]": {resttest.Mark + "app"}}
	check("an event before", handle(event), b24pull.ErrNoToken, b24pull.ErrNoToken.Error())
	check("uninstalled before", handle(uninstallEvent("x")), nil, b24pull.ErrNoToken.Error())

	forged := installEvent(resttest.Mark + "forged")
	forged.Set("auth[refresh_token]", resttest.Mark+"-another")
	check("a forged token", handle(forged), b24pull.ErrInvalidGrant, b24pull.ErrNoToken.Error())
	server.change = map[string]any{"member_id": "member2"}
	if err := handle(installEvent(resttest.Mark + "app")); err == nil || !strings.Contains(err.Error(), "another portal's") {
		t.Errorf("another portal's token: %v", err)
	}
	server.change = map[string]any{"member_id": nil, "client_endpoint": "https://other.example/rest/"}
	server.generation = 0
	if err := handle(installEvent(resttest.Mark + "app")); err == nil || access() != b24pull.ErrNoToken.Error() {
		t.Errorf("a token of nobody's: %v", err)
	}
	server.change, server.generation = nil, 0
	check("installed", handle(installEvent(resttest.Mark+"app")), nil, resttest.Mark+"-access-1 "+resttest.Mark+"app")

	server.generation = 0
	check("opened by another user", handle(openForm()), nil, resttest.Mark+"-access-1 "+resttest.Mark+"app")
	// The stored token was asked whether it lives.
	check("installed by somebody else", handle(installEvent(resttest.Mark+"other")), ErrApplicationToken, resttest.Mark+"-access-2 "+resttest.Mark+"app")
	check("an event", handle(event), nil, resttest.Mark+"-access-2 "+resttest.Mark+"app")
	event.Set("auth[application_token]", resttest.Mark+"other")
	check("a forged event", handle(event), ErrApplicationToken, resttest.Mark+"-access-2 "+resttest.Mark+"app")
	check("uninstalled by somebody else", handle(uninstallEvent(resttest.Mark+"other")), ErrApplicationToken, resttest.Mark+"-access-2 "+resttest.Mark+"app")

	source := ts.Source("member1")
	life, cancel := source.Context(ctx)
	defer cancel()
	if _, err := source.Token(); err != nil {
		t.Error(err)
	}
	check("uninstalled", handle(uninstallEvent(resttest.Mark+"app")), nil, b24pull.ErrNoToken.Error())
	<-life.Done()
	if _, err := source.Token(); !errors.Is(err, b24pull.ErrUninstalled) || !errors.Is(context.Cause(life), b24pull.ErrUninstalled) {
		t.Errorf("the source lives: %v, %v", err, context.Cause(life))
	}
	server.generation = 0
	check("opened again", handle(openForm()), nil, resttest.Mark+"-access-1 ")
	if _, err := source.Token(); !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("the old source lives again: %v", err)
	}
	if _, err := ts.Source("member1").Token(); err != nil {
		t.Errorf("the new source: %v", err)
	}
	for _, v := range []any{ts, source, ts.store, ts.app, *ts.app} {
		if form := resttest.Leak(v); form != "" {
			t.Errorf("%T tells a secret by %s", v, form)
		}
	}
}
