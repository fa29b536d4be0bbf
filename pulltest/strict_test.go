package pulltest_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

const (
	eventAdd = "/rest/pull.application.event.add"
	pushAdd  = "/rest/pull.application.push.add"
)

// TestStrict_WhoMaySend: a user who is no administrator may name himself alone, as a
// string; an administrator anybody, as PHP takes it.
func TestStrict_WhoMaySend(t *testing.T) {
	tests := []struct {
		user   int
		to     any // USER_ID; nil: left out
		err    string
		onward int // messages published
	}{
		{1, nil, "", 1}, {1, 2, "", 1}, {1, "2", "", 1}, {1, []int{1, 2}, "", 1}, {1, []string{"2"}, "", 1}, {1, []int{2, 2}, "", 1},
		{1, "x", "USER_ID_ACCESS_ERROR", 0},
		{2, nil, "", 1}, {2, "2", "", 1},
		{2, 2, "USER_ID_ACCESS_ERROR", 0}, {2, []int{2}, "USER_ID_ACCESS_ERROR", 0}, {2, []string{"2"}, "USER_ID_ACCESS_ERROR", 0},
		{2, "1", "USER_ID_ACCESS_ERROR", 0}, {2, 1, "USER_ID_ACCESS_ERROR", 0}, {2, " 2", "USER_ID_ACCESS_ERROR", 0}, {2, "02", "USER_ID_ACCESS_ERROR", 0},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		for _, tt := range tests {
			sent := params{"auth": p.Token(tt.user).AccessToken, "COMMAND": "x"}
			if tt.to != nil {
				sent["USER_ID"] = tt.to
			}
			before := p.Stats()
			_, a := call(t, p, p.URL()+eventAdd, sent)
			after := p.Stats()
			if a.Error != tt.err || after.Published-before.Published != tt.onward || after.DroppedEvents != before.DroppedEvents {
				t.Errorf("user %d to %#v: %q, %d published", tt.user, tt.to, a.Error, after.Published-before.Published)
			}
		}
		// A form has nothing but strings.
		form := url.Values{"auth": {p.Token(2).AccessToken}, "COMMAND": {"x"}, "USER_ID": {"2"}}
		if status, a := parse(t, post(t, p, p.URL()+eventAdd, []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")); status != 200 {
			t.Errorf("a form of user 2: %d %s", status, a.Error)
		}
		status, a := call(t, p, p.URL()+pushAdd, params{"auth": p.Token(2).AccessToken, "USER_ID": "2", "TEXT": "hi"})
		if status != 400 || a.Error != "ACCESS_ERROR" || a.Description == "" || len(p.PushNotifications()) > 0 {
			t.Errorf("a push of user 2: %d %s %q", status, a.Error, a.Description)
		}
	})
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for user, want := range map[int]string{1: "USER_ID_ACCESS_ERROR", 2: ""} {
			if _, a := call(t, p, p.URL()+eventAdd, params{"auth": p.Token(user).AccessToken, "COMMAND": "x", "USER_ID": []int{1, 2}}); a.Error != want {
				t.Errorf("user %d, where 2 is the administrator: %q", user, a.Error)
			}
		}
	}, pulltest.WithUsers(pulltest.User{ID: 1}, pulltest.User{ID: 2, Admin: true}))
}

