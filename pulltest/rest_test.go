package pulltest_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

type answer struct {
	Result      json.RawMessage `json:"result"`
	Error       string          `json:"error"`
	Description string          `json:"error_description"`
	Time        map[string]any  `json:"time"`
}

func call(t *testing.T, p *pulltest.Portal, target string, params any) (int, answer) {
	t.Helper()
	body, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, post(t, p, target, body, "Content-Type", "application/json"))
}

func parse(t *testing.T, r pollResult) (int, answer) {
	t.Helper()
	var a answer
	if err := json.Unmarshal(r.body, &a); err != nil {
		t.Fatalf("answer %s: %v", r.body, err)
	}
	for _, name := range []string{"start", "finish", "duration", "processing", "date_start", "date_finish", "operating_reset_at", "operating"} {
		if _, ok := a.Time[name]; !ok {
			t.Errorf("time has no %s: %s", name, r.body)
		}
	}
	return r.status, a
}

type params map[string]any

func TestREST_Answers(t *testing.T) {
	const app, user, event = "pull.application.config.get", "pull.config.get", "pull.application.event.add"
	const ok, token = "", "TOKEN"
	tests := []struct {
		name, path string // HOOK is the webhook's path
		params     params // an auth of TOKEN is the present one
		status     int
		err        string
	}{
		{"config", app, params{"auth": token}, 200, ok},
		{"config with .json", app + ".json", params{"auth": token}, 200, ok},
		{"config in capitals", "PULL.Application.Config.GET", params{"AUTH": token}, 200, ok},
		{"config of a webhook", "HOOK" + app, nil, 403, "WRONG_AUTH_TYPE"},
		{"user config of a webhook", "HOOK" + user, nil, 200, ok},
		{"user config of an application", user, params{"auth": token}, 403, "WRONG_AUTH_TYPE"},
		{"no auth", app, nil, 401, "NO_AUTH_FOUND"},
		{"wrong token", app, params{"auth": "guess"}, 401, "NO_AUTH_FOUND"},
		{"wrong webhook", "1/guess/" + user, nil, 403, "INVALID_CREDENTIALS"},
		{"webhook of another user", "2/guess/" + user, nil, 403, "INVALID_CREDENTIALS"},
		{"unknown method", "HOOKno.such", nil, 404, "ERROR_METHOD_NOT_FOUND"},
		{"unknown method of an application", "no.such", params{"auth": token}, 404, "ERROR_METHOD_NOT_FOUND"},
		{"no method", "1/guess", nil, 404, "ERROR_METHOD_NOT_FOUND"},
		{"event", event, params{"auth": token, "COMMAND": "a:b|c.d-e_F"}, 200, ok},
		{"event of a webhook", "HOOK" + event, params{"COMMAND": "x"}, 403, "WRONG_AUTH_TYPE"},
		{"event without command", event, params{"auth": token}, 400, "COMMAND_ERROR"},
		{"event with a bad command", event, params{"auth": token, "COMMAND": "a b"}, 400, "COMMAND_ERROR"},
		{"event with a bad module", event, params{"auth": token, "COMMAND": "x", "MODULE_ID": "App"}, 400, "MODULE_ID_ERROR"},
		{"event with bad params", event, params{"auth": token, "COMMAND": "x", "PARAMS": "text"}, 400, "PARAMS_ERROR"},
		{"event for a name", event, params{"auth": token, "COMMAND": "x", "USER_ID": "alice"}, 400, "USER_ID_ACCESS_ERROR"},
		{"event for an unknown user", event, params{"auth": token, "COMMAND": "x", "USER_ID": 99}, 200, ok},
		{"event for a user", event, params{"auth": token, "COMMAND": "x", "USER_ID": "1"}, 200, ok},
		{"event for users", event, params{"auth": token, "COMMAND": "x", "USER_ID": []int{1, 2}}, 200, ok},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		hook := strings.TrimPrefix(p.Webhook(), p.URL()+"/rest/")
		for _, tt := range tests {
			sent := maps.Clone(tt.params)
			for name, v := range sent {
				if v == token {
					sent[name] = p.AccessToken()
				}
			}
			if sent == nil {
				sent = params{}
			}
			status, a := call(t, p, p.URL()+"/rest/"+strings.Replace(tt.path, "HOOK", hook, 1), sent)
			if status != tt.status || a.Error != tt.err || (a.Description == "") != (tt.err == "") {
				t.Errorf("%s: %d %s %q", tt.name, status, a.Error, a.Description)
			}
		}
	})
}

