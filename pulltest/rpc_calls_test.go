package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/pulltest"
)

// configOf is the application's config of a user.
func configOf(t *testing.T, p *pulltest.Portal, user int) versionConfig {
	t.Helper()
	_, a := call(t, p, p.URL()+"/rest/pull.application.config.get", params{"auth": p.Token(user).AccessToken})
	return readResult(t, a.Result)
}

func readResult(t *testing.T, result []byte) versionConfig {
	t.Helper()
	var c versionConfig
	if err := json.Unmarshal(result, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// connectUser opens the websocket of a user's application.
func connectUser(t *testing.T, p *pulltest.Portal, user int, more ...string) *websocket.Conn {
	t.Helper()
	return connectBy(t, p, configOf(t, p, user).query(more...))
}

func connectBy(t *testing.T, p *pulltest.Portal, query string) *websocket.Conn {
	t.Helper()
	ws, _, err := dialURL(p, p.PushURL()+"/sub/"+query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// rpcCall is a call as the official client writes it.
func rpcCall(method string, id int, args any) []byte {
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": method, "params": args, "id": id})
	if err != nil {
		panic(err)
	}
	return data
}

// rpcAsk calls over a websocket and returns the answer, without what is the
// same in all.
func rpcAsk(t *testing.T, ws *websocket.Conn, method string, args any) string {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, rpcCall(method, 7, args)); err != nil {
		t.Fatal(err)
	}
	answer, ok := strings.CutPrefix(readText(t, ws), `{"jsonrpc":"2.0","id":7,`)
	if !ok {
		t.Errorf("%s is answered without the id of the request", method)
	}
	return strings.TrimSuffix(answer, "}")
}

const (
	rpcTrue          = `"result":true`
	rpcInvalidParams = `"error":{"code":-32602,"message":"Invalid params"}`
)

// silent fails if something comes within a second.
func silent(t *testing.T, who string, ws *websocket.Conn) {
	t.Helper()
	ws.SetReadDeadline(time.Now().Add(time.Second))
	if _, data, err := ws.ReadMessage(); err == nil {
		t.Errorf("%s hears %d bytes", who, len(data))
	}
}

// tick is a message of a client that text() reads.
func tick(s string) params {
	return params{"module_id": "application", "command": "tick", "params": params{"text": s}}
}

func TestRPCCalls_PublishToUsers(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		sender, colleague := connectUser(t, p, 1), connectUser(t, p, 2)
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		page := connectBy(t, p, readResult(t, a.Result).query())
		// as the official client sends it
		if got := rpcAsk(t, sender, "publish", params{"userList": []int{2}, "body": tick("to 2"), "expiry": 60}); got != rpcTrue {
			t.Errorf("answer %s", got)
		}
		m := decodeRPC(t, []byte(readText(t, colleague)))[0].Params
		if s := fmt.Sprint(m.Sender); s != "{1 "+publicID(t, p, 1)+"}" || !strings.Contains(string(m.Body), `"text":"to 2"`) {
			t.Errorf("user 2 hears %s", m.Body)
		}
		// in a batch; a string is an id too, those who are not there are left out
		one := rpcCall("publish", 8, params{"userList": []any{"2", 1, 99}, "body": tick("first")})
		two := rpcCall("publish", 9, params{"userList": []int{2}, "body": tick("second"), "expiry": nil})
		sender.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "[%s,%s]", one, two))
		expect(t, "the sender hears", frameTexts(t, []byte(readText(t, sender))), "first")
		if got := readText(t, sender); got != `[{"jsonrpc":"2.0","id":8,"result":true},{"jsonrpc":"2.0","id":9,"result":true}]` {
			t.Errorf("the batch is answered with %s", got)
		}
		expect(t, "user 2 hears", texts(t, hear(t, colleague, 2)), "first", "second")
		silent(t, "the portal's page of user 1", page)
		r := get(t, p, p.PushURL()+"/sub/"+configOf(t, p, 2).query("mid", zeros))
		expect(t, "kept is", frameTexts(t, r.body), "to 2")
		if s := p.Stats(); s.ClientMessages != 3 || s.RefusedRequests != 0 || s.Stored != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Those of the portal's pages reach the portal's pages.
func TestRPCCalls_PublishOnPortal(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		page, application := connectBy(t, p, readResult(t, a.Result).query()), connectUser(t, p, 1)
		page.WriteMessage(websocket.TextMessage, rpcCall("publish", 7, params{"userList": []int{1}, "body": tick("x"), "expiry": 60}))
		expect(t, "the page hears", nextTexts(t, page), "x")
		r := get(t, p, p.PushURL()+"/sub/"+readResult(t, a.Result).query("mid", zeros))
		expect(t, "the page keeps", frameTexts(t, r.body), "x")
		silent(t, "the application", application)
	}, pulltest.WithGather(0))
}

