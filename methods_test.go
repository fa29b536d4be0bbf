package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/php"
	"github.com/google/go-cmp/cmp"
)

// calling answers the next call with body and returns what was asked.
func calling(t *testing.T, body string, call func(*Client) error) (sent, error) {
	t.Helper()
	var got sent
	c := oauthClient(t, resttest.Portal(t, recorder(t, body, &got)), resttest.Static("s3cr3t-token"))
	err := call(c)
	return got, err
}

func TestMethods_MethodRequests(t *testing.T) {
	ctx := context.Background()
	channel := `{"user_id":"577","public_id":"` + resttest.Mark + `","signature":"` + resttest.Mark + `","start":"2026-03-31T10:06:39+02:00","end":1775000000}`
	tests := []struct {
		name, answer, method string
		call                 func(*Client) error
		body                 map[string]any
	}{
		{"push", `{"result":true}`, methodApplicationPush, func(c *Client) error {
			return c.AddApplicationPush(ctx, ApplicationPush{UserIDs: []int64{1, 577}, Text: "hello"})
		}, map[string]any{"USER_ID": []any{1.0, 577.0}, "TEXT": "hello"}},
		{"push with a picture", `{"result":true}`, methodApplicationPush, func(c *Client) error {
			return c.AddApplicationPush(ctx, ApplicationPush{UserIDs: []int64{1}, Text: "hello", Avatar: "https://a.example/b.png"})
		}, map[string]any{"USER_ID": "1", "TEXT": "hello", "AVATAR": "https://a.example/b.png"}},
		{"watch", `{"result":{"a":true}}`, methodWatchExtend, func(c *Client) error {
			_, err := c.ExtendWatch(ctx, "a", "b")
			return err
		}, map[string]any{"TAGS": []any{"a", "b"}}},
		{"public channel", `{"result":` + channel + `}`, methodPublicChannel, func(c *Client) error {
			_, err := c.GetPublicChannel(ctx, 577, ApplicationChannels)
			return err
		}, map[string]any{"USER_ID": 577.0, "APPLICATION": "Y"}},
		{"public channels", `{"result":{"577":` + channel + `}}`, methodPublicChannels, func(c *Client) error {
			_, err := c.ListPublicChannels(ctx, []int64{577, 1}, PortalChannels)
			return err
		}, map[string]any{"USERS": []any{577.0, 1.0}, "APPLICATION": "N"}},
		{"anything", `{"result":[]}`, "crm.deal.list", func(c *Client) error {
			_, err := c.Call(ctx, "crm.deal.list", struct {
				Start int `json:"start"`
			}{50}, nil)
			return err
		}, map[string]any{"start": 50.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := calling(t, tt.answer, tt.call)
			if err != nil {
				t.Fatal(err)
			}
			tt.body["auth"] = "s3cr3t-token"
			want := sent{Method: "POST", Path: "/rest/" + tt.method, Type: "application/json", Agent: DefaultUserAgent, Body: tt.body}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMethods_RefusedWithoutACall(t *testing.T) {
	ctx := context.Background()
	c := oauthClient(t, resttest.Portal(t, func(http.ResponseWriter, *http.Request) { t.Error("the portal was called") }), resttest.Static("s3cr3t-token"))
	push := func(p ApplicationPush) error { return c.AddApplicationPush(ctx, p) }
	call := func(method string, params any) error { _, err := c.Call(ctx, method, params, nil); return err }
	_, noTags := c.ExtendWatch(ctx)
	_, user0 := c.GetPublicChannel(ctx, 0, ApplicationChannels)
	_, noUsers := c.ListPublicChannels(ctx, nil, ApplicationChannels)
	_, badUsers := c.ListPublicChannels(ctx, []int64{1, -1}, ApplicationChannels)
	for name, tt := range map[string]struct{ err, want error }{
		"no text":         {push(ApplicationPush{UserIDs: []int64{1}}), ErrText},
		"blank text":      {push(ApplicationPush{UserIDs: []int64{1}, Text: " \n"}), ErrText},
		"nobody":          {push(ApplicationPush{Text: "a"}), ErrUserID},
		"user 0":          {push(ApplicationPush{Text: "a", UserIDs: []int64{0}}), ErrUserID},
		"no tags":         {noTags, ErrInvalidFormat},
		"channel of 0":    {user0, ErrUserID},
		"channels of 0":   {noUsers, ErrUserID},
		"channels of -1":  {badUsers, ErrUserID},
		"upper case":      {call("Crm.Deal.List", nil), nil},
		"a path":          {call("crm/../deal", nil), nil},
		"a query":         {call("crm.deal.list?auth=1", nil), nil},
		"no method":       {call("", nil), nil},
		"params no JSON":  {call("a.b", func() {}), nil},
		"params a list":   {call("a.b", []int{1}), nil},
		"params a number": {call("a.b", 1), nil},
	} {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) || !strings.HasPrefix(tt.err.Error(), "b24pull: ") {
			t.Errorf("%s: got %v", name, tt.err)
		}
	}
}

func TestMethods_ExtendWatch(t *testing.T) {
	alive := map[string]map[string]bool{
		`{"a":true,"b":false}`: {"a": true, "b": false},
		`{"a":"Y","b":0}`:      {"a": true, "b": false},
		`{"a":1}`:              {"a": true, "b": false},
		`[true,false]`:         {"a": true, "b": false},
		`["b"]`:                {"a": false, "b": true},
		`[]`:                   {"a": false, "b": false},
		`false`:                {"a": false, "b": false},
		`null`:                 {"a": false, "b": false},
	}
	for result, want := range alive {
		_, err := calling(t, `{"result":`+result+`}`, func(c *Client) error {
			got, err := c.ExtendWatch(context.Background(), "a", "b")
			if !maps.Equal(got, want) {
				t.Errorf("%s: got %v", result, got)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", result, err)
		}
	}
	for _, result := range []string{`true`, `5`, `[true]`, `[[]]`, `{"a":"` + resttest.Mark + `"}`} {
		_, err := calling(t, `{"result":`+result+`}`, func(c *Client) error {
			_, err := c.ExtendWatch(context.Background(), "a", "b")
			return err
		})
		resttest.CheckError(t, err)
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: got %v", result, err)
		}
	}
}

func TestMethods_PublicChannels(t *testing.T) {
	const one = `{"user_id":577,"public_id":"` + resttest.Mark + `","signature":"` + resttest.Mark + `sig","start":"2026-03-31T10:06:39+02:00","end":"2026-03-31T22:06:44+02:00"}`
	want := PublicChannel{UserID: 577, PublicID: resttest.Mark, Signature: resttest.Mark + "sig", Start: time.Date(2026, 3, 31, 8, 6, 39, 0, time.UTC), End: time.Date(2026, 3, 31, 20, 6, 44, 0, time.UTC)}
	ctx := context.Background()
	get := func(result string) (channel PublicChannel, err error) {
		_, err = calling(t, `{"result":`+result+`}`, func(c *Client) (err error) {
			channel, err = c.GetPublicChannel(ctx, 577, ApplicationChannels)
			return err
		})
		return channel, err
	}
	list := func(result string) (channels map[int64]PublicChannel, err error) {
		_, err = calling(t, `{"result":`+result+`}`, func(c *Client) (err error) {
			channels, err = c.ListPublicChannels(ctx, []int64{577}, ApplicationChannels)
			return err
		})
		return channels, err
	}
	for _, result := range []string{one, strings.Replace(one, `577`, `"577"`, 1), strings.Replace(one, `"user_id":577,`, ``, 1)} {
		if got, err := get(result); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", result, got, err)
		}
	}
	for _, result := range []string{`{"577":` + one + `}`, `[` + one + `]`} {
		if got, err := list(result); err != nil || len(got) != 1 || got[577] != want {
			t.Errorf("%s: got %v, %v", result, got, err)
		}
	}
	if got, err := list(`[]`); err != nil || len(got) != 0 {
		t.Errorf("none: got %v, %v", got, err)
	}
	for _, result := range []string{`[]`, `null`, `true`, `{"public_id":""}`, `"` + resttest.Mark + `"`} {
		_, err := get(result)
		resttest.CheckError(t, err)
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: got %v", result, err)
		}
	}
	for _, result := range []string{`true`, `{"` + resttest.Mark + `":{}}`, `[` + one + `,` + one + `]`, `[{"public_id":"` + resttest.Mark + `"}]`, `["` + resttest.Mark + `"]`} {
		_, err := list(result)
		resttest.CheckError(t, err)
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: got %v", result, err)
		}
	}
}

func TestMethods_Call(t *testing.T) {
	const body = `{"result":[{"ID":"5"}],"next":50,"total":"127","time":{"start":1774965918.25,"finish":1774965918.5,"duration":0.25,"processing":0.125,
		"date_start":"2026-03-31T16:05:18+02:00","date_finish":"2026-03-31T16:05:19+02:00","operating_reset_at":1774966518,"operating":1.5e-1}}`
	var deals []struct{ ID php.Int }
	_, err := calling(t, body, func(c *Client) error {
		got, err := c.Call(context.Background(), "crm.deal.list", nil, &deals)
		at := time.Unix(1774965918, 0).UTC()
		want := Response{Next: 50, HasNext: true, Total: 127, Timing: Timing{Start: at.Add(250 * time.Millisecond), Finish: at.Add(500 * time.Millisecond),
			DateStart: at, DateFinish: at.Add(time.Second), Duration: 250 * time.Millisecond,
			Processing: 125 * time.Millisecond, Operating: 150 * time.Millisecond, OperatingResetAt: at.Add(600 * time.Second)}}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		return err
	})
	if err != nil || len(deals) != 1 || deals[0].ID != 5 {
		t.Errorf("got %v, %v", deals, err)
	}
	for _, odd := range []string{`{"result":1,"time":[]}`, `{"result":1,"time":{"start":"x","duration":-1,"operating":"NaN","finish":{}}}`, `{"result":1,"time":7,"next":"x"}`} {
		_, err := calling(t, odd, func(c *Client) error {
			got, err := c.Call(context.Background(), "a.b", nil, nil)
			if got != (Response{}) {
				t.Errorf("%s: got %+v", odd, got)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", odd, err)
		}
	}
	_, err = calling(t, `{"result":"s3cr3t-token"}`, func(c *Client) error {
		var n php.Int
		_, err := c.Call(context.Background(), "a.b", nil, &n)
		return err
	})
	if err == nil || !strings.HasPrefix(err.Error(), "b24pull: a.b: the result: ") {
		t.Errorf("got %v", err)
	}
	_, err = calling(t, `{"error":"OPERATION_TIME_LIMIT","time":{"operating_reset_at":1774966518}}`, func(c *Client) error {
		_, err := c.Call(context.Background(), "a.b", nil, nil)
		return err
	})
	var refused *APIError
	if !errors.As(err, &refused) || refused.Timing.OperatingResetAt.Unix() != 1774966518 {
		t.Errorf("got %v", err)
	}
}

// TestMethods_KeepWatch: tags are renewed while they live and while the context does; a
// passing failure is told and tried again soon.
func TestMethods_KeepWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		start, calls := time.Now(), 0
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			var body struct{ TAGS []string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				return nil, err
			}
			calls++
			asked = append(asked, time.Since(start).String()+" "+strings.Join(body.TAGS, ","))
			switch calls {
			case 2:
				return resttest.JSONResponse(r, 502, ""), nil
			case 4:
				return resttest.JSONResponse(r, 200, `{"result":{"a":false,"b":true}}`), nil
			}
			return resttest.JSONResponse(r, 200, `{"result":{"a":true,"b":true}}`), nil
		})}
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(hc))
		var lost []string
		failed := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := c.KeepWatch(ctx, Watch{Tags: []string{"a", "b"}, Lost: func(tag string) { lost = append(lost, tag) }, Failed: func(error) { failed++ }})
		want := []string{"0s a,b", "15m0s a,b", "16m0s a,b", "31m0s a,b", "46m0s b"}
		if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(asked, want) || !slices.Equal(lost, []string{"a"}) || failed != 1 {
			t.Errorf("%v; asked %q, lost %q, failed %d", err, asked, lost, failed)
		}
	})
}