func TestREST_ExpiredToken(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		target := p.URL() + "/rest/pull.application.config.get"
		old := p.AccessToken()
		fresh := p.ExpireToken()
		if status, a := call(t, p, target, params{"auth": old}); status != 401 || a.Error != "expired_token" ||
			a.Description != "The access token provided has expired." {
			t.Errorf("the old token: %d %+v", status, a)
		}
		if status, a := call(t, p, target, params{"auth": fresh}); status != 200 || fresh != p.AccessToken() {
			t.Errorf("the new token: %d %+v", status, a)
		}
		if n := p.Stats().Configs; n != 1 {
			t.Errorf("%d configs were answered", n)
		}
	})
}

func TestREST_ParameterEncodings(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		event := p.URL() + "/rest/pull.application.event.add"
		form := url.Values{"auth": {p.AccessToken()}, "COMMAND": {"formed"}, "PARAMS[text]": {"formed"}, "USER_ID[]": {"1"}}
		tests := []struct {
			name string
			r    pollResult
		}{
			{"form", post(t, p, event, []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")},
			{"query", get(t, p, event+"?"+form.Encode())},
			{"auth in the query", post(t, p, event+"?auth="+p.AccessToken(), []byte(`{"command":"x","params":{"text":"formed"},"user_id":[1]}`), "Content-Type", "application/json")},
		}
		for _, tt := range tests {
			if status, a := parse(t, tt.r); status != 200 || string(a.Result) != "true" {
				t.Errorf("%s: %d %+v", tt.name, status, a)
			}
		}
		expect(t, "published", kept(t, p, zeros), "formed", "formed", "formed")
		for _, body := range []string{"{", "1", "[1]", "{} {}"} {
			status, a := parse(t, post(t, p, event, []byte(body), "Content-Type", "application/json"))
			if status != 400 || a.Error != "INVALID_FORMAT" {
				t.Errorf("body %s: %d %+v", body, status, a)
			}
		}
		if status, a := parse(t, post(t, p, p.Webhook()+"pull.config.get", []byte("[]"), "Content-Type", "application/json")); status != 200 {
			t.Errorf("an empty PHP array as parameters: %d %+v", status, a)
		}
	})
}

func TestREST_EventIsPublished(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		shared, private := channels(t, p).Channels["shared"].ID, channels(t, p).Channels["private"].ID
		send := func(sent params) {
			sent["auth"] = p.AccessToken()
			if status, a := call(t, p, p.URL()+"/rest/pull.application.event.add", sent); status != 200 || string(a.Result) != "true" {
				t.Fatalf("%d %+v", status, a)
			}
		}
		send(params{"COMMAND": "to.all", "PARAMS": params{"empty": params{}, "big": json.Number("12345678901234567890")}})
		send(params{"COMMAND": "to.one", "MODULE_ID": "my.module", "USER_ID": 1})
		read := func(channel string) received {
			query := url.Values{"CHANNEL_ID": {channel}, "binaryMode": {"true"}, "mid": {zeros}}
			list := decode(t, get(t, p, p.PushURL()+"/sub/?"+query.Encode()).body)
			if len(list) != 1 || list[0].Expiry != 86400 || list[0].Sender != 2 {
				t.Fatalf("published %+v", list)
			}
			return list[0]
		}
		const head = `{"module_id":"application","command":"to.all","params":{"big":12345678901234567890,"empty":[]},"extra":{"server_time":"2000-01-01T02:00:00+02:00","server_time_unix":946684800,"server_name":"portal.example","revision_web":19,"revision_mobile":3}}`
		if got := read(shared).Body; got != head {
			t.Errorf("shared: %s", got)
		}
		if got := read(private).Body; !strings.HasPrefix(got, `{"module_id":"my.module","command":"to.one","params":[],"extra":{`) {
			t.Errorf("private: %s", got)
		}
	})
}

