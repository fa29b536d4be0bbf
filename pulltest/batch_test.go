package pulltest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

// batch makes a batch and returns its result without the times, whose keys are
// those of the results.
func batch(t *testing.T, p *pulltest.Portal, sent params) string {
	t.Helper()
	status, a := call(t, p, p.URL()+"/rest/batch?auth="+p.AccessToken(), sent)
	if status != 200 {
		t.Fatalf("%d %s", status, a.Error)
	}
	return withoutTimes(t, a.Result)
}

func withoutTimes(t *testing.T, result []byte) string {
	t.Helper()
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(result, &parts); err != nil {
		t.Fatal(err)
	}
	shape := func(part string) (keys []string) {
		var list []any
		if json.Unmarshal(parts[part], &list) == nil {
			return []string{fmt.Sprint(len(list))}
		}
		var object map[string]any
		if err := json.Unmarshal(parts[part], &object); err != nil {
			t.Fatalf("%s: %v", part, err)
		}
		for key := range object {
			keys = append(keys, key)
		}
		return keys
	}
	if times, results := shape("result_time"), shape("result"); len(times) != len(results) {
		t.Errorf("times of %q, results of %q", times, results)
	}
	delete(parts, "result_time")
	data, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBatch(t *testing.T) {
	const methods = `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`
	tests := []struct {
		name string
		sent params
		want string
	}{
		{"a list", params{"cmd": []string{"user.admin", "USER.ADMIN?x=1"}},
			`{"result":[true,true],"result_error":[],"result_next":[],"result_total":[]}`},
		{"a map", params{"cmd": map[string]string{"a": "user.admin"}},
			`{"result":{"a":true},"result_error":[],"result_next":[],"result_total":[]}`},
		{"nothing", params{}, `{"result":[],"result_error":[],"result_next":[],"result_total":[]}`},
		{"an empty list", params{"cmd": []string{}}, `{"result":[],"result_error":[],"result_next":[],"result_total":[]}`},
		{"what is no text", params{"cmd": []any{1, "user.admin"}},
			`{"result":{"1":true},"result_error":[],"result_next":[],"result_total":[]}`},
		{"an error between", params{"cmd": []string{"user.admin", "no.such", "user.admin"}},
			`{"result":{"0":true,"2":true},"result_error":{"1":` + methods + `},"result_next":[],"result_total":[]}`},
		{"an error first", params{"cmd": []string{"no.such"}},
			`{"result":[],"result_error":[` + methods + `],"result_next":[],"result_total":[]}`},
		{"halt", params{"halt": 1, "cmd": []string{"user.admin", "no.such", "user.admin"}},
			`{"result":[true],"result_error":{"1":` + methods + `},"result_next":[],"result_total":[]}`},
		{"halt of a form", params{"halt": "0", "cmd": []string{"no.such", "user.admin"}},
			`{"result":{"1":true},"result_error":[` + methods + `],"result_next":[],"result_total":[]}`},
		{"a batch in a batch", params{"cmd": []string{"batch?cmd[]=user.admin"}},
			`{"result":[],"result_error":[{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED","error_description":"Method is not allowed for batch usage"}],"result_next":[],"result_total":[]}`},
		{"a method of another kind of authorization", params{"cmd": []string{"pull.config.get"}},
			`{"result":[],"result_error":[{"error":"WRONG_AUTH_TYPE","error_description":"Get access to user config available only for session or webhook authorization."}],"result_next":[],"result_total":[]}`},
		{"pages", params{"cmd": map[string]string{"first": "crm.item.list?start=0", "last": "crm.item.list?start=50"}},
			`{"result":{"first":{"items":` + numbersUpTo(0, 50) + `},"last":{"items":` + numbersUpTo(50, 60) + `}},"result_error":[],"result_next":{"first":50},"result_total":{"first":60,"last":60}}`},
	}
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Answer("crm.item.list", pulltest.List{Items: numbers(60), Field: "items"})
		for _, tt := range tests {
			if diff := cmp.Diff(tt.want, batch(t, p, tt.sent)); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
			}
		}
		if n := p.Stats().Calls; n != len(tests) {
			t.Errorf("%d calls are counted", n)
		}
	})
}