// TestMethods_KeepWatchTwice: a tag that is named twice is one.
func TestMethods_KeepWatchTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, lost []string
		hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			var body struct{ TAGS []string }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				return nil, err
			}
			asked = append(asked, strings.Join(body.TAGS, ","))
			return resttest.JSONResponse(r, 200, `{"result":{"a":false,"b":true}}`), nil
		})}
		c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(hc))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		tags := []string{"a", "b", "a", "b"}
		c.KeepWatch(ctx, Watch{Tags: tags, Lost: func(tag string) { lost = append(lost, tag) }})
		if !slices.Equal(asked, []string{"a,b", "b"}) || !slices.Equal(lost, []string{"a"}) || !slices.Equal(tags, []string{"a", "b", "a", "b"}) {
			t.Errorf("asked %q, lost %q, tags %q", asked, lost, tags)
		}
	})
}

// TestMethods_NilParams: a map or a pointer that is nil is an empty object.
func TestMethods_NilParams(t *testing.T) {
	var sent []string
	hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		sent = append(sent, string(body))
		return resttest.JSONResponse(r, 200, `{"result":true}`), err
	})}
	c := mustNew(t, Webhook("https://portal.example/rest/1/"+resttest.HookCode+"/"), WithHTTPClient(hc))
	for _, params := range []any{nil, map[string]any(nil), (*struct{ A int })(nil), json.RawMessage("null")} {
		if err := c.AddApplicationEvent(context.Background(), ApplicationEvent{Command: "a", Params: params}); err != nil {
			t.Errorf("%T: %v", params, err)
		}
		if _, err := c.Call(context.Background(), "a.b", params, nil); err != nil {
			t.Errorf("%T: %v", params, err)
		}
	}
	for i, got := range sent {
		if want := []string{`{"COMMAND":"a","PARAMS":{}}`, `{}`}[i%2]; got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	if len(sent) != 8 {
		t.Errorf("%d calls", len(sent))
	}
}

