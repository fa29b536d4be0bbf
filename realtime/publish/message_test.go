package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
)

// TestMessage_BadInput: what cannot be sent is refused with its place, before
// anything is asked.
func TestMessage_BadInput(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		deep := strings.Repeat("[", 600) + strings.Repeat("]", 600)
		for name, tt := range map[string]struct {
			edit func(m *Message)
			want string
		}{
			"no receivers":     {func(m *Message) { m.Users = nil }, "it has no receivers; name some in Users or Channels"},
			"user 0":           {func(m *Message) { m.Users = []int64{2, 0} }, "user 0: want a positive id"},
			"a negative user":  {func(m *Message) { m.Users = []int64{-3} }, "user -3: want a positive id"},
			"no module":        {func(m *Message) { m.Module = "" }, "its Module is empty"},
			"no command":       {func(m *Message) { m.Command = "" }, "its Command is empty"},
			"a long command":   {func(m *Message) { m.Command = strings.Repeat("c", 300) }, "its Command has 300 bytes; want 255 at most"},
			"invalid command":  {func(m *Message) { m.Command = "a\xff" }, "its Command is not valid UTF-8"},
			"invalid module":   {func(m *Message) { m.Module = "\xc3" }, "its Module is not valid UTF-8"},
			"more than a day":  {func(m *Message) { m.Expiry = 24*time.Hour + 1 }, "its Expiry is 24h0m0.000000001s; a push server keeps a message for a day at most, and 0 is not to keep it"},
			"negative expiry":  {func(m *Message) { m.Expiry = -time.Second }, "its Expiry is -1s; a push server keeps a message for a day at most, and 0 is not to keep it"},
			"a list":           {func(m *Message) { m.Params = []int{1} }, "Params: want what marshals to an object, got an array"},
			"a string":         {func(m *Message) { m.Params = "x" }, "Params: want what marshals to an object, got a string"},
			"a number":         {func(m *Message) { m.Params = 5 }, "Params: want what marshals to an object, got a number"},
			"raw, no JSON":     {func(m *Message) { m.Params = json.RawMessage(`{"a":`) }, "Params: json: error calling MarshalJSON for type json.RawMessage: unexpected end of JSON input"},
			"what is no JSON":  {func(m *Message) { m.Params = map[string]any{"a": math.NaN()} }, "Params: json: unsupported value: NaN"},
			"a channel":        {func(m *Message) { m.Params = map[string]any{"a": make(chan int)} }, "Params: json: unsupported type: chan int"},
			"invalid UTF-8":    {func(m *Message) { m.Params = map[string]any{"list": []string{"a", "b\xff"}} }, "Params.list[1]: the text is not valid UTF-8"},
			"an invalid key":   {func(m *Message) { m.Params = map[string]any{"\xff": 1} }, `Params."\xff": the text is not valid UTF-8`},
			"half a surrogate": {func(m *Message) { m.Params = json.RawMessage(`{"a":["\ud83d"]}`) }, `Params.a[0]: a \u escape is half of a surrogate pair`},
			"nested too deep":  {func(m *Message) { m.Params = json.RawMessage(`{"a":` + deep + `}`) }, "nested deeper than 512"},
			"over 1 MiB":       {func(m *Message) { m.Params = map[string]any{"a": strings.Repeat("x", 1<<20)} }, "it has 1048637 bytes as it is sent; a push server takes 1 MiB with all that goes with it"},
			"channel of no id": {func(m *Message) { m.Channels = []b24pull.PublicChannel{{UserID: 5}} }, "the public channel of user 5 has no id"},
			"channel of bad id": {func(m *Message) {
				m.Channels = []b24pull.PublicChannel{{UserID: 5, PublicID: "s3cr3t", Signature: "aa"}}
			}, "the public channel of user 5 has an id that is not 32 hexadecimal digits"},
			"unsigned channel": {func(m *Message) { m.Channels = []b24pull.PublicChannel{channel("")} }, "the public channel of user 5 has no hexadecimal signature"},
			"channel that is over": {func(m *Message) {
				c := channel("aa")
				c.End = time.Now().Add(-time.Hour)
				m.Channels = []b24pull.PublicChannel{c}
			}, "the public channel of user 5 has ended, "},
		} {
			bad := to("bad", 2)
			tt.edit(&bad)
			before := s.asked("publish") + s.asked("channel.public.list")
			err := p.Publish(t.Context(), to("good", 2), bad)
			var wrong *MessageError
			switch {
			case !errors.As(err, &wrong) || wrong.Index != 1:
				t.Errorf("%s: got %v", name, err)
			case !strings.HasPrefix(err.Error(), "publish: message 1: ") || !strings.Contains(err.Error(), tt.want):
				t.Errorf("%s: got %q, want %q", name, err, tt.want)
			case strings.Contains(fmt.Sprintf("%v %+v", err, err), "s3cr3t"):
				t.Errorf("%s: an id is told", name)
			case b24pull.ClassOf(err) != b24pull.ClassFinal:
				t.Errorf("%s: class %v", name, b24pull.ClassOf(err))
			case s.asked("publish")+s.asked("channel.public.list") != before:
				t.Errorf("%s: something was asked: %v", name, s.requests)
			}
		}
	})
}

// channel is one of a user whom the portal does not know.
func channel(signature string) b24pull.PublicChannel {
	return b24pull.PublicChannel{UserID: 5, PublicID: b24pull.Secret(strings.Repeat("0f", 16)), Signature: b24pull.Secret(signature)}
}

func TestMessage_Body(t *testing.T) {
	t.Parallel()
	var none map[string]int
	for _, tt := range []struct {
		m      Message
		body   string
		expiry uint32
	}{
		{Message{Users: []int64{1, 1, 2}, Module: "App", Command: "a b", Params: nil}, `{"module_id":"app","command":"a b","params":{}}`, 0},
		{Message{Users: []int64{1}, Module: "m", Command: "c", Params: none, Expiry: time.Second + 1}, `{"module_id":"m","command":"c","params":{}}`, 2},
		{Message{Users: []int64{1}, Module: "m", Command: "c", Params: struct {
			A string `json:"a"`
		}{"я"}, Expiry: MaxExpiry}, `{"module_id":"m","command":"c","params":{"a":"я"}}`, 86400},
		{Message{Users: []int64{1}, Module: "m", Command: "c", Params: json.RawMessage(" {\n} ")}, `{"module_id":"m","command":"c","params":{}}`, 0},
	} {
		c, err := tt.m.check()
		if err != nil || string(c.body) != tt.body || c.expiry != tt.expiry {
			t.Errorf("got %s for %d s, %v; want %s for %d", c.body, c.expiry, err, tt.body, tt.expiry)
		}
	}
	if c, _ := (&Message{Users: []int64{3, 1, 3}, Module: "m", Command: "c"}).check(); len(c.users) != 2 || c.users[0] != 3 {
		t.Errorf("users %v", c.users)
	}
}

func TestMessage_NothingToSend(t *testing.T) {
	t.Parallel()
	onStage(t, 4, func(t *testing.T, s *stage) {
		p := s.publisher(1)
		defer p.Close()
		if err := p.Publish(t.Context()); err != nil {
			t.Error(err)
		}
		if online, err := p.Online(t.Context()); err != nil || len(online) != 0 {
			t.Error(online, err)
		}
		if len(s.requests) > 0 {
			t.Errorf("requests: %v", s.requests)
		}
	})
}
