package pulltest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

func claimsOf(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || json.Unmarshal(data, &claims) != nil {
		t.Fatal("no jwt")
	}
	return claims
}

// TestPresence_TokenBringsUser: by sub, whatever the config names, and the
// channel of its time.
func TestPresence_TokenBringsUser(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		emit := func(s string, to pulltest.Target) {
			m := text(s)
			m.To = to
			p.Emit(m)
		}
		p.OmitChannel(pulltest.Colleague, -1)
		omitted := configOf(t, p, 2)
		if _, named := omitted.Channels["private"]; named {
			t.Fatal("the channel is not omitted")
		}
		emit("omitted", pulltest.Colleague)
		emit("another's", pulltest.Private)
		emit("the portal's", pulltest.UserPrivate)
		r := get(t, p, p.PushURL()+"/sub/"+omitted.query("mid", zeros))
		expect(t, "the token of user 2 brings", frameTexts(t, r.body), "omitted")
		p.ReplaceChannel(pulltest.Colleague)
		emit("replaced", pulltest.Colleague)
		r = get(t, p, p.PushURL()+"/sub/"+configOf(t, p, 2).query("mid", zeros))
		expect(t, "its successor brings", frameTexts(t, r.body), "replaced")
		r = get(t, p, p.PushURL()+"/sub/"+omitted.query("mid", zeros))
		expect(t, "and the first still", frameTexts(t, r.body), "omitted")
		p.Deactivate(2)
		emit("shared", pulltest.Shared)
		r = get(t, p, p.PushURL()+"/sub/"+omitted.query("mid", zeros))
		expect(t, "of one who is not active", frameTexts(t, r.body), "shared")
	})
}

// status reads changes of status until n have come, as "user online".
func status(t *testing.T, ws *websocket.Conn, n int) (changes []string) {
	t.Helper()
	for len(changes) < n {
		for _, m := range decodeRPC(t, nextFrame(t, ws)) {
			var body struct {
				Module  string `json:"module_id"`
				Command string
				Params  struct {
					UserID int `json:"user_id"`
					Online bool
				}
			}
			if err := json.Unmarshal(m.Params.Body, &body); err != nil || body.Module != "online" || body.Command != "userStatusChange" ||
				len(m.Params.Mid) != 26 || m.Params.Sender.Type != 2.0 {
				t.Errorf("message %s", m.Params.Body)
			}
			changes = append(changes, fmt.Sprint(body.Params.UserID, " ", body.Params.Online))
		}
	}
	return changes
}

func TestPresence_StatusChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		watching, other := connectUser(t, p, 1), connectUser(t, p, 1)
		for _, ws := range []*websocket.Conn{watching, other} {
			if got := rpcAsk(t, ws, "subscribeStatusChange", params{"userId": 2}); got != rpcTrue {
				t.Errorf("answer %s", got)
			}
		}
		first := connectUser(t, p, 2)
		expect(t, "it is told", status(t, watching, 1), "2 true")
		second := connectUser(t, p, 2)
		first.Close()
		until(t, func() bool { return p.Stats().Connections == 3 })
		if n := p.Stats().StatusChanges; n != 2 {
			t.Errorf("%d changes told for a second connection", n)
		}
		second.Close()
		expect(t, "it is told", status(t, watching, 1), "2 false")
		if got := status(t, other, 2); len(got) != 2 {
			t.Errorf("the other is told %v", got)
		}
		rpcAsk(t, watching, "unsubscribeStatusChange", params{"userId": "2"})
		connectUser(t, p, 2)
		expect(t, "the other is told", status(t, other, 1), "2 true")
		p.Emit(text("<end>"))
		expect(t, "who has unsubscribed hears", nextTexts(t, watching), "<end>")
		if s := p.Stats(); s.StatusChanges != 5 || s.Stored != 1 {
			t.Errorf("stats %+v", s)
		}
		for _, args := range []any{nil, []int{2}, params{}, params{"userId": "x"}, params{"userId": 0}, params{"user_id": 2}, params{"userId": nil}} {
			if got := rpcAsk(t, watching, "subscribeStatusChange", args); got != rpcInvalidParams {
				t.Errorf("%v: %s", args, got)
			}
		}
	}, pulltest.WithVersion(5), pulltest.WithGather(0))
}

