package b24pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func post(target string, form url.Values) *http.Request {
	r := httptest.NewRequest("POST", target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func openForm() url.Values {
	return url.Values{"AUTH_ID": {mark + "-access-0"}, "REFRESH_ID": {mark + "-refresh-0"}, "AUTH_EXPIRES": {"3600"}, "member_id": {"member1"},
		"status": {"L"}, "PLACEMENT": {"DEFAULT"}, "SERVER_ENDPOINT": {"https://oauth.example/rest/"}}
}

func installEvent(applicationToken string) url.Values {
	form := url.Values{"event": {"ONAPPINSTALL"}, "data[VERSION]": {"1"}, "data[LANGUAGE_ID]": {"de"}}
	for name, v := range map[string]string{"access_token": mark + "-access-0", "refresh_token": mark + "-refresh-0", "expires_in": "3600",
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
	c, err := ParseCallback(post("/?DOMAIN=portal.example&PROTOCOL=1&LANG=en&APP_SID="+mark, form))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseCallback(t *testing.T) {
	open := mustParse(t, openForm())
	if open.Event != "" || open.Installed() || open.Lang != "en" || open.Placement != "DEFAULT" || open.Token.Portal != "https://portal.example" ||
		open.Token.AccessToken != mark+"-access-0" || open.Token.RefreshToken != mark+"-refresh-0" || open.Token.Expiry.IsZero() || open.MemberID != "member1" {
		t.Errorf("got %v, %s", open, open.Token.Raw())
	}
	install := mustParse(t, installEvent(mark+"app"))
	if !install.Installed() || install.Token.UserID != 67 || string(install.ApplicationToken) != mark+"app" || install.Lang != "en" ||
		install.Value("data[VERSION]") != "1" || install.Token.Portal != "https://portal.example" {
		t.Errorf("got %v, %s", install, install.Token.Raw())
	}
	uninstall := mustParse(t, uninstallEvent(mark+"app"))
	if !uninstall.Uninstalled() || uninstall.Token != nil || uninstall.MemberID != "member1" {
		t.Errorf("got %v", uninstall)
	}
	for name, v := range map[string]any{"*Callback": install, "Callback": *install} {
		if form := leak(v); form != "" {
			t.Errorf("%s tells a secret by %s", name, form)
		}
	}
}

// TestCallbacksAsTheyCome: what a token is not made of refuses none, since the token is confirmed before it is kept,
// and a portal is https on the host that is named.
func TestCallbacksAsTheyCome(t *testing.T) {
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
		"a path":                 {post("/?DOMAIN=portal.example/"+mark, openForm()), known},
		"a byte order mark":      {post("/?DOMAIN=%EF%BB%BFportal.example.", openForm()), known},
		"a port":                 {post("/?DOMAIN=portal.example:8443", openForm()), known + ":8443"},
		"an event over http":     {post("/", with(installEvent(""), "auth[client_endpoint]", "http://portal.example/rest/")), known},
		"an event of no address": {post("/", with(installEvent(""), "auth[client_endpoint]", "%zz"+mark)), known},
		"an odd user":            {post("/", with(installEvent(""), "auth[user_id]", mark)), known},
		"an odd end":             {post("/", with(with(installEvent(""), "auth[expires]", mark), "auth[expires_in]", "1e400")), known},
	} {
		c, err := ParseCallback(tt.r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Token.Portal != tt.portal || c.Token.AccessToken != mark+"-access-0" || c.Token.RefreshToken != mark+"-refresh-0" || c.MemberID != "member1" {
			t.Errorf("%s: got %v", name, c.Token)
		}
	}
}

func TestBadCallbacks(t *testing.T) {
	without := func(form url.Values, name string) url.Values { form.Del(name); return form }
	with := func(form url.Values, name, v string) url.Values { form.Set(name, v); return form }
	tests := map[string]*http.Request{
		"GET":                        httptest.NewRequest("GET", "/?"+openForm().Encode(), nil),
		"no form":                    httptest.NewRequest("POST", "/", strings.NewReader(mark)),
		"too long":                   post("/?DOMAIN=portal.example", with(openForm(), "x", strings.Repeat(mark, callbackLimit))),
		"no member":                  post("/?DOMAIN=portal.example", without(openForm(), "member_id")),
		"member that is a path":      post("/?DOMAIN=portal.example", with(openForm(), "member_id", "../"+mark)),
		"no token":                   post("/?DOMAIN=portal.example", without(openForm(), "AUTH_ID")),
		"domain has a user":          post("/?DOMAIN="+mark+"@portal.example", openForm()),
		"a user and no URL":          post("/?DOMAIN=https://"+mark+"%25zz@portal.example", openForm()),
		"client_endpoint has a user": post("/", with(installEvent(""), "auth[client_endpoint]", "https://portal.example:"+mark+"@10.0.0.1/rest/")),
		"server_endpoint has a user": post("/?DOMAIN=portal.example", with(openForm(), "SERVER_ENDPOINT", "https://oauth.bitrix.info@"+mark+".example/rest/")),
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
		checkError(t, err)
	}
}

func TestParseRedirect(t *testing.T) {
	const good = "/?code=" + mark + "&state=st&domain=Portal.example&member_id=member1&scope=crm&server_domain=oauth.bitrix.info"
	code, err := ParseRedirect(httptest.NewRequest("GET", good, nil), "st")
	want := AuthCode{Code: mark, Portal: "https://portal.example", MemberID: "member1", Scope: "crm", Server: "oauth.bitrix.info"}
	if err != nil || code != want {
		t.Errorf("got %v, %v", code, err)
	}
	if form := leak(code); form != "" {
		t.Errorf("a code tells itself by %s", form)
	}
	for target, state := range map[string]string{
		good:       "other",
		good + "x": "",
		"/?code=" + mark + "&domain=portal.example":                                            "",
		"/?code=" + mark + "&domain=portal.example&state=":                                     "st",
		"/?state=st&domain=portal.example":                                                     "st",
		"/?state=st&code=" + mark:                                                              "st",
		"/?state=st&domain=ftp://portal.example&code=" + mark:                                  "st",
		"/?state=st&domain=https://" + mark + "@portal.example&code=x":                         "st",
		"/?state=st&domain=%25zz&code=" + mark:                                                 "st",
		"/?state=st&domain=portal.example&code=x&server_domain=" + mark + "@oauth.bitrix.info": "st",
		"/?state=st&error=access_denied&error_description=" + mark:                             "st",
		"/?state=st&domain=portal.example&error=" + mark + "%20no code":                        "st",
	} {
		_, err := ParseRedirect(httptest.NewRequest("GET", strings.ReplaceAll(target, " ", "+"), nil), state)
		checkError(t, err)
	}
}

func TestVerify(t *testing.T) {
	for _, tt := range []struct {
		came, known Secret
		good        bool
	}{{"a", "a", true}, {"a", "b", false}, {"", "", false}, {"a", "", false}, {"", "a", false}, {"a", "ab", false}} {
		if err := (&Callback{ApplicationToken: tt.came}).Verify(tt.known); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrApplicationToken) {
			t.Errorf("%q, %q: %v", string(tt.came), string(tt.known), err)
		}
	}
}

// TestHandle goes through the life of an installation, with others who send what
// they like.
func TestHandle(t *testing.T) {
	ctx := context.Background()
	server := &rotating{}
	ts, err := NewTokens(testApp(server.transport(nil)), new(MemoryStore))
	if err != nil {
		t.Fatal(err)
	}
	handle := func(form url.Values) error { return ts.Handle(ctx, mustParse(t, form)) }
	access := func() string {
		stored, err := ts.Get(ctx, "member1")
		if errors.Is(err, ErrNoToken) {
			return ErrNoToken.Error()
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
	event := url.Values{"event": {"ONCRMLEADADD"}, "auth[member_id]": {"member1"}, "auth[application_token]": {mark + "app"}}
	check("an event before", handle(event), ErrNoToken, ErrNoToken.Error())
	check("uninstalled before", handle(uninstallEvent("x")), nil, ErrNoToken.Error())

	forged := installEvent(mark + "forged")
	forged.Set("auth[refresh_token]", mark+"-another")
	check("a forged token", handle(forged), ErrInvalidGrant, ErrNoToken.Error())
	server.change = map[string]any{"member_id": "member2"}
	if err := handle(installEvent(mark + "app")); err == nil || !strings.Contains(err.Error(), "another portal's") {
		t.Errorf("another portal's token: %v", err)
	}
	server.change = map[string]any{"member_id": nil, "client_endpoint": "https://other.example/rest/"}
	server.generation = 0
	if err := handle(installEvent(mark + "app")); err == nil || access() != ErrNoToken.Error() {
		t.Errorf("a token of nobody's: %v", err)
	}
	server.change, server.generation = nil, 0
	check("installed", handle(installEvent(mark+"app")), nil, mark+"-access-1 "+mark+"app")

	server.generation = 0
	check("opened by another user", handle(openForm()), nil, mark+"-access-1 "+mark+"app")
	// The stored token was asked whether it lives.
	check("installed by somebody else", handle(installEvent(mark+"other")), ErrApplicationToken, mark+"-access-2 "+mark+"app")
	check("an event", handle(event), nil, mark+"-access-2 "+mark+"app")
	event.Set("auth[application_token]", mark+"other")
	check("a forged event", handle(event), ErrApplicationToken, mark+"-access-2 "+mark+"app")
	check("uninstalled by somebody else", handle(uninstallEvent(mark+"other")), ErrApplicationToken, mark+"-access-2 "+mark+"app")

	source := ts.Source("member1")
	life, cancel := source.Context(ctx)
	defer cancel()
	if _, err := source.Token(); err != nil {
		t.Error(err)
	}
	check("uninstalled", handle(uninstallEvent(mark+"app")), nil, ErrNoToken.Error())
	<-life.Done()
	if _, err := source.Token(); !errors.Is(err, ErrUninstalled) || !errors.Is(context.Cause(life), ErrUninstalled) {
		t.Errorf("the source lives: %v, %v", err, context.Cause(life))
	}
	server.generation = 0
	check("opened again", handle(openForm()), nil, mark+"-access-1 ")
	if _, err := source.Token(); !errors.Is(err, ErrUninstalled) {
		t.Errorf("the old source lives again: %v", err)
	}
	if _, err := ts.Source("member1").Token(); err != nil {
		t.Errorf("the new source: %v", err)
	}
	for _, v := range []any{ts, source, ts.store, ts.app, *ts.app} {
		if form := leak(v); form != "" {
			t.Errorf("%T tells a secret by %s", v, form)
		}
	}
}