func TestRPCCalls_PublishToChannels(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		sender, colleague := connectUser(t, p, 1), connectUser(t, p, 2)
		id, signature, _ := strings.Cut(configOf(t, p, 2).Channels["private"].PublicID, ".")
		for i, channel := range []any{id + "." + signature, params{"publicId": id, "signature": signature}} {
			if got := rpcAsk(t, sender, "publish", params{"channelList": []any{channel}, "body": tick(fmt.Sprint(i))}); got != rpcTrue {
				t.Errorf("channel %d: %s", i, got)
			}
			expect(t, "user 2 hears", texts(t, hear(t, colleague, 1)), fmt.Sprint(i))
		}
		got := rpcAsk(t, sender, "publish", params{
			"userList": []int{2}, "channelList": []string{id + "." + signature}, "body": tick("both"),
		})
		expect(t, "for a user and his channel at once: "+got, texts(t, hear(t, colleague, 1)), "both")
		silent(t, "user 2", colleague)
	})
}

// user_params are of one receiver each, a dictionary is of all.
func TestRPCCalls_PublishExtras(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		sender := connectUser(t, p, 1)
		sender.WriteMessage(websocket.TextMessage, rpcCall("publish", 7, params{
			"userList": []int{1, 2}, "body": tick("x"), "expiry": 60, "dictionary": params{"d": 1}, "user_params": params{"2": params{"n": 2}, "5": params{}},
		}))
		nextFrame(t, sender)
		for user, want := range map[int]string{1: "", 2: `{"n":2}`} {
			r := get(t, p, p.PushURL()+"/sub/"+configOf(t, p, user).query("mid", zeros))
			if m := decodeRPC(t, r.body)[0].Params; string(m.UserParams) != want || string(m.Dictionary) != `{"d":1}` {
				t.Errorf("user %d: %s %s", user, m.UserParams, m.Dictionary)
			}
		}
	})
	// an empty object comes as PHP's empty array
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		args := json.RawMessage(`{"userList":[2],"channelList":null,"body":{"expiry":60},"user_params":[],"dictionary":null}`)
		if got := rpcAsk(t, connectUser(t, p, 1), "publish", args); got != rpcTrue || p.Stats().Stored != 1 {
			t.Errorf("%s, %+v", got, p.Stats())
		}
	})
}