// A subscription is its connection's: who connects anew is told nothing.
func TestPresence_SubscriptionEndsWithConnection(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		rpcAsk(t, connectUser(t, p, 1), "subscribeStatusChange", params{"userId": 2})
		p.Cut()
		again := connectUser(t, p, 1)
		connectUser(t, p, 2)
		silent(t, "the new connection", again)
		if n := p.Stats().StatusChanges; n != 0 {
			t.Errorf("%d changes told", n)
		}
	})
}

func TestPresence_LastSeen(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectUser(t, p, 1)
		seen := func() string {
			t.Helper()
			return rpcAsk(t, ws, "getUsersLastSeen", params{"userList": []any{1, "2", 99}})
		}
		if got := seen(); got != `"result":{"1":0}` {
			t.Errorf("before user 2 was there: %s", got)
		}
		colleague := connectUser(t, p, 2)
		if got := seen(); got != `"result":{"1":0,"2":0}` {
			t.Errorf("with user 2: %s", got)
		}
		colleague.Close()
		synctest.Wait()
		if got := seen(); got != `"result":{"1":0,"2":1}` {
			t.Errorf("just gone: %s", got)
		}
		time.Sleep(90 * time.Second)
		if got := seen(); got != `"result":{"1":0,"2":90}` {
			t.Errorf("gone for 90 s: %s", got)
		}
		for _, args := range []any{nil, params{}, params{"userList": 2}, params{"userList": []string{"x"}}, params{"userlist": []int{2}}} {
			if got := rpcAsk(t, ws, "getUsersLastSeen", args); got != rpcInvalidParams {
				t.Errorf("%v: %s", args, got)
			}
		}
		if got := rpcAsk(t, ws, "getUsersLastSeen", params{"userList": []int{}}); got != `"result":{}` {
			t.Errorf("of nobody: %s", got)
		}
	}, pulltest.WithPingInterval(0))
}

// Between polls a user is online, and some seconds after the last one.
func TestPresence_Polls(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectUser(t, p, 1)
		rpcAsk(t, ws, "subscribeStatusChange", params{"userId": 2})
		target := p.PushURL() + "/sub/" + configOf(t, p, 2).query()
		for range 3 {
			get(t, p, target)
			time.Sleep(5 * time.Second)
		}
		expect(t, "user 1 is told", status(t, ws, 1), "2 true")
		if got := rpcAsk(t, ws, "getUsersLastSeen", params{"userList": []int{2}}); got != `"result":{"2":0}` {
			t.Errorf("between polls: %s", got)
		}
		expect(t, "user 1 is told", status(t, ws, 1), "2 false")
		if got := rpcAsk(t, ws, "getUsersLastSeen", params{"userList": []int{2}}); got != `"result":{"2":10}` {
			t.Errorf("after the last: %s", got)
		}
	}, pulltest.WithPingInterval(0), pulltest.WithLongPollHold(3*time.Second))
}

// TestPresence_REST: pull.api.user.getLastSeen knows users by their calls, and
// tells the push server if it is to.
func TestPresence_REST(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ask := func(sent params) string {
			t.Helper()
			status, a := call(t, p, p.Webhook()+"pull.api.user.getLastSeen", sent)
			if status != 200 {
				return a.Error
			}
			return string(a.Result)
		}
		users := []int{2, 99}
		if got := ask(params{"userIds": users}); got != `[]` {
			t.Errorf("before user 2 was there: %s", got)
		}
		call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.Token(2).AccessToken})
		time.Sleep(time.Minute)
		if got := ask(params{"userIds": users}); got != `{"2":60}` {
			t.Errorf("a minute after a call: %s", got)
		}
		ws := connectUser(t, p, 1)
		if got := rpcAsk(t, ws, "getUsersLastSeen", params{"userList": users}); got != `"result":{}` {
			t.Errorf("the push server knows it, untold: %s", got)
		}
		// spelled as the official client does
		ask(params{"userIds": users, "sendToQueueSever": true})
		if got := rpcAsk(t, ws, "getUsersLastSeen", params{"userList": users}); got != `"result":{"2":60}` {
			t.Errorf("the push server, told: %s", got)
		}
		connectUser(t, p, 2)
		if got := ask(params{"userIds": []string{"2"}}); got != `{"2":0}` {
			t.Errorf("online: %s", got)
		}
		for _, sent := range []params{{}, {"userIds": 2}, {"userIds": []string{"x"}}, {"USERS": users}} {
			if got := ask(sent); got != "INVALID_FORMAT" {
				t.Errorf("%v: %s", sent, got)
			}
		}
	}, pulltest.WithPingInterval(0))
}