// TestStrict_DroppedEvents: what cannot be sent is answered true all the same.
func TestStrict_DroppedEvents(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Deactivate(2)
		form := func(name, value string) url.Values { return url.Values{"COMMAND": {"x"}, name: {value}} }
		tests := []struct {
			name      string
			sent      any // params, or url.Values for a form
			published int
		}{
			{"an inactive user", params{"COMMAND": "x", "USER_ID": 2}, 0},
			{"an unknown user", params{"COMMAND": "x", "USER_ID": 99}, 0},
			{"nobody", params{"COMMAND": "x", "USER_ID": []int{}}, 0},
			{"one of two is active", params{"COMMAND": "x", "USER_ID": []int{1, 2}}, 1},
			{"larger than 1 MiB", params{"COMMAND": "x", "PARAMS": params{"a": large}}, 0},
			{"almost 1 MiB", params{"COMMAND": "x", "PARAMS": params{"a": large[1000:]}}, 1},
			{"invalid UTF-8 in a form", form("PARAMS[a]", "a\xff"), 0},
			{"invalid UTF-8 in a key of a form", form("PARAMS[a\xff]", "a"), 0},
			{"half a surrogate pair in a form", form("PARAMS[a]", "\xed\xa0\x80"), 0},
			{"a form", form("PARAMS[a]", "ä\ufffd"), 1},
		}
		for _, tt := range tests {
			if strings.Contains(tt.name, "1 MiB") && testing.Short() && strings.HasSuffix(t.Name(), "/sockets") {
				continue
			}
			before := p.Stats()
			var status int
			var a answer
			switch sent := tt.sent.(type) {
			case params:
				sent["auth"] = p.AccessToken()
				status, a = call(t, p, p.URL()+eventAdd, sent)
			case url.Values:
				sent.Set("auth", p.AccessToken())
				status, a = parse(t, post(t, p, p.URL()+eventAdd, []byte(sent.Encode()), "Content-Type", "application/x-www-form-urlencoded"))
			}
			after := p.Stats()
			got := [2]int{after.Published - before.Published, after.DroppedEvents - before.DroppedEvents}
			if status != 200 || string(a.Result) != "true" || got != [2]int{tt.published, 1 - tt.published} {
				t.Errorf("%s: %d %s %s; published and dropped %v", tt.name, status, a.Error, a.Result, got)
			}
		}
		channels := func() []string {
			_, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.Token(2).AccessToken})
			var c configChannels
			if err := json.Unmarshal(a.Result, &c); err != nil {
				t.Fatal(err)
			}
			return slices.Sorted(maps.Keys(c.Channels))
		}
		expect(t, "channels of an inactive user", channels(), "shared")
		p.Activate(2)
		expect(t, "channels of an active user", channels(), "private", "shared")
	})
}

// TestStrict_UnreadBody: of a body that json_decode refuses for its text PHP reads
// nothing, the token included.
func TestStrict_UnreadBody(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		send := func(target, body string) (int, answer) {
			return parse(t, post(t, p, target, []byte(body), "Content-Type", "application/json"))
		}
		deep := strings.Repeat("[", 511) + strings.Repeat("]", 511)
		for text, read := range map[string]bool{
			`"\ud83d"`: false, `"\uD83D"`: false, `"\ude00"`: false, `"\ude00\ud83d"`: false, `"\ud83d\ud83d\ude00"`: false, `"\ud83dx"`: false, `"\ud83d\n"`: false,
			`{"\ud83d":1}`: false, `[[{"a":["\ud83d"]}]]`: false, "\"\xff\"": false, "\"\xed\xa0\x80\"": false, "[" + deep + "]": false,
			`"\ud83d\ude00"`: true, `"\\ud83d"`: true, `"\\\"\\ud83d"`: true, `"\ufffd"`: true, `"ä😀"`: true, deep: true,
		} {
			status, a := send(p.URL()+eventAdd, `{"auth":"`+p.AccessToken()+`","COMMAND":"x","other":`+text+`}`)
			if read != (status == 200) || !read && (a.Error != "NO_AUTH_FOUND" || a.Description != "Wrong authorization data") {
				t.Errorf("%.40s: %d %s", text, status, a.Error)
			}
		}
		if status, a := send(p.URL()+eventAdd+"?auth="+p.AccessToken(), `{"COMMAND":"x","other":"\ud83d"}`); status != 400 || a.Error != "COMMAND_ERROR" {
			t.Errorf("with the token in the query: %d %s", status, a.Error)
		}
		if status, a := send(p.Webhook()+"pull.config.get", `{"CACHE":"\ud83d"}`); status != 200 {
			t.Errorf("with a webhook: %d %s", status, a.Error)
		}
	})
}

// TestStrict_WatchesWithoutCase: a tag is found in any letter case, and answered as it
// was asked for and as it is stored.
func TestStrict_WatchesWithoutCase(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		p.Watch(1, "CRM_DEAL_7")
		for asked, want := range map[string]string{
			"crm_deal_7": `{"CRM_DEAL_7":true,"crm_deal_7":false}`,
			"CRM_DEAL_7": `{"CRM_DEAL_7":true}`,
			"crm_deal_8": `{"crm_deal_8":false}`,
		} {
			if _, a := call(t, p, p.Webhook()+"pull.watch.extend", params{"TAGS": []string{asked}}); string(a.Result) != want {
				t.Errorf("%s: %s", asked, a.Result)
			}
		}
	}, pulltest.WithPingInterval(0))
}
