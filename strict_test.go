package b24pull_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// strictly runs a test on a portal, with a client of user 1, who is an
// administrator, and one of user 2, who is not.
func strictly(t *testing.T, test func(t *testing.T, p *pulltest.Portal, admin, user *b24pull.Client)) {
	t.Helper()
	p := pulltest.NewPortal()
	defer p.Close()
	client := func(user int) *b24pull.Client {
		tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: p.Token(user).AccessToken})
		c, err := b24pull.New(b24pull.OAuth(p.URL(), tokens), b24pull.WithHTTPClient(p.HTTPClient()), b24pull.WithLimiter(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	test(t, p, client(1), client(2))
}

// marshals is a type that marshals itself.
type marshals string

func (m marshals) MarshalJSON() ([]byte, error) { return []byte(m), nil }

// texts is a type that is a text, as a value and as a key.
type texts string

func (t texts) MarshalText() ([]byte, error) { return []byte(t), nil }

// delegates hands its marshalling on, as many types do.
type delegates struct{ Note string }

func (d delegates) MarshalJSON() ([]byte, error) {
	type plain delegates
	return json.Marshal(plain(d))
}

type embedded struct {
	Note string `json:"note"`
}

// unreadable are params of which a portal reads nothing, or that would not
// arrive as they are, and where in them that is.
var unreadable = []struct {
	params any
	where  string
}{
	{map[string]any{"note": "a\xff"}, "note"},
	{map[string]any{"a\xff": 1}, `"a\xff"`},
	{map[texts]any{"a\xff": 1}, `"a\xff"`},
	{map[string]any{"list": []any{"a", map[string]string{"b c": "\xed\xa0\x80"}}}, `list[1]."b c"`},
	{struct{ Text *string }{ptr("a\xff")}, "Text"},
	{struct {
		Text any `json:"text,omitempty"`
	}{[1]string{"a\xff"}}, "text[0]"},
	{struct{ embedded }{embedded{"a\xff"}}, "note"},
	{struct {
		N string `json:"n,string"`
	}{"a\xff"}, "n"},
	{map[string]any{"a": texts("a\xff")}, "a"},
	{map[string]any{"a": []delegates{{"a\xff"}}}, "a[0]"},
	{map[string]any{"a": marshals("\"a\xff\"")}, "a"},
	{json.RawMessage("{\"a\":{\"b\":\"\xff\"}}"), "a.b"},
	{json.RawMessage(`{"a":[1,{"x":[]},"\ud83d"]}`), "a[2]"},
	{json.RawMessage(`{"a":1,"b":"\uDE00"}`), "b"},
	{json.RawMessage(`{"b":"\ude00\ud83d"}`), "b"},
	{json.RawMessage(`{"b":"\ud83d\ud83d\ude00"}`), "b"},
	{json.RawMessage(`{"b":"\ud83d\n"}`), "b"},
	{json.RawMessage(`{"b":{"\ud83d":1}}`), "b"},
	{struct{ Deep []json.RawMessage }{[]json.RawMessage{[]byte(`{"x":"\ud83dx"}`)}}, "Deep[0].x"},
	{map[string]any{"a": marshals(`"\udbff"`)}, "a"},
	{json.RawMessage(`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + "}"), "a["},
}

// readable are params that look alike and arrive.
var readable = []any{
	map[string]any{"a": "\ufffd", "b": "😀ä\u2028<&>", "c": `\ud83d`, "d": `\ufffd`},
	map[string]any{"a": []byte{0xff}, "b": nil, "c": (*string)(nil)},
	struct {
		Skipped string `json:"-"`
		hidden  string
		B       string
	}{Skipped: "\xff", hidden: "\xff", B: `\ufffd`},
	json.RawMessage(`{"a":"\ud83d\ude00","b":"\\ud83d","c":"\\\"\\ud83d","d":"\ufffd","\ud83d\ude00":[]}`),
	map[string]any{"a": json.RawMessage(`"\ufffd"`), "b": `\ufffd`},
	map[string]any{"a": delegates{`\ufffd`}, "b": delegates{`\\ufffd`}},
	json.RawMessage(`{"a":` + strings.Repeat("[", 510) + strings.Repeat("]", 510) + "}"),
}

func ptr(s string) *string { return &s }

// TestStrict_Unreadable: what PHP would read nothing of, or what encoding/json would
// change, is refused before the call, and the error names the place. All that
// is taken arrives.
func TestStrict_Unreadable(t *testing.T) {
	strictly(t, func(t *testing.T, p *pulltest.Portal, admin, _ *b24pull.Client) {
		ctx := context.Background()
		for _, tt := range unreadable {
			event := admin.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "x", Params: tt.params})
			if !errors.Is(event, b24pull.ErrParams) || !errors.Is(event, b24pull.ErrInvalidFormat) || !strings.Contains(event.Error(), tt.where) {
				t.Errorf("event with %.80q, want %s: %.200v", fmt.Sprint(tt.params), tt.where, event)
			}
			_, err := admin.Call(ctx, "pull.application.config.get", tt.params, nil)
			if !errors.Is(err, b24pull.ErrInvalidFormat) || !strings.Contains(err.Error(), tt.where) {
				t.Errorf("call with %.80q, want %s: %.200v", fmt.Sprint(tt.params), tt.where, err)
			}
		}
		push := func(push b24pull.ApplicationPush) error {
			push.UserIDs = []int64{1}
			return admin.AddApplicationPush(ctx, push)
		}
		_, watched := admin.ExtendWatch(ctx, "a", "b\xff")
		for where, err := range map[string]error{
			"TEXT":    push(b24pull.ApplicationPush{Text: "a\xff"}),
			"AVATAR":  push(b24pull.ApplicationPush{Text: "a", Avatar: "https://a.example/\xff"}),
			"TAGS[1]": watched,
			"module":  admin.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "x", Module: "a\xff"}),
			"command": admin.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "x\xff"}),
		} {
			if err == nil || !strings.Contains(err.Error(), where) {
				t.Errorf("%s: %v", where, err)
			}
		}
		if n := p.Stats().Calls; n != 0 {
			t.Errorf("%d calls were made", n)
		}
		for _, params := range readable {
			if err := admin.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "x", Params: params}); err != nil {
				t.Errorf("event with %.80q: %.200v", fmt.Sprint(params), err)
			}
			if _, err := admin.Call(ctx, "pull.application.config.get", params, nil); err != nil {
				t.Errorf("call with %.80q: %.200v", fmt.Sprint(params), err)
			}
		}
		if s := p.Stats(); s.Published != len(readable) || s.DroppedEvents != 0 {
			t.Errorf("%d published, %d dropped of %d", s.Published, s.DroppedEvents, len(readable))
		}
	})
}

// TestStrict_LargeEvent: what the portal would drop for its size is refused, counted
// as the portal writes it and not as it is sent.
func TestStrict_LargeEvent(t *testing.T) {
	strictly(t, func(t *testing.T, p *pulltest.Portal, admin, _ *b24pull.Client) {
		const limit = 1 << 20
		for name, tt := range map[string]struct {
			text  string
			taken bool
		}{
			"1 MiB":            {strings.Repeat("x", limit), false},
			"just below":       {strings.Repeat("x", limit-100), false}, // with what the portal adds it is above
			"1 KB below":       {strings.Repeat("x", limit-1024), true},
			"HTML, 6 MB sent":  {strings.Repeat("<", limit-1024), true},
			"quotes":           {strings.Repeat(`"`, limit/2), false},
			"fewer quotes":     {strings.Repeat(`"`, limit/2-1024), true},
			"slashes":          {strings.Repeat("/", limit/2), false},
			"control":          {strings.Repeat("\x01", limit/6), false},
			"fewer control":    {strings.Repeat("\x01", limit/6-1024), true},
			"Cyrillic":         {strings.Repeat("я", limit/2), false},
			"less Cyrillic":    {strings.Repeat("я", limit/2-1024), true},
			"line separators":  {strings.Repeat("\u2028", limit/6), false},
			"smileys":          {strings.Repeat("😀", limit/4), false},
			"not many smileys": {strings.Repeat("😀", limit/4-1024), true},
		} {
			if testing.Short() && !slices.Contains([]string{"just below", "1 KB below", "quotes"}, name) {
				continue
			}
			before := p.Stats()
			err := admin.AddApplicationEvent(context.Background(), b24pull.ApplicationEvent{Command: "x", Params: map[string]string{"t": tt.text}})
			after := p.Stats()
			if tt.taken != (err == nil) || !tt.taken && (!errors.Is(err, b24pull.ErrParams) || !strings.Contains(err.Error(), "1 MiB")) {
				t.Errorf("%s: %v", name, err)
			}
			published, calls := after.Published-before.Published, after.Calls-before.Calls
			if want := map[bool]int{true: 1}[tt.taken]; published != want || calls != want {
				t.Errorf("%s: %d calls, %d published", name, calls, published)
			}
		}
		if testing.Short() {
			return
		}
		escaped := json.RawMessage(`{"t":"` + strings.Repeat(`\ud83d\ude00`, limit/4-1024) + `"}`)
		if err := admin.AddApplicationEvent(context.Background(), b24pull.ApplicationEvent{Command: "x", Params: escaped}); err != nil {
			t.Errorf("escapes that the portal writes out: %v", err)
		}
	})
}

// TestStrict_OneUser: a user who is no administrator can send to himself, and is told
// why he can do no more.
func TestStrict_OneUser(t *testing.T) {
	strictly(t, func(t *testing.T, p *pulltest.Portal, admin, user *b24pull.Client) {
		send := func(c *b24pull.Client, ids ...int64) error {
			return c.AddApplicationEvent(context.Background(), b24pull.ApplicationEvent{Command: "x", UserIDs: ids})
		}
		for _, err := range []error{send(user, 2), send(user, 2, 2), send(user), send(admin, 2), send(admin, 1, 2), send(admin, 1, 2, 1)} {
			if err != nil {
				t.Error(err)
			}
		}
		if n := p.Stats().Published; n != 6 {
			t.Errorf("%d published", n)
		}
		for _, err := range []error{send(user, 1), send(user, 1, 2)} {
			if !errors.Is(err, b24pull.ErrUserID) || !strings.Contains(err.Error(), "administrator") {
				t.Error(err)
			}
		}
		push := b24pull.ApplicationPush{UserIDs: []int64{2}, Text: "hi"}
		if err := user.AddApplicationPush(context.Background(), push); !errors.Is(err, b24pull.ErrAccess) || !strings.Contains(err.Error(), "administrator") {
			t.Error(err)
		}
		for _, ids := range [][]int64{{2}, {1, 2}} {
			push.UserIDs = ids
			if err := admin.AddApplicationPush(context.Background(), push); err != nil {
				t.Error(err)
			}
		}
		if sent := p.PushNotifications(); len(sent) != 2 || !slices.Equal(sent[1].Users, []int{1, 2}) {
			t.Errorf("sent %v", sent)
		}
	})
}

// TestStrict_TrueIsNotDelivery: an event that reaches nobody is no error.
func TestStrict_TrueIsNotDelivery(t *testing.T) {
	strictly(t, func(t *testing.T, p *pulltest.Portal, admin, _ *b24pull.Client) {
		p.Deactivate(2)
		err := admin.AddApplicationEvent(context.Background(), b24pull.ApplicationEvent{Command: "x", UserIDs: []int64{2}})
		if s := p.Stats(); err != nil || s.Published != 0 || s.DroppedEvents != 1 {
			t.Errorf("%v; published %d, dropped %d", err, s.Published, s.DroppedEvents)
		}
	})
}

// TestStrict_TagsWithoutCase: a tag is the same in any letter case, and is told of as
// it was given.
func TestStrict_TagsWithoutCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), pulltest.WithPingInterval(0))
		defer p.Close()
		c, err := b24pull.New(b24pull.Webhook(p.Webhook()), b24pull.WithHTTPClient(p.HTTPClient()))
		if err != nil {
			t.Fatal(err)
		}
		p.Watch(1, "CRM_DEAL_7", "Ünited")
		alive, err := c.ExtendWatch(t.Context(), "crm_deal_7", "üNITED", "gone")
		if want := map[string]bool{"crm_deal_7": true, "üNITED": true, "gone": false}; err != nil || !maps.Equal(alive, want) {
			t.Errorf("got %v, %v", alive, err)
		}
		var lost []string
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		err = c.KeepWatch(ctx, b24pull.Watch{Tags: []string{"crm_deal_7", "Crm_Deal_7", "Gone", "gone"}, Lost: func(tag string) { lost = append(lost, tag) }})
		if !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(lost, []string{"Gone"}) || !slices.Equal(p.Watched(1), []string{"CRM_DEAL_7"}) {
			t.Errorf("%v; lost %q, watched %q", err, lost, p.Watched(1))
		}
	})
}
