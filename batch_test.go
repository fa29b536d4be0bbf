package b24pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/pulltest"
)

// told is what came of a batch, a line a command.
func told(results []BatchResult) (lines []string) {
	for _, r := range results {
		line := r.Key + " " + r.Method + " " + string(r.Result)
		if r.Err != nil {
			line += ClassOf(r.Err).String() + ": " + r.Err.Error()
		}
		if r.HasNext {
			line += fmt.Sprintf(" next %d of %d", r.Next, r.Total)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestBatch_Portal: references, pages, errors and Halt on a portal.
func TestBatch_Portal(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	var items []any
	for i := range 60 {
		items = append(items, map[string]any{"ID": i + 1})
	}
	portal.Answer("crm.deal.list", pulltest.List{Items: items})
	portal.Answer("crm.deal.get", map[string]any{"CONTACT_ID": "7"})
	c := mustNew(t, Webhook(portal.Webhook()), WithHTTPClient(portal.HTTPClient()))

	commands := []Command{
		{Method: "crm.deal.list", Params: map[string]any{"filter": map[string]any{">ID": 8}, "start": 0}},
		{Method: "no.such"},
		{Key: "deal", Method: "crm.deal.get", Params: map[string]any{"ID": "$result[0][0][ID]"}},
		{Method: "crm.deal.list", Params: map[string]any{"filter": map[string]any{">ID": "$result[deal][CONTACT_ID]"}, "start": -1, "select": []string{"ID"}, "order": map[string]any{}}},
	}
	for _, halt := range []bool{false, true} {
		var opts []BatchOption
		if halt {
			opts = []BatchOption{Halt(), Idempotent()}
		}
		results, err := c.Batch(t.Context(), commands, opts...)
		if err != nil || len(results) != 4 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		var first []struct{ ID int }
		if err := results[0].Decode(&first); err != nil || len(first) != 50 || first[0].ID != 9 || results[0].Total != 52 || results[0].Next != 50 {
			t.Errorf("the first: %d items, %+v, %v", len(first), results[0].Response, err)
		}
		if results[0].Timing.Finish.IsZero() || results[0].Timing.OperatingResetAt.IsZero() {
			t.Errorf("the first has no time: %+v", results[0].Timing)
		}
		var refused *APIError
		if err := results[1].Decode(nil); !errors.As(err, &refused) || !errors.Is(err, ErrMethodNotFound) || refused.Status != 200 || refused.Description != "Method not found!" || refused.Method != "no.such" {
			t.Errorf("the second: %v", err)
		}
		var last []struct{ ID int }
		err = results[3].Decode(&last)
		switch {
		case halt && (!errors.Is(results[2].Err, ErrNotRun) || !errors.Is(err, ErrNotRun)):
			t.Errorf("halted: %q", told(results))
		case !halt && (err != nil || len(last) != 50 || last[0].ID != 8 || string(results[2].Result) != `{"CONTACT_ID":"7"}`):
			t.Errorf("with a reference: %v, %d items, %q", err, len(last), told(results))
		}
	}
}

// TestBatch_Fifty: as many as a portal takes, in their order; no more.
func TestBatch_Fifty(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	c := mustNew(t, Webhook(portal.Webhook()), WithHTTPClient(portal.HTTPClient()))
	commands := make([]Command, MaxBatch)
	for i := range commands {
		commands[i].Method = []string{"server.time", "user.admin", "no.such"}[i%3]
	}
	results, err := c.Batch(t.Context(), commands)
	if err != nil || len(results) != MaxBatch {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if r.Key != fmt.Sprint(i) || r.Method != commands[i].Method || (r.Err != nil) != (i%3 == 2) || (r.Result == nil) != (i%3 == 2) {
			t.Errorf("result %d is %+v", i, r)
		}
	}
	calls := portal.Stats().Calls
	for _, n := range []int{0, 51} {
		_, err := c.Batch(t.Context(), make([]Command, n))
		if want := fmt.Sprintf("b24pull: Batch: want 1 to 50 commands, got %d; slices.Chunk divides a longer list", n); fmt.Sprint(err) != want {
			t.Errorf("%d commands: %v", n, err)
		}
	}
	if calls != 1 || portal.Stats().Calls != 1 {
		t.Errorf("%d calls for one batch, %d at the end", calls, portal.Stats().Calls)
	}
}

// TestBatch_Sent: what is sent, and in which order.
func TestBatch_Sent(t *testing.T) {
	type params struct {
		Fields struct {
			Title string  `json:"TITLE"`
			Price float64 `json:"OPPORTUNITY"`
			Open  bool    `json:"OPENED"`
			Many  []int   `json:"MANY"`
		} `json:"fields"`
		Empty *int `json:"empty"`
	}
	var p params
	p.Fields.Title, p.Fields.Price, p.Fields.Many = "a&b=[c] 100% ü", 12345678901.5, []int{3, 1}
	c, asked := scripted(t, `{"result":{"result":[],"result_error":[]}}`)
	if _, err := c.Batch(t.Context(), []Command{{Key: "z", Method: "crm.deal.add", Params: p}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Batch(t.Context(), []Command{{Key: "z", Method: "a.b"}, {Method: "a.b", Params: map[string]any{"n": json.Number("12345678901234567890"), "gone": nil, "none": []int{}}}, {Key: "A-1", Method: "a.c"}}, Halt())
	want := []string{
		`{"cmd":{"z":"crm.deal.add?fields[TITLE]=a%26b%3D%5Bc%5D+100%25+%C3%BC\u0026fields[OPPORTUNITY]=12345678901.5\u0026fields[OPENED]=0\u0026fields[MANY][0]=3\u0026fields[MANY][1]=1"},"halt":0}`,
		`{"cmd":{"z":"a.b","1":"a.b?n=12345678901234567890","A-1":"a.c"},"halt":1}`,
	}
	if diff := cmp.Diff(want, *asked); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

// TestBatch_Answers: the forms that PHP gives the parts of an answer.
func TestBatch_Answers(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		halt         bool
		want         []string
	}{
		{"lists", `{"result":[1,null],"result_error":[],"result_total":[5],"result_next":[50]}`, false, []string{"0 a.b 1 next 50 of 5", "k a.c final: b24pull: a.c: the batch's answer has neither a result nor an error for the command k (HTTP 200)"}},
		{"objects", `{"result":{"0":true,"k":null}}`, false, []string{"0 a.b true", "k a.c null"}},
		{"an error of each form", `{"result":[],"result_error":{"0":"WRONG s3cr3t-token","k":{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}}}`, false,
			[]string{"0 a.b final: b24pull: a.b: the portal refused; its error code is a string (HTTP 200)", "k a.c throttled: b24pull: a.c: QUERY_LIMIT_EXCEEDED: Too many requests (HTTP 200); call again later, not more often than twice a second"}},
		{"a blank error beside a result", `{"result":{"0":1,"k":2},"result_error":{"0":"","k":{"error":"","error_description":""}}}`, false, []string{"0 a.b 1", "k a.c 2"}},
		{"halted", `{"result":[],"result_error":[{"error":"ACCESS_DENIED","error_description":"no s3cr3t-token"}]}`, true,
			[]string{"0 a.b final: b24pull: a.b: ACCESS_DENIED: no [redacted] (HTTP 200); ask the portal's administrator", "k a.c final: " + ErrNotRun.Error()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := scripted(t, `{"result":`+tt.answer+`}`)
			var opts []BatchOption
			if tt.halt {
				opts = append(opts, Halt())
			}
			results, err := c.Batch(t.Context(), []Command{{Method: "a.b"}, {Key: "k", Method: "a.c"}}, opts...)
			if diff := cmp.Diff(tt.want, told(results)); diff != "" || err != nil {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
			for _, r := range results {
				if r.Err != nil {
					resttest.CheckError(t, r.Err)
				}
			}
		})
	}
	for _, answer := range []string{`5`, `[1]`, `{"result":5}`, `"s3cr3t"`} {
		c, _ := scripted(t, `{"result":`+answer+`}`)
		results, err := c.Batch(t.Context(), []Command{{Method: "a.b"}})
		if want := "b24pull: batch: want an object with result and result_error by the commands' keys; it cannot be read (HTTP 200)"; fmt.Sprint(err) != want || results != nil {
			t.Errorf("%s: %v, %d results", answer, err, len(results))
		}
	}
}

// TestBatch_Refusals: what is wrong with a command is said before a call.
func TestBatch_Refusals(t *testing.T) {
	nested := any(1)
	for range 70 {
		nested = map[string]any{"a": nested}
	}
	for _, tt := range []struct {
		name     string
		commands []Command
		want     string
	}{
		{"no method", []Command{{}}, "command 0: want a method's name in lower case, like crm.deal.list"},
		{"a query in the method", []Command{{Method: "a.b"}, {Method: "crm.deal.get?ID=5"}}, "command 1: want a method's name in lower case, like crm.deal.list"},
		{"a batch", []Command{{Method: "batch"}}, "command 0: a batch has no batch in it"},
		{"a key twice", []Command{{Method: "a.b"}, {Method: "a.b", Key: "0"}}, "command 1: it has the key of command 0"},
		{"a key of other signs", []Command{{Method: "a.b", Key: "a]"}}, "command 0: want a Key of up to 64 letters, digits, _ and -"},
		{"a list", []Command{{Method: "a.b", Params: []int{1}}}, "command 0: a.b: the parameters: want what marshals to an object, got an array"},
		{"null", []Command{{Method: "a.b", Params: map[string]any{"fields": map[string]any{"X": nil}}}}, `command 0: a.b: the parameters: fields.X: it is null, which a command of a batch cannot say: use "" or Call`},
		{"nothing", []Command{{Method: "a.b", Params: map[string]any{"fields": map[string]any{"X": []int{}}}}}, `command 0: a.b: the parameters: fields.X: it is empty, which a command of a batch cannot say: use "" or Call`},
		{"brackets in a name", []Command{{Method: "a.b", Params: map[string]any{"filter": map[string]any{"a]b": 1}}}}, `command 0: a.b: the parameters: filter."a]b": its name is one that PHP does not read of a command of a batch`},
		{"a dot in a name", []Command{{Method: "a.b", Params: map[string]any{"a.b": 1}}}, `command 0: a.b: the parameters: "a.b": its name is one that PHP does not read of a command of a batch`},
		{"half a surrogate pair", []Command{{Method: "a.b", Params: json.RawMessage(`{"a":"\ud800"}`)}}, `command 0: a.b: the parameters: a: a \u escape is half of a surrogate pair; the portal would read no parameter at all, the token included`},
		{"too deep", []Command{{Method: "a.b", Params: map[string]any{"x": nested}}}, "command 0: a.b: the parameters: x" + strings.Repeat(".a", 64) + ": it is nested deeper than 64, which PHP does not read of a command of a batch: use Call"},
		{"too much", []Command{{Method: "a.b", Params: map[string]any{"x": make([]int, 1001)}}}, "command 0: a.b: the parameters: x[1000]: there are more than 1000 values, which PHP does not read of a command of a batch: use Call"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, asked := scripted(t, `{}`)
			_, err := c.Batch(t.Context(), tt.commands)
			if fmt.Sprint(err) != "b24pull: Batch: "+tt.want || len(*asked) != 0 {
				t.Errorf("%d calls\ngot  %v\nwant b24pull: Batch: %s", len(*asked), err, tt.want)
			}
		})
	}
	var none *Client
	for err, want := range map[error]string{
		second(none.Batch(t.Context(), []Command{{Method: "a.b"}})):                                                                  "b24pull: the Client was not made by New",
		second(mustNew(t, Webhook("https://portal.example/rest/1/s3cr3tcode/")).Batch(t.Context(), []Command{{Method: "a.b"}}, nil)): "b24pull: Batch: an option is nil",
		second(mustNew(t, Webhook("https://portal.example/rest/api/1/s3cr3tcode/")).Batch(t.Context(), []Command{{Method: "a.b"}})):  "b24pull: Batch: the newer REST (/rest/api/) has batches of another form: use the address without /api",
	} {
		if fmt.Sprint(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestBatch_Limits: a batch waits for the limiter once, and is repeated as a
// whole; a method that a command has found to be paused is not sent again until
// the portal gives some of its time back, and a command that met the full
// bucket has the limiter wait.
func TestBatch_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answer = `{"result":{"result":{"b":1},"result_error":{"a":{"error":"%s"}},"result_time":{"a":{"finish":%d,"operating_reset_at":%d}}}}`
		var asked []string
		code := "OPERATION_TIME_LIMIT"
		c := mustNew(t, Webhook("https://portal.example/rest/1/s3cr3tcode/"), WithRetry(Retry{Min: time.Second}), WithLimiter(NewLimiter(3, 0.5)), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			asked = append(asked, string(body))
			if len(asked) == 1 {
				return resttest.JSONResponse(r, 503, `{"error":"QUERY_LIMIT_EXCEEDED"}`), err
			}
			now := time.Now().Unix()
			return resttest.JSONResponse(r, 200, fmt.Sprintf(answer, code, now, now+60)), err
		})}))
		commands := []Command{{Key: "a", Method: "crm.deal.list"}, {Key: "b", Method: "crm.lead.list"}}
		began := time.Now()
		batch := func(want ...Class) {
			t.Helper()
			results, err := c.Batch(t.Context(), commands)
			if err != nil || ClassOf(results[0].Err) != want[0] || results[0].Err == nil || results[1].Err != nil {
				t.Fatalf("%v: %q", err, told(results))
			}
		}
		batch(ClassPaused) // after a refusal of the whole
		if after := time.Since(began); after < 1500*time.Millisecond || after > 4*time.Second {
			t.Errorf("the batch took %v: the limiter's bucket was full", after)
		}
		batch(ClassPaused)
		const whole, part = `{"cmd":{"a":"crm.deal.list","b":"crm.lead.list"},"halt":0}`, `{"cmd":{"b":"crm.lead.list"},"halt":0}`
		if diff := cmp.Diff([]string{whole, whole, part}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		results, err := c.Batch(t.Context(), commands[:1], Halt())
		if err != nil || ClassOf(results[0].Err) != ClassPaused || len(asked) != 3 {
			t.Errorf("%d calls, %v: %q", len(asked), err, told(results))
		}
		halted, err := c.Batch(t.Context(), commands, Halt())
		if err != nil || !errors.Is(halted[1].Err, ErrNotRun) || len(asked) != 3 {
			t.Errorf("%d calls, %v: %q", len(asked), err, told(halted))
		}
		time.Sleep(time.Minute + 2*time.Second)
		code = "QUERY_LIMIT_EXCEEDED"
		batch(ClassThrottled)
		began = time.Now()
		batch(ClassThrottled)
		if after := time.Since(began); after < time.Second {
			t.Errorf("the bucket is full, and the next batch waits %v", after)
		}
	})
}
