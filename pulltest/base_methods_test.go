package pulltest_test

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestMethods_Base: what SDKs call when they start, and what it is answered.
func TestMethods_Base(t *testing.T) {
	const appInfo = `{"CODE":"local.5f3c0d1b2a4e60.71829304","DAYS":null,"ID":1,"INSTALLED":true,"LANGUAGE_ID":"en","LICENSE":"en_nfr","LICENSE_FAMILY":"nfr","LICENSE_TYPE":"nfr","PAYMENT_EXPIRED":"N","STATUS":"L","VERSION":1}`
	profile := func(id, last, admin string) string {
		return `{"ADMIN":` + admin + `,"ID":"` + id + `","LAST_NAME":"` + last + `","NAME":"User","PERSONAL_GENDER":"","PERSONAL_PHOTO":"","TIME_ZONE":"","TIME_ZONE_OFFSET":0}`
	}
	user := func(email string) string {
		return `{"ACTIVE":true,` + email + `"ID":"1","IS_ONLINE":"N","LAST_NAME":"One","NAME":"User","PERSONAL_BIRTHDAY":"","PERSONAL_GENDER":"","PERSONAL_PHOTO":"","SECOND_NAME":"","TIME_ZONE":"","TIME_ZONE_OFFSET":"0","TITLE":"","UF_DEPARTMENT":[1],"USER_TYPE":"employee","WORK_POSITION":""}`
	}
	tests := []struct {
		name, method string
		user         int // 0: the webhook
		sent         params
		scopes       []string
		want         string // the result, or the error
	}{
		{"an administrator", "profile", 1, nil, nil, profile("1", "One", "true")},
		{"another", "profile", 2, nil, nil, profile("2", "Two", "false")},
		{"a webhook", "profile", 0, nil, []string{}, profile("1", "One", "true")},
		{"", "user.admin", 2, nil, nil, "false"},
		{"", "user.current", 0, nil, nil, user(`"EMAIL":"user1@portal.example",`)},
		{"the lesser scope", "user.current", 0, nil, []string{"user_basic"}, user(`"EMAIL":"user1@portal.example",`)},
		{"the least scope", "user.current", 0, nil, []string{"user_brief"}, user("")},
		{"another scope", "user.current", 1, nil, []string{"pull"}, "insufficient_scope"},
		{"", "app.info", 2, nil, []string{}, appInfo},
		{"a webhook", "app.info", 0, nil, []string{"pull"}, `{"LICENSE":"en_nfr","SCOPE":["pull"]}`},
		{"", "scope", 1, nil, nil, `["pull","pull_channel","user"]`},
		{"full", "scope", 1, params{"full": true}, []string{"crm"}, `["crm","pull","pull_channel","user"]`},
		{"none", "scope", 0, nil, []string{}, `[]`},
		{"", "server.time", 0, nil, nil, `"2000-01-01T02:00:00+02:00"`},
		{"", "methods", 0, nil, []string{"pull"}, `["app.info","batch","event.bind","event.get","event.unbind","methods","profile",` +
			`"pull.api.user.getLastSeen","pull.application.config.get","pull.application.event.add","pull.application.push.add","pull.watch.extend","scope","server.time","user.admin"]`},
		{"of a scope", "methods", 1, params{"scope": "pull_channel"}, []string{}, `["pull.channel.public.get","pull.channel.public.list","pull.config.get"]`},
		{"of no scope there is", "methods", 1, params{"SCOPE": "crm"}, nil, `[]`},
	}
	for _, tt := range tests {
		var opts []pulltest.Option
		if tt.scopes != nil {
			opts = append(opts, pulltest.WithScope(tt.scopes...))
		}
		inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
			sent, target := params{}, p.Webhook()+tt.method
			if tt.user != 0 {
				sent["auth"], target = p.Token(tt.user).AccessToken, p.URL()+"/rest/"+tt.method
			}
			for name, value := range tt.sent {
				sent[name] = value
			}
			if _, a := call(t, p, target, sent); string(a.Result)+a.Error != tt.want {
				t.Errorf("%s %s: %s%s, want %s", tt.method, tt.name, a.Result, a.Error, tt.want)
			}
			if _, a := call(t, p, p.URL()+"/rest/"+tt.method, params{}); a.Error != "NO_AUTH_FOUND" {
				t.Errorf("%s %s without authorization: %s", tt.method, tt.name, a.Error)
			}
		}, opts...)
	}
}

