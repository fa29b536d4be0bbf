package pulltest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/pulltest"
)

// TestMethod_Calls: the function is told who calls, and the parameters as PHP
// has them however they were sent, and no token.
func TestMethod_Calls(t *testing.T) {
	var got []pulltest.Call
	note := pulltest.WithMethod("CRM.Deal.Get", func(_ context.Context, c pulltest.Call) (any, error) {
		got = append(got, c)
		id, ok := c.Int("id")
		return map[string]any{"ID": id, "given": ok}, nil
	})
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		const form = "application/x-www-form-urlencoded"
		token := p.Token(2).AccessToken
		for _, sent := range []struct{ target, body, media, want string }{
			{p.URL() + "/rest/crm.deal.get", `{"auth":"` + token + `","id":7,"Fields":{"TITLE":"a","n":[1,true,null]}}`, "application/json", `{"ID":7,"given":true}`},
			{p.URL() + "/rest/crm.deal.get.json?auth=" + token, "ID=7&fields[TITLE]=a&fields[n][]=1&fields[n][]=2", form, `{"ID":7,"given":true}`},
			{p.Webhook() + "Crm.Deal.GET", `[]`, "application/json", `{"ID":0,"given":false}`},
			{p.APIWebhook() + "crm.deal.get?id=x", ``, form, `{"ID":0,"given":false}`},
		} {
			status, a := parse(t, post(t, p, sent.target, []byte(sent.body), "Content-Type", sent.media))
			if status != http.StatusOK || string(a.Result) != sent.want {
				t.Errorf("%s: %d %s, want %s", sent.body[:min(9, len(sent.body))], status, a.Result, sent.want)
			}
		}
		want := []pulltest.Call{
			{Method: "crm.deal.get", User: 2, Params: map[string]any{"ID": json.Number("7"), "FIELDS": map[string]any{"TITLE": "a", "n": []any{json.Number("1"), true, nil}}}},
			{Method: "crm.deal.get", User: 2, Params: map[string]any{"ID": "7", "FIELDS": map[string]any{"TITLE": "a", "n": []any{"1", "2"}}}},
			{Method: "crm.deal.get", User: 1, Webhook: true, Params: map[string]any{}},
			{Method: "crm.deal.get", User: 1, Webhook: true, Params: map[string]any{"ID": "x"}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}, note)
}

// TestMethod_Answers: what the function returns is what the portal answers, alone
// and within a batch, and what cannot be answered is a clear error.
func TestMethod_Answers(t *testing.T) {
	items := make([]any, 120)
	for i := range items {
		items[i] = map[string]int{"ID": i + 1}
	}
	tests := []struct {
		result  any
		err     error
		status  int
		code    string
		want    string // of the result, or the description
		partial bool
	}{
		{map[string]int{"ID": 1}, nil, 200, "", `{"ID":1}`, false},
		{nil, nil, 200, "", `null`, false},
		{json.RawMessage(`{ "a" :1}`), nil, 200, "", `{"a":1}`, false},
		{pulltest.List{Items: items, Field: "items"}, nil, 200, "", `{"items":[{"ID":51},`, true},
		{nil, errors.New("no such deal"), 400, "ERROR_CORE", "no such deal", false},
		{nil, &pulltest.MethodError{Description: "Not found"}, 400, "", "Not found", false},
		{nil, fmt.Errorf("wrapped: %w", &pulltest.MethodError{Status: 403, Code: "ACCESS_DENIED", Description: "Access denied!"}), 403, "ACCESS_DENIED", "Access denied!", false},
		{nil, &pulltest.MethodError{Status: 200, Code: "ODD"}, 200, "ODD", "", false},
		{nil, &pulltest.MethodError{Status: 99}, 500, "INTERNAL_SERVER_ERROR", "pulltest: a MethodError has the status 99", false},
		{func() {}, nil, 500, "INTERNAL_SERVER_ERROR", "pulltest: the result of own: json: unsupported type: func()", false},
		{json.RawMessage(`{"a":`), nil, 500, "INTERNAL_SERVER_ERROR", "pulltest: the result of own: ", true},
		{strings.Repeat("a", 16<<20), nil, 500, "INTERNAL_SERVER_ERROR", "pulltest: the result of own: it is longer than 16777216 bytes", false},
	}
	now := 0
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for i, tt := range tests {
			now = i
			check := func(how, code, got string) {
				t.Helper()
				if code != tt.code || got != tt.want && !(tt.partial && strings.HasPrefix(got, tt.want)) {
					t.Errorf("%d, %s: %q %.100s, want %q %s", i, how, code, got, tt.code, tt.want)
				}
			}
			status, a := call(t, p, p.Webhook()+"own", params{"start": 50})
			if status != tt.status {
				t.Errorf("%d: status %d, want %d", i, status, tt.status)
			}
			check("alone", a.Error, string(a.Result)+a.Description)
			if _, large := tt.result.(string); large && testing.Short() {
				continue // writing it takes a second under the race detector
			}
			_, a = call(t, p, p.Webhook()+"batch", params{"cmd": map[string]string{"it": "OWN?start=50"}})
			var b struct {
				Result map[string]json.RawMessage
				Error  map[string]struct {
					Code        string `json:"error"`
					Description string `json:"error_description"`
				} `json:"result_error"`
			}
			data := strings.ReplaceAll(strings.ReplaceAll(string(a.Result), `"result":[]`, `"result":{}`), `"result_error":[]`, `"result_error":{}`)
			if err := json.Unmarshal([]byte(data), &b); err != nil {
				t.Fatal(err)
			}
			check("batch", b.Error["it"].Code, string(b.Result["it"])+b.Error["it"].Description)
		}
	}, pulltest.WithMethod("own", func(ctx context.Context, _ pulltest.Call) (any, error) {
		return tests[now].result, errors.Join(tests[now].err, ctx.Err())
	}))
}