func numbers(n int) (list []any) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func numbersUpTo(from, to int) string {
	data, _ := json.Marshal(numbers(to)[from:])
	return string(data)
}

// TestBatch_Form: as PHP and others send it, in order, with a webhook.
func TestBatch_Form(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Answer("one", map[string]any{"ID": 7, "LIST": []any{map[string]string{"NAME": "seven"}}})
		for _, form := range []string{
			"halt=1&cmd[z]=one&cmd[y]=no.such%3Fid%3D1&cmd[a]=one",
			"halt=1&cmd%5Bz%5D=one&cmd%5By%5D=no.such&cmd%5Ba%5D=one",
		} {
			status, a := parse(t, post(t, p, p.Webhook()+"batch.json", []byte(form), "Content-Type", "application/x-www-form-urlencoded"))
			want := `{"result":{"z":{"ID":7,"LIST":[{"NAME":"seven"}]}},"result_error":{"y":{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}},"result_next":[],"result_total":[]}`
			if got := withoutTimes(t, a.Result); status != 200 || got != want {
				t.Errorf("%d %s", status, got)
			}
		}
		_, a := parse(t, get(t, p, p.Webhook()+"batch?cmd[]=user.admin&cmd[]=user.admin"))
		if got := withoutTimes(t, a.Result); got != `{"result":[true,true],"result_error":[],"result_next":[],"result_total":[]}` {
			t.Errorf("a query: %s", got)
		}
		for range 20 { // whatever the order of a map
			_, a := parse(t, post(t, p, p.Webhook()+"batch", []byte(`{"halt":true,"CMD":{"q":"one","b":"no.such","x":"one","c":"one"}}`), "Content-Type", "application/json"))
			if got := withoutTimes(t, a.Result); !strings.HasPrefix(got, `{"result":{"q":`) || strings.Contains(got, `"x"`) {
				t.Fatalf("JSON: %s", got)
			}
		}
	})
}

// TestBatch_References: a command's parameters come from what those before it
// came to.
func TestBatch_References(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		p.Answer("users", []any{map[string]any{"ID": "2", "DEEP": map[string]any{"TAGS": []string{"a", "b"}}}})
		p.Watch(1, "a")
		ask := func(command string) string {
			query := map[string]string{"u": "users", "x": command}
			_, a := call(t, p, p.Webhook()+"batch", params{"cmd": json.RawMessage(fmt.Sprintf(`{"u":%q,"x":%q}`, query["u"], query["x"]))})
			var r struct {
				Result map[string]json.RawMessage
				Error  json.RawMessage `json:"result_error"`
			}
			if err := json.Unmarshal(a.Result, &r); err != nil {
				t.Fatal(err)
			}
			if r.Result["x"] == nil {
				return string(r.Error)
			}
			return string(r.Result["x"])
		}
		public := func(user string) string {
			_, a := call(t, p, p.Webhook()+"pull.channel.public.get", params{"USER_ID": user})
			return string(a.Result)
		}
		if got := ask("pull.channel.public.get?USER_ID=$result[u][0][ID]"); !same(t, got, public("2")) {
			t.Error("a field of a result")
		}
		if got := ask("pull.channel.public.get?" + url.Values{"USER_ID": {"$result[u][0][ID]"}}.Encode()); !same(t, got, public("2")) {
			t.Error("a field of a result, encoded")
		}
		if got := ask("pull.watch.extend?TAGS=$result[u][0][DEEP][TAGS]"); got != `{"a":true,"b":false}` {
			t.Errorf("a list: %s", got)
		}
		if got := ask("pull.watch.extend?TAGS[0]=$result[u][0][DEEP][TAGS][1]&TAGS[1]=a"); got != `{"a":true,"b":false}` {
			t.Errorf("within a list: %s", got)
		}
		for _, none := range []string{"$result[u][1][ID]", "$result[no][0][ID]", "$result[u][ID]", "$result[x]", "$error[u]", "id $result[u][0][ID]", "$result", "$result[u]x"} {
			if got := ask("pull.channel.public.get?USER_ID=" + url.QueryEscape(none)); !strings.Contains(got, "USER_ID_ACCESS_ERROR") {
				t.Errorf("%s: it leads somewhere", none)
			}
		}
		_, a := call(t, p, p.Webhook()+"batch", params{"cmd": []string{"no.such", "pull.watch.extend?TAGS[]=$error[0][error]"}})
		if !strings.Contains(string(a.Result), `{"ERROR_METHOD_NOT_FOUND":false}`) {
			t.Errorf("an error: %s", a.Result)
		}
	})
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && cmp.Equal(x, y)
}

