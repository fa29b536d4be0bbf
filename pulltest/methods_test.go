package pulltest_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

func TestMethods_MethodAnswers(t *testing.T) {
	const push, watch = "pull.application.push.add", "pull.watch.extend"
	const channel, channels = "pull.channel.public.get", "pull.channel.public.list"
	tests := []struct {
		name, method string
		webhook      bool
		params       params
		status       int
		err, result  string // a result of nothing is not looked at
	}{
		{"push", push, false, params{"USER_ID": 1, "TEXT": "hi"}, 200, "", "true"},
		{"push to users", push, false, params{"USER_ID": []string{"1", "2"}, "TEXT": "hi", "AVATAR": "https://app.example/a.png"}, 200, "", "true"},
		{"push of a webhook", push, true, params{"USER_ID": 1, "TEXT": "hi"}, 403, "WRONG_AUTH_TYPE", ""},
		{"push without users", push, false, params{"TEXT": "hi"}, 400, "USER_ID_ACCESS_ERROR", ""},
		{"push to no users", push, false, params{"USER_ID": []int{}, "TEXT": "hi"}, 400, "USER_ID_ACCESS_ERROR", ""},
		{"push to a name", push, false, params{"USER_ID": "alice", "TEXT": "hi"}, 400, "USER_ID_ACCESS_ERROR", ""},
		{"push to an unknown user", push, false, params{"USER_ID": []int{1, 99}, "TEXT": "hi"}, 400, "USER_ID_ACCESS_ERROR", ""},
		{"push without text", push, false, params{"USER_ID": 1}, 400, "TEXT_ERROR", ""},
		{"push of an empty text", push, false, params{"USER_ID": 1, "TEXT": ""}, 400, "TEXT_ERROR", ""},
		{"extend", watch, false, params{"TAGS": []string{"A", "B"}}, 200, "", `{"A":true,"B":false}`},
		{"extend by a webhook", watch, true, params{"TAGS": []string{"A"}}, 200, "", `{"A":true}`},
		{"extend nothing", watch, false, params{"TAGS": []string{}}, 200, "", `[]`},
		{"extend without tags", watch, false, nil, 400, "INVALID_FORMAT", ""},
		{"extend a number", watch, false, params{"TAGS": []int{1}}, 400, "INVALID_FORMAT", ""},
		{"channel", channel, false, params{"USER_ID": "2"}, 200, "", ""},
		{"channel of a webhook", channel, true, params{"USER_ID": 2, "APPLICATION": "N"}, 200, "", ""},
		{"application's channel", channel, false, params{"USER_ID": 2, "APPLICATION": "Y"}, 200, "", ""},
		{"application's channel of a webhook", channel, true, params{"USER_ID": 2, "APPLICATION": "Y"}, 403, "WRONG_AUTH_TYPE", ""},
		{"channel of nobody", channel, false, nil, 400, "USER_ID_ACCESS_ERROR", ""},
		{"channel of an unknown user", channel, false, params{"USER_ID": 99}, 400, "USER_ID_ACCESS_ERROR", ""},
		{"channels", channels, false, params{"USERS": []any{1, "2"}}, 200, "", ""},
		{"channels of nobody", channels, true, params{"USERS": []int{}}, 200, "", "[]"},
		{"channels of unknown users", channels, false, params{"USERS": []int{99}, "APPLICATION": "Y"}, 200, "", "[]"},
		{"application's channels of a webhook", channels, true, params{"USERS": []int{1}, "APPLICATION": "Y"}, 403, "WRONG_AUTH_TYPE", ""},
		{"channels of one user", channels, false, params{"USERS": 1}, 400, "INVALID_FORMAT", ""},
		{"channels of a name", channels, false, params{"USERS": []string{"alice"}}, 400, "INVALID_FORMAT", ""},
		{"channels without users", channels, false, nil, 400, "INVALID_FORMAT", ""},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Watch(1, "A")
		for _, tt := range tests {
			sent := maps.Clone(tt.params)
			if sent == nil {
				sent = params{}
			}
			target := p.Webhook()
			if !tt.webhook {
				target, sent["auth"] = p.URL()+"/rest/", p.AccessToken()
			}
			status, a := call(t, p, target+tt.method, sent)
			if status != tt.status || a.Error != tt.err || (a.Description == "") != (tt.err == "") {
				t.Errorf("%s: %d %s %q", tt.name, status, a.Error, a.Description)
			}
			if tt.result != "" && string(a.Result) != tt.result {
				t.Errorf("%s: result %s", tt.name, a.Result)
			}
		}
		want := []pulltest.PushNotification{{Users: []int{1}, Text: "hi"}, {Users: []int{1, 2}, Text: "hi", Avatar: "https://app.example/a.png"}}
		if diff := cmp.Diff(want, p.PushNotifications()); diff != "" {
			t.Errorf("push notifications:\n%s", diff)
		}
	})
}

func TestMethods_EmptyApplicationName(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		status, a := call(t, p, p.URL()+"/rest/pull.application.push.add", params{"auth": p.AccessToken(), "USER_ID": 1, "TEXT": "hi"})
		if status != 400 || a.Error != "EMPTY_APP_NAME" || len(p.PushNotifications()) > 0 {
			t.Errorf("%d %s %v", status, a.Error, p.PushNotifications())
		}
	}, pulltest.WithApplication(pulltest.Application{}))
}

func TestMethods_Scope(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, tt := range []struct {
			target string
			status int
			err    string
		}{
			{p.URL() + "/rest/pull.application.config.get", 200, ""},
			{p.URL() + "/rest/pull.channel.public.list", 403, "insufficient_scope"},
			{p.Webhook() + "pull.config.get", 403, "insufficient_scope"},
			{p.Webhook() + "no.such", 404, "ERROR_METHOD_NOT_FOUND"},
		} {
			status, a := call(t, p, tt.target, params{"auth": p.AccessToken(), "USERS": []int{1}})
			if status != tt.status || a.Error != tt.err {
				t.Errorf("%s: %d %s", tt.target, status, a.Error)
			}
		}
		if got := refresh(t, p, p.Token(1).RefreshToken).raw["scope"]; got != "pull" {
			t.Errorf("scope %v", got)
		}
	}, pulltest.WithScope("pull"))
}

// A watch lives 31 min from its beginning, or from the last time it was
// extended.
func TestMethods_Watches(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		extend := func(user int) string {
			_, a := call(t, p, p.URL()+"/rest/pull.watch.extend", params{"auth": p.Token(user).AccessToken, "TAGS": []string{"A"}})
			return string(a.Result)
		}
		p.Watch(1, "A", "B", "C")
		p.Watch(2, "D")
		p.Unwatch(1, "C")
		time.Sleep(30 * time.Minute)
		if got := extend(2); got != `{"A":false}` {
			t.Errorf("user 2 extends what user 1 watches: %s", got)
		}
		if got := extend(1); got != `{"A":true}` {
			t.Errorf("extended: %s", got)
		}
		expect(t, "user 1 watches", p.Watched(1), "A", "B")
		expect(t, "user 2 watches", p.Watched(2), "D")
		time.Sleep(time.Minute)
		expect(t, "after 31 min user 1 watches", p.Watched(1), "A")
		expect(t, "after 31 min user 2 watches", p.Watched(2))
		time.Sleep(30 * time.Minute)
		if got := extend(1); got != `{"A":false}` {
			t.Errorf("31 min after it was extended: %s", got)
		}
		expect(t, "at last user 1 watches", p.Watched(1))
		if strings.Contains(extend(1), "true") {
			t.Error("extending begins a watch")
		}
	}, pulltest.WithPingInterval(0))
}