// TestMethod_Place: it stands in place of the portal's own, is listed, stays
// after a reset, and Answer comes before it; the limits of REST are its, too.
func TestMethod_Place(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		want := func(when, result string) {
			t.Helper()
			if _, a := call(t, p, p.Webhook()+"profile", params{}); string(a.Result) != result {
				t.Errorf("%s: %s %s", when, a.Error, a.Result)
			}
		}
		want("at first", `"own"`)
		p.Answer("profile", "canned")
		want("canned", `"canned"`)
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		want("after a reset", `"own"`)
		if _, a := call(t, p, p.Webhook()+"methods", params{}); !strings.Contains(string(a.Result), `"profile"`) || !strings.Contains(string(a.Result), `"crm.deal.add"`) {
			t.Errorf("methods: %s", a.Result)
		}
		call(t, p, p.Webhook()+"crm.deal.add", params{})
		call(t, p, p.Webhook()+"crm.deal.add", params{})
		if _, a := call(t, p, p.Webhook()+"crm.deal.add", params{}); a.Error != "OPERATION_TIME_LIMIT" {
			t.Errorf("the limit of a method: %q", a.Error)
		}
	}, pulltest.WithMethod("profile", func(context.Context, pulltest.Call) (any, error) { return "own", nil }),
		pulltest.WithMethod("crm.deal.add", func(context.Context, pulltest.Call) (any, error) { return 1, nil }),
		pulltest.WithOperatingLimit(time.Minute, time.Minute/2))
}

// TestMethod_Ends: a function that waits is told when the caller leaves, and when
// the portal is closed; and it may publish.
func TestMethod_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		var p *pulltest.Portal
		p = pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithMethod("wait", func(ctx context.Context, _ pulltest.Call) (any, error) {
			p.Emit(pulltest.Message{Command: "waiting"})
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Webhook()+"wait", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := p.HTTPClient().Do(req); err == nil {
			resp.Body.Close()
			t.Error("it was answered")
		}
		if err := <-ended; err == nil || p.Stats().Published != 1 {
			t.Errorf("%v, %d published", err, p.Stats().Published)
		}
		go func() {
			if resp, err := p.HTTPClient().Post(p.Webhook()+"wait", "", nil); err == nil {
				resp.Body.Close()
			}
		}()
		synctest.Wait()
		p.Close()
		if err := <-ended; err == nil {
			t.Error("it was not told of the end")
		}
	})
}

// TestMethod_Refused: names that are none are refused at the start.
func TestMethod_Refused(t *testing.T) {
	own := func(context.Context, pulltest.Call) (any, error) { return nil, nil }
	for _, test := range []struct {
		name string
		f    func(context.Context, pulltest.Call) (any, error)
		want string
	}{
		{"", own, "not a method's name; give one like crm.deal.get"},
		{"crm/deal", own, "not a method's name"},
		{"crm.deal.get.json", own, "not a method's name"},
		{".get", own, "not a method's name"},
		{"Batch", own, "the portal carries out batches"},
		{"crm.deal.get", nil, "there is no function"},
	} {
		p, err := pulltest.Start(pulltest.WithMethod(test.name, test.f))
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "pulltest: WithMethod(") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v", test.name, err)
		}
	}
}

// TestMethod_Panics: whoever calls a function that panics gets no answer, and the
// portal goes on.
func TestMethod_Panics(t *testing.T) {
	printed := log.Writer()
	log.SetOutput(io.Discard)
	defer log.SetOutput(printed)
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		for _, target := range []string{"own", "batch?cmd[it]=own"} {
			if resp, err := p.HTTPClient().Post(p.Webhook()+target, "", nil); err == nil {
				resp.Body.Close()
				t.Errorf("%s is answered %s", target, resp.Status)
			}
		}
		if status, _ := call(t, p, p.Webhook()+"profile", params{}); status != http.StatusOK {
			t.Errorf("the portal answers %d", status)
		}
	}, pulltest.WithMethod("own", func(context.Context, pulltest.Call) (any, error) { panic("a mistake") }))
}