// TestMethods_Reopen: what GetApplicationConfig says of Call.
func TestMethods_Reopen(t *testing.T) {
	var sent string
	hc := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		sent = r.URL.Path + string(body)
		return resttest.JSONResponse(r, 200, `{"result":`+resttest.MinimalConfig+`}`), err
	})}
	c := mustNew(t, Webhook("https://portal.example/rest/1/"+resttest.HookCode+"/"), WithHTTPClient(hc))
	var cfg Config
	if _, err := c.Call(context.Background(), "pull.config.get", map[string]string{"CACHE": "N", "REOPEN": "N"}, &cfg, Idempotent()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(sent, `/pull.config.get{"CACHE":"N","REOPEN":"N"}`) || cfg.Channels.Private == nil && cfg.Channels.Shared == nil {
		t.Errorf("sent %s, got %v", sent, cfg)
	}
}

func TestMethods_KeepWatchEnds(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   error
	}{
		{200, `{"result":[]}`, ErrWatchEnded},
		{403, `{"error":"insufficient_scope"}`, ErrInsufficientScope},
		{401, `{"error":"expired_token"}`, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{answers: []func(*http.Request) (*http.Response, error){says(tt.status, tt.body)}}
			c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)), WithHTTPClient(s.client()))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			err := c.KeepWatch(ctx, Watch{Tags: []string{"a"}, Interval: time.Minute})
			if tt.want == nil {
				tt.want = context.DeadlineExceeded // the token source may have another one the next time
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v", tt.body, err)
			}
		})
	}
	c := mustNew(t, OAuth("portal.example", resttest.Static(resttest.AccessToken)))
	if err := c.KeepWatch(context.Background(), Watch{Tags: []string{"a"}, Interval: -1}); err == nil {
		t.Error("a negative interval was taken")
	}
}

// TestMethods_ChannelOwner: the owner prints as a word, also in JSON.
func TestMethods_ChannelOwner(t *testing.T) {
	data, err := json.Marshal([]ChannelOwner{ApplicationChannels, PortalChannels, 7})
	if want := `["application","portal","ChannelOwner(7)"]`; string(data) != want || err != nil {
		t.Errorf("got %s, %v", data, err)
	}
}