func TestMethods_Events(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		type step struct {
			user   int // 0: the webhook
			method string
			sent   params
			want   string
		}
		const handler = "https://app.example/event"
		for _, s := range []step{
			{1, "event.get", nil, `[]`},
			{1, "event.bind", params{"event": "onCrmDealAdd", "handler": handler}, "true"},
			{1, "event.bind", params{"event": "ONCRMDEALADD", "handler": handler}, "ERROR_CORE"},
			{2, "event.bind", params{"event": "ONCRMDEALADD", "handler": handler, "auth_type": 2}, "true"},
			{2, "event.bind", params{"event": "ONCRMDEALADD", "handler": handler, "auth_type": 1}, "ACCESS_DENIED"},
			{1, "event.bind", params{"event": "ONAPPUPDATE", "event_type": "offline"}, "true"},
			{1, "event.get", nil, `[{"event":"ONCRMDEALADD","handler":"` + handler + `","auth_type":"0","offline":0},{"event":"ONCRMDEALADD","handler":"` + handler + `","auth_type":"2","offline":0},{"event":"ONAPPUPDATE","handler":"","auth_type":"0","offline":1}]`},
			{1, "event.unbind", params{"event": "OnCrmDealAdd", "handler": handler, "auth_type": 2}, `{"count":1}`},
			{1, "event.unbind", params{"event": "OnCrmDealAdd", "handler": handler + "/other"}, `{"count":0}`},
			{1, "event.unbind", params{"event": "OnCrmDealAdd", "handler": handler}, `{"count":1}`},
			{1, "event.bind", params{"handler": handler}, "ERROR_ARGUMENT"},
			{1, "event.bind", params{"event": "ONX"}, "ERROR_ARGUMENT"},
			{1, "event.bind", params{"event": "crm", "handler": handler}, "ERROR_EVENT_NOT_FOUND"},
			{1, "event.bind", params{"event": "ONX", "handler": "app.example"}, "ERROR_WRONG_HANDLER_URL"},
			{1, "event.bind", params{"event": "ONX", "handler": "ftp://app.example/x"}, "ERROR_UNSUPPORTED_PROTOCOL"},
			{0, "event.bind", params{"event": "ONX", "handler": handler}, "WRONG_AUTH_TYPE"},
			{0, "event.unbind", params{"event": "ONX", "handler": handler}, "WRONG_AUTH_TYPE"},
			{0, "event.get", nil, "WRONG_AUTH_TYPE"},
		} {
			sent, target := params{}, p.Webhook()+s.method
			if s.user != 0 {
				sent["auth"], target = p.Token(s.user).AccessToken, p.URL()+"/rest/"+s.method
			}
			for name, value := range s.sent {
				sent[name] = value
			}
			if _, a := call(t, p, target, sent); string(a.Result)+a.Error != s.want {
				t.Errorf("user %d, %s %v: %s%s", s.user, s.method, s.sent, a.Result, a.Error)
			}
		}
		if err := p.Uninstall(t.Context(), p.URL()+"/nothing"); err == nil {
			t.Error("the handler answered")
		}
		p.Install(t.Context(), p.URL()+"/nothing")
		if _, a := call(t, p, p.URL()+"/rest/event.get", params{"auth": p.AccessToken()}); string(a.Result) != "[]" {
			t.Errorf("installed anew: %s", a.Result)
		}
	})
}