func TestBatch_TooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		commands := make([]string, 52)
		for i := range commands {
			commands[i] = "user.admin"
		}
		got := batch(t, p, params{"cmd": commands})
		if strings.Count(got, "true") != 50 || strings.Count(got, `"error":"ERROR_BATCH_LENGTH_EXCEEDED"`) != 2 {
			t.Error(got)
		}
	})
}

// TestBatch_Events: identical ones are one, with all their receivers, and none
// is sent twice to anybody.
func TestBatch_Events(t *testing.T) {
	onBoth(t, func(t *testing.T, p *pulltest.Portal) {
		event := func(s, user string) string {
			return "pull.application.event.add?" + url.Values{"COMMAND": {"tick"}, "PARAMS[text]": {s}, "USER_ID": {user}}.Encode()
		}
		got := batch(t, p, params{"halt": 1, "cmd": []string{
			event("same", "1"), event("other", "1"), event("same", "2"), event("same", "1"), event("nobody's", "99"), "no.such", event("never", "1"),
		}})
		if !strings.HasPrefix(got, `{"result":[true,true,true,true,true],"result_error":{"5"`) {
			t.Error(got)
		}
		first := decode(t, get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&CHANNEL_ID="+toldTo(t, p, 1).Channels["private"].ID).body)
		second := decode(t, get(t, p, p.PushURL()+"/sub/?binaryMode=true&mid="+zeros+"&CHANNEL_ID="+toldTo(t, p, 2).Channels["private"].ID).body)
		expect(t, "user 1", texts(t, first), "same", "other")
		expect(t, "user 2", texts(t, second), "same")
		if first[0].Mid != second[0].Mid {
			t.Error("two messages in place of one")
		}
		if s := p.Stats(); s.Published != 2 || s.DroppedEvents != 1 {
			t.Errorf("%d published, %d dropped", s.Published, s.DroppedEvents)
		}
	})
}

// TestBatch_Limits: a batch is one request, and each of its commands takes its
// time.
func TestBatch_Limits(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		got := batch(t, p, params{"cmd": []string{"user.admin", "profile", "user.admin", "user.admin", "scope"}})
		if strings.Count(got, "OPERATION_TIME_LIMIT") != 2 || !strings.Contains(got, `"3":{"error"`) || !strings.Contains(got, `"2":{"error"`) {
			t.Error(got)
		}
		if status, a := call(t, p, p.Webhook()+"batch", params{"cmd": []string{"profile"}}); status != 503 || a.Error != "QUERY_LIMIT_EXCEEDED" {
			t.Errorf("the second: %d %s", status, a.Error)
		}
	}, pulltest.WithQueryLimit(1, 0.001), pulltest.WithOperatingLimit(1e9, 1e9))
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, command := range []string{"profile", "user.admin", "scope"} {
			if got := batch(t, p, params{"cmd": []string{command}}); !strings.Contains(got, `"result_error":[]`) {
				t.Errorf("%s: %s", command, got)
			}
		}
	}, pulltest.WithOperatingLimit(1e9, 1e9))
}