func TestRPCCalls_PublishRefusals(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectUser(t, p, 1)
		public := configOf(t, p, 2).Channels["private"].PublicID
		id, signature, _ := strings.Cut(public, ".")
		many := make([]int, 101)
		for i := range many {
			many[i] = 2
		}
		for name, args := range map[string]any{
			"nothing":                  nil,
			"a list":                   []int{2},
			"nobody":                   params{"body": tick("x")},
			"empty lists":              params{"userList": []int{}, "channelList": []int{}, "body": tick("x")},
			"other spelling":           params{"userlist": []int{2}, "body": tick("x")},
			"no list":                  params{"userList": 2, "body": tick("x")},
			"no ids":                   params{"userList": []string{"two"}, "body": tick("x")},
			"half an id":               params{"userList": []float64{2.5}, "body": tick("x")},
			"101 users":                params{"userList": many, "body": tick("x")},
			"100 users and a channel":  params{"userList": many[:100], "channelList": []string{public}, "body": tick("x")},
			"no body":                  params{"userList": []int{2}},
			"a body that is a string":  params{"userList": []int{2}, "body": "x"},
			"a body that is a list":    params{"userList": []int{2}, "body": []int{}},
			"a body of null":           params{"userList": []int{2}, "body": nil},
			"expiry below 0":           params{"userList": []int{2}, "body": tick("x"), "expiry": -1},
			"expiry of half a second":  params{"userList": []int{2}, "body": tick("x"), "expiry": 0.5},
			"expiry in words":          params{"userList": []int{2}, "body": tick("x"), "expiry": "60"},
			"user_params of a string":  params{"userList": []int{2}, "body": tick("x"), "user_params": "x"},
			"a channel unsigned":       params{"channelList": []string{id}, "body": tick("x")},
			"a channel badly signed":   params{"channelList": []string{id + "." + signature[1:] + "0"}, "body": tick("x")},
			"a private channel":        params{"channelList": []string{configOf(t, p, 2).Channels["private"].ID}, "body": tick("x")},
			"a channel as a number":    params{"channelList": []int{5}, "body": tick("x")},
			"a good one and a bad one": params{"userList": []int{2}, "channelList": []string{public, "x"}, "body": tick("x")},
		} {
			if got := rpcAsk(t, ws, "publish", args); got != rpcInvalidParams {
				t.Errorf("%s: %s", name, got)
			}
		}
		if s := p.Stats(); s.Published != 0 || s.RefusedRequests != 23 {
			t.Errorf("published %d, refused %d", s.Published, s.RefusedRequests)
		}
		for expiry, want := range map[any]string{100000: "86400", 1e300: "86400", 1.0: "1"} {
			if got := rpcAsk(t, ws, "publish", params{"userList": []int{2}, "body": tick("x"), "expiry": expiry}); got != rpcTrue {
				t.Errorf("expiry %v: %s, kept for %s is expected", expiry, got, want)
			}
		}
		binary := get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&token="+configOf(t, p, 2).JWT)
		for _, m := range decode(t, binary.body) {
			if m.Expiry != 86400 && m.Expiry != 1 {
				t.Errorf("kept for %d s", m.Expiry)
			}
		}
	})
}

// Who has no public channel cannot publish; who only listens to it need not be
// known.
func TestRPCCalls_PublisherNeedsChannel(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		p.Deactivate(1)
		ws := connectUser(t, p, 1)
		if got := rpcAsk(t, ws, "publish", params{"userList": []int{2}, "body": tick("x")}); got != `"error":{"code":-32600,"message":"Invalid Request"}` {
			t.Errorf("answer %s", got)
		}
		if got := rpcAsk(t, connectUser(t, p, 2), "publish", params{"userList": []int{1}, "body": tick("x")}); got != rpcTrue {
			t.Errorf("to a user who has none: %s", got)
		}
	})
}