// TestAnswer: methods that the portal does not have, and others in place of its
// own.
func TestAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		ask := func(method string, sent params) string {
			if sent == nil {
				sent = params{}
			}
			r := post(t, p, p.Webhook()+method, marshal(t, sent), "Content-Type", "application/json")
			var a map[string]json.RawMessage
			if err := json.Unmarshal(r.body, &a); err != nil {
				t.Fatal(err)
			}
			delete(a, "time")
			delete(a, "error_description")
			return string(marshal(t, a))
		}
		const unknown = `{"error":"ERROR_METHOD_NOT_FOUND"}`
		if got := ask("crm.deal.get", nil); got != unknown {
			t.Error(got)
		}
		p.Answer("CRM.deal.get", map[string]any{"ID": 7})
		p.Answer("raw", json.RawMessage(`{"big":12345678901234567890}`))
		for method, want := range map[string]string{"crm.deal.get": `{"result":{"ID":7}}`, "Crm.Deal.Get.json": `{"result":{"ID":7}}`, "raw": `{"result":{"big":12345678901234567890}}`} {
			if got := ask(method, nil); got != want {
				t.Errorf("%s: %s", method, got)
			}
		}
		if got := ask("methods", params{"full": true}); !strings.Contains(got, `"crm.deal.get"`) {
			t.Error("methods does not name it")
		}
		p.Answer("server.time", "never")
		if got := ask("server.time", nil); got != `{"result":"never"}` {
			t.Error(got)
		}
		p.Answer("server.time", nil)
		p.Answer("crm.deal.get", nil)
		if got := ask("crm.deal.get", nil); got != unknown {
			t.Error(got)
		}
		if got := ask("server.time", nil); strings.Contains(got, "never") {
			t.Error(got)
		}
		if _, a := call(t, p, p.URL()+"/rest/raw", params{}); a.Error != "NO_AUTH_FOUND" {
			t.Errorf("without authorization: %q", a.Error)
		}

		items := numbers(101)
		p.Answer("crm.deal.list", pulltest.List{Items: items})
		items[0] = "changed"
		for start, want := range map[any]string{
			nil:   `{"next":50,"result":` + numbersUpTo(0, 50) + `,"total":101}`,
			"50":  `{"next":100,"result":` + numbersUpTo(50, 100) + `,"total":101}`,
			100:   `{"result":[100],"total":101}`,
			1000:  `{"result":[],"total":101}`,
			-1:    `{"result":` + numbersUpTo(0, 50) + `}`,
			"end": `{"next":50,"result":` + numbersUpTo(0, 50) + `,"total":101}`,
		} {
			if got := ask("crm.deal.list", params{"start": start}); got != want {
				t.Errorf("from %v: %s", start, got)
			}
		}
		var deals []any
		for id := range 120 {
			deals = append(deals, map[string]string{"id": strconv.Itoa(id + 1)})
		}
		p.Answer("deals", pulltest.List{Items: deals})
		for after, want := range map[int]int{0: 50, 50: 50, 100: 20, 120: 0} {
			_, a := call(t, p, p.Webhook()+"deals", params{"start": -1, "filter": params{">ID": after, "TITLE": "x", ">=id": 500}})
			var list []struct{ ID string }
			if err := json.Unmarshal(a.Result, &list); err != nil || len(list) != want || want > 0 && list[0].ID != strconv.Itoa(after+1) {
				t.Errorf("after %d: %d items, %v", after, len(list), err)
			}
		}
		p.Answer("empty.list", pulltest.List{Field: "items"})
		if got := ask("empty.list", nil); got != `{"result":{"items":[]},"total":0}` {
			t.Error(got)
		}
		defer func() {
			if said, _ := recover().(string); !strings.Contains(said, "bad") {
				t.Errorf("what is no JSON: %q", said)
			}
		}()
		p.Answer("bad", pulltest.List{Items: []any{math.NaN()}})
	})
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestREST_Forms: PHP's names of nested parameters, to any depth, and its lists.
func TestREST_Forms(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		send := func(form string) {
			t.Helper()
			form += "&COMMAND=x&auth=" + p.AccessToken()
			if status, a := parse(t, post(t, p, p.URL()+eventAdd, []byte(form), "Content-Type", "application/x-www-form-urlencoded")); status != 200 {
				t.Errorf("%d %s", status, a.Error)
			}
		}
		send("PARAMS[a][b][c]=1&PARAMS[a][b][d]=2&PARAMS[list][]=x&PARAMS[list][]=y&PARAMS[rows][0][id]=1&PARAMS[rows][1][id]=2&PARAMS[sparse][3]=x&PARAMS[sparse][]=y")
		send("PARAMS[0]=x&PARAMS[1]=y")
		send("PARAMS%5Ba%5D%5Bb%5D=%5B&PARAMS[a]=over&PARAMS[" + strings.Repeat("][x", 100) + "]=deep&USER_ID[1]=1&USER_ID[2]=2")
		var got []string
		for _, m := range keptInRaw(t, p, toldTo(t, p, 1).Channels["shared"].ID) {
			got = append(got, paramsOf(t, m))
		}
		expect(t, "shared", got, `{"a":{"b":{"c":"1","d":"2"}},"list":["x","y"],"rows":[{"id":"1"},{"id":"2"}],"sparse":{"3":"x","4":"y"}}`, `["x","y"]`)
	})
}

func paramsOf(t *testing.T, body string) string {
	t.Helper()
	var m struct{ Params json.RawMessage }
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	return string(m.Params)
}

// TestRevokeTokens: what was given out is of no more use, and the application is
// still there.
func TestRevokeTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		first, given := p.AccessToken(), p.Token(2)
		code := authorize(t, p).Get("code")
		secret := p.Application().ApplicationToken
		p.RevokeTokens()
		for name, token := range map[string]string{"the first": first, "another": given.AccessToken} {
			if err := works(t, p, token); err != "NO_AUTH_FOUND" {
				t.Errorf("%s token: %q", name, err)
			}
		}
		if a := refresh(t, p, given.RefreshToken); a.Error != "invalid_grant" {
			t.Errorf("a refresh token: %q", a.Error)
		}
		if a := exchange(t, p, code); a.Error != "invalid_grant" {
			t.Errorf("a code: %q", a.Error)
		}
		if p.Application().ApplicationToken != secret {
			t.Error("it is installed anew")
		}
		for name, token := range map[string]string{"AccessToken": p.AccessToken(), "Token": p.Token(1).AccessToken, "a new code": exchange(t, p, authorize(t, p).Get("code")).AccessToken} {
			if err := works(t, p, token); err != "" {
				t.Errorf("%s: %q", name, err)
			}
		}
		if status, _ := call(t, p, p.Webhook()+"profile", params{}); status != 200 {
			t.Errorf("the webhook: %d", status)
		}
		if err := p.Uninstall(t.Context(), p.URL()+"/nothing"); err == nil {
			t.Error("the handler answered")
		}
		p.RevokeTokens()
		if err := works(t, p, p.AccessToken()); err != "NO_AUTH_FOUND" {
			t.Errorf("uninstalled: %q", err)
		}
	})
}