// keys lists the paths of all keys of a JSON value. User ids become one name.
func keys(prefix string, value any) []string {
	object, ok := value.(map[string]any)
	if !ok {
		return []string{prefix}
	}
	var list []string
	for name, v := range object {
		if _, err := strconv.Atoi(name); err == nil {
			name = "USER"
		}
		list = append(list, keys(prefix+"."+name, v)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestREST_ConfigHasDocumentedKeys(t *testing.T) {
	documented, err := os.ReadFile("../testdata/rest/config_v4_documented.json")
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		r := get(t, p, p.URL()+"/rest/pull.application.config.get?auth="+p.AccessToken())
		var want, got any
		if err := json.Unmarshal(documented, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(r.body, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys("", want), keys("", got)); diff != "" {
			t.Errorf("keys (-documented +answered):\n%s", diff)
		}
		_, a := parse(t, r)
		if !bytes.Equal(a.Result, p.ConfigJSON()) {
			t.Errorf("ConfigJSON differs from the answer")
		}
	})
}

func TestREST_ChannelsLiveAndAreMadeAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		target := p.URL() + "/rest/pull.application.config.get?CACHE=N&auth=" + p.AccessToken()
		read := func() configChannels {
			var c struct{ Result configChannels }
			if err := json.Unmarshal(get(t, p, target).body, &c); err != nil {
				t.Fatal(err)
			}
			return c.Result
		}
		first := read()
		private := first.Channels["private"]
		start, err := time.Parse(time.RFC3339, private.Start)
		end, err2 := time.Parse(time.RFC3339, private.End)
		if err != nil || err2 != nil || end.Sub(start) != 43205*time.Second || !start.Equal(time.Now()) {
			t.Errorf("the channel lives from %s to %s", private.Start, private.End)
		}
		time.Sleep(43204 * time.Second)
		if diff := cmp.Diff(first, read()); diff != "" {
			t.Errorf("a living channel was replaced:\n%s", diff)
		}
		time.Sleep(time.Second)
		second := read()
		if second.Channels["private"].ID == private.ID || second.Channels["shared"].ID == first.Channels["shared"].ID {
			t.Error("a channel outlives its end")
		}
		p.Emit(text("to the new channel"))
		expect(t, "the new channel keeps", kept(t, p, zeros), "to the new channel")
	})
}

func TestREST_WebhookConfigAndTargets(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		status, a := call(t, p, p.Webhook()+"pull.application.config.get", params{})
		if status != 200 || !bytes.Equal(a.Result, p.ConfigJSON()) {
			t.Fatalf("%d %+v", status, a)
		}
		_, a = call(t, p, p.Webhook()+"pull.config.get", params{})
		var user configChannels
		if err := json.Unmarshal(a.Result, &user); err != nil {
			t.Fatal(err)
		}
		app := channels(t, p)
		targets := []struct {
			to      pulltest.Target
			channel string
		}{
			{pulltest.Private, app.Channels["private"].ID},
			{pulltest.Shared, app.Channels["shared"].ID},
			{pulltest.UserPrivate, user.Channels["private"].ID},
			{pulltest.UserShared, user.Channels["shared"].ID},
		}
		for i, tt := range targets {
			m := text(strconv.Itoa(i))
			m.To = tt.to
			p.Emit(m)
			query := url.Values{"CHANNEL_ID": {tt.channel}, "binaryMode": {"true"}, "mid": {zeros}}
			r := get(t, p, p.PushURL()+"/sub/?"+query.Encode())
			expect(t, "the channel keeps", texts(t, decode(t, r.body)), strconv.Itoa(i))
		}
	}, pulltest.WithWebhookConfig())
}

func TestREST_EmitBodies(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Emit(pulltest.Message{Body: `{"broken`})
		p.Emit(pulltest.Message{Module: "crm", Command: "raw", Params: json.RawMessage(`{"b":1,"a":"<"}`)})
		p.Emit(pulltest.Message{Command: "none"})
		got := decode(t, pollMid(t, p, zeros).body)
		for i, want := range []string{
			`{"broken`,
			`{"module_id":"crm","command":"raw","params":{"b":1,"a":"<"},"extra":{"server_time":"`,
			`{"module_id":"application","command":"none","params":[],"extra":{"server_time":"`,
		} {
			if !strings.HasPrefix(got[i].Body, want) {
				t.Errorf("body %s", got[i].Body)
			}
		}
		defer func() {
			if recover() == nil {
				t.Error("params that are no JSON are published")
			}
		}()
		p.Emit(pulltest.Message{Params: make(chan int)})
	})
}

func TestREST_SeededChannels(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if got := channels(t, p).Channels["private"]; got.ID != signedChannel("alice") ||
			got.PublicID != md5hex("alicepublic")+"."+sign("public:"+md5hex("alicepublic")) {
			t.Errorf("channel %+v", got)
		}
		if got := readConfig(t, p).ClientID; got != md5hex("alice client") {
			t.Errorf("client id %s", got)
		}
	}, pulltest.WithKey(labKey), pulltest.WithChannels("alice"), pulltest.WithSharedMode())
}