// By POST: calls, batches, RequestBatches still, and what acknowledges.
func TestRPCCalls_ByPOST(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		colleague := connectUser(t, p, 2)
		c := configOf(t, p, 1)
		publish := rpcCall("publish", 1, params{"userList": []int{2}, "body": tick("posted")})
		for name, query := range map[string]string{
			"by token":    "?token=" + c.JWT,
			"by channels": "?CHANNEL_ID=" + url.QueryEscape(c.Channels["private"].ID+"/"+c.Channels["shared"].ID),
		} {
			r := post(t, p, p.PushURL()+"/rest/"+query, publish)
			if r.status != 200 || r.header.Get("Content-Type") != "application/json" || string(r.body) != `{"jsonrpc":"2.0","id":1,"result":true}` {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
			m := decodeRPC(t, nextFrame(t, colleague))[0].Params
			if fmt.Sprint(m.Sender) != "{1 "+publicID(t, p, 1)+"}" {
				t.Errorf("%s: another sender", name)
			}
			mid := m.Mid
			if r = post(t, p, p.PushURL()+"/rest/"+query, []byte("mack:"+mid)); r.status != 200 || len(r.body) > 0 {
				t.Errorf("%s: an acknowledgement: %d %s", name, r.status, r.body)
			}
			post(t, p, p.PushURL()+"/rest/"+query, []byte("mack:"+mid+"\nmack:"+mid+"\nmack:1\n"))
			r = post(t, p, p.PushURL()+"/rest/"+query, rpcCall("subscribeStatusChange", 2, params{"userId": 2}))
			if !strings.Contains(string(r.body), "-32601") {
				t.Errorf("%s: a subscription without a connection: %s", name, r.body)
			}
			if r = post(t, p, p.PushURL()+"/rest/"+query, []byte(`{"jsonrpc":`)); !strings.Contains(string(r.body), "-32700") {
				t.Errorf("%s: no JSON: %s", name, r.body)
			}
			checkPOST(t, p, "/rest/"+query, []byte("garbage"), wrongData)
		}
		for _, query := range []string{"", "?token=x", "?CHANNEL_ID=" + url.QueryEscape(c.Channels["shared"].ID)} {
			for _, body := range []string{string(publish), "mack:" + zeros} {
				checkPOST(t, p, "/rest/"+query, []byte(body), publicRequired)
			}
		}
		if s := p.Stats(); s.Acknowledged != 6 || s.ClientMessages != 2 {
			t.Errorf("stats %+v", s)
		}
	}, pulltest.WithVersion(5), pulltest.WithGather(0))
}

// Below version 5 JSON is no request.
func TestRPCCalls_NotOnVersion4(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		query := "?CHANNEL_ID=" + url.QueryEscape(channelParam(t, p))
		checkPOST(t, p, "/rest/"+query, rpcCall("ping", 1, nil), wrongData)
		checkPOST(t, p, "/rest/"+query, []byte("mack:"+zeros), wrongData)
	})
}

func TestRPCCalls_ListChannels(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		c := configOf(t, p, 2)
		want := fmt.Sprintf(`"result":["%s","%s"]`, c.Channels["private"].ID[:32], c.Channels["shared"].ID[:32])
		if got := rpcAsk(t, connectUser(t, p, 2), "listChannels", params{}); got != want {
			t.Error("other channels than the config has")
		}
		if got := rpcAsk(t, connectUser(t, p, 2), "ping", params{}); got != `"result":"pong"` {
			t.Errorf("ping: %s", got)
		}
	})
}

// A notification is executed and not answered.
func TestRPCCalls_Notification(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		ws := connectUser(t, p, 1)
		colleague := connectUser(t, p, 2)
		body := strings.Replace(string(rpcCall("publish", 7, params{"userList": []int{2}, "body": tick("x")})), `"id":7,`, "", 1)
		ws.WriteMessage(websocket.TextMessage, []byte(body))
		ws.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","method":"publish"}`))
		expect(t, "user 2 hears", texts(t, hear(t, colleague, 1)), "x")
		silent(t, "who has sent it", ws)
		if n := p.Stats().RefusedRequests; n != 1 {
			t.Errorf("%d refused", n)
		}
	})
}

func TestRPCCalls_Claims(t *testing.T) {
	version5(t, func(t *testing.T, p *pulltest.Portal) {
		_, a := call(t, p, p.Webhook()+"pull.config.get", params{})
		now := time.Now().Unix()
		application, page := configOf(t, p, 2), readResult(t, a.Result)
		for name, tt := range map[string]struct {
			config        versionConfig
			sub, channels string
		}{
			"application": {application, "2", application.Channels["shared"].ID[:32]},
			"portal":      {page, "1", page.Channels["private"].ID[:32] + "," + page.Channels["shared"].ID[:32]},
		} {
			want := map[string]any{"iss": p.MemberID(), "iat": float64(now), "exp": float64(now + 60), "sub": tt.sub, "chan": tt.channels}
			if diff := cmp.Diff(want, claimsOf(t, tt.config.JWT)); diff != "" {
				t.Errorf("%s: other claims", name)
			}
		}
	}, pulltest.WithTokenLife(time.Minute))
}
