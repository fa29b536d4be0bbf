package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

func TestCodecRpc_RPCMessage(t *testing.T) {
	const body = `{"module_id":"Crm","command":"c","params":{"a":1},"extra":{"x":2}}`
	base := naiveMessage{ID: wiretest.ID, Module: "crm", Command: "c", Params: `{"a":1}`, Extra: `{"x":2}`, Key: naiveKey(wiretest.ID, body, ""), Body: body}
	with := func(change func(m *naiveMessage)) naiveMessage {
		m := base
		change(&m)
		return m
	}
	sentBy := func(s Sender) naiveMessage { return with(func(m *naiveMessage) { m.Sender = s }) }
	const head = `{"mid":"` + wiretest.ID + `","body":` + body
	inString := `"{\"module_id\":\"Crm\",\"command\":\"c\",\"params\":{\"a\":1},\"extra\":{\"x\":2}}"`
	tests := []struct {
		name, params string
		want         naiveMessage
	}{
		{"no sender", head + `}`, base},
		{"a client", head + `,"sender":{"type":1,"id":"3d523b1f54acc1314542f48e1c770a6d"}}`, sentBy(Sender{SenderClient, "3d523b1f54acc1314542f48e1c770a6d"})},
		{"a client, type in a string", head + `,"sender":{"id":"aa","type":"1"}}`, sentBy(Sender{SenderClient, "aa"})},
		{"the backend", head + `,"sender":{"type":2,"id":""}}`, sentBy(Sender{Type: SenderBackend})},
		{"the backend, type in a string", head + `,"sender":{"type":"2","id":"aa"}}`, sentBy(Sender{Type: SenderBackend})},
		{"a sender nobody knows", head + `,"sender":{"type":3,"id":"aa"}}`, base},
		{"a sender type in words", head + `,"sender":{"type":"backend"}}`, base},
		{"a sender type that is a list", head + `,"sender":{"type":[2]}}`, base},
		{"an empty sender", head + `,"sender":[]}`, base},
		{"a sender that is null", head + `,"sender":null}`, base},
		{"a sender that is a string", head + `,"sender":"2"}`, base},
		{"no time, whatever it says", head + `,"created":1795424435,"expiry":0}`, base},
		{"a body in a string", `{"body":` + inString + `,"mid":"` + wiretest.ID + `"}`, with(func(m *naiveMessage) { m.Key = naiveKey(wiretest.ID, inString, "") })},
		{"a mid in digits", `{"mid":` + wiretest.ID + `,"body":` + body + `}`, base},
		{"no mid", `{"body":` + body + `}`, with(func(m *naiveMessage) { m.ID, m.Key = "", naiveKey("", body, "") })},
		{"a mid that is none", `{"mid":"abc","body":` + body + `}`, with(func(m *naiveMessage) { m.ID, m.Key = "abc", naiveKey("", body, "abc") })},
		{"user_params", head + `,"user_params":{"b":2}}`, with(func(m *naiveMessage) { m.Params = `{"a":1,"b":2}` })},
		{"dictionary", head + `,"dictionary":{"b":2}}`, with(func(m *naiveMessage) { m.Params = `{"a":1,"b":2}` })},
		{"user_params over params", head + `,"user_params":{"a":{"n":2}}}`, with(func(m *naiveMessage) { m.Params = `{"a":{"n":2}}` })},
		{"dictionary over user_params", head + `,"dictionary":{"b":3,"c":4},"user_params":{"b":2,"d":5}}`, with(func(m *naiveMessage) { m.Params = `{"a":1,"b":3,"d":5,"c":4}` })},
		{"a name written otherwise", head + `,"user_params":{"\u0061":2}}`, with(func(m *naiveMessage) { m.Params = `{"a":2}` })},
		{"white space within", head + `,"user_params": { "b" : [ 2 ] } }`, with(func(m *naiveMessage) { m.Params = `{"a":1,"b":[ 2 ]}` })},
		{"extras that are empty lists", head + `,"user_params":[],"dictionary":[]}`, base},
		{"extras that are null", head + `,"user_params":null,"dictionary":null}`, base},
		{"extras that are strings", head + `,"user_params":"{}","dictionary":5}`, base},
		{"an empty extra", head + `,"user_params":{}}`, base},
		{"a body in a string, and user_params", `{"body":` + inString + `,"user_params":{"b":2},"mid":"` + wiretest.ID + `"}`, with(func(m *naiveMessage) {
			m.Params, m.Key = `{"a":1,"b":2}`, naiveKey(wiretest.ID, inString, "")
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages, bad, err := decodeWith(newRPCCodec(nil), strings.NewReader(wiretest.Call(tt.params)))
			if err != nil || len(bad) > 0 || len(messages) != 1 {
				t.Fatalf("%d messages, error %v, undecodable %v", len(messages), err, bad)
			}
			if diff := cmp.Diff(tt.want, naiveOf(messages[0]), exportAll); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if m := messages[0]; m.Transient || m.Size < len(m.Params)+len(m.Extra)+len(m.Sender.ID) {
				t.Errorf("transient %v, size %d", m.Transient, m.Size)
			}
		})
	}
}

func TestCodecRpc_MergeObjects(t *testing.T) {
	tests := []struct{ params, user, dictionary, want string }{
		{``, ``, ``, ``},
		{`{"a":1}`, `[]`, `null`, ``},
		{``, `{"a":1}`, ``, `{"a":1}`},
		{`[]`, `{"a":1}`, ``, `{"a":1}`},
		{` [ ] `, ``, `{"a":1}`, `{"a":1}`},
		{`{}`, `{}`, `{}`, `{}`},
		{`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":3}`},
		{`{"a":{"deep":1}}`, `{"a":{}}`, ``, `{"a":{}}`},
		{`{"a":1,"a":2}`, `{"b":3}`, ``, `{"a":2,"b":3}`},
		{`[1]`, `{"a":1}`, ``, ``},
		{`"text"`, `{"a":1}`, `{"b":1}`, ``},
	}
	for _, tt := range tests {
		if got, err := mergeObjects([]byte(tt.params), []byte(tt.user), []byte(tt.dictionary)); err != nil || string(got) != tt.want || (got == nil) != (tt.want == "") {
			t.Errorf("%s with %s and %s: %s, %v, want %s", tt.params, tt.user, tt.dictionary, got, err, tt.want)
		}
	}
}

// TestCodecRpc_MergeIsBounded: objects of very many members are not merged,
// since that would take many times their size; the messages around are
// delivered.
func TestCodecRpc_MergeIsBounded(t *testing.T) {
	members := func(n int, name string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%s%d":1`, name, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	const most = maxMerged - 1
	if merged, err := mergeObjects([]byte(members(most, "a")), []byte(`{"b":2}`)); err != nil || !strings.HasSuffix(string(merged), `,"b":2}`) {
		t.Errorf("%d members: %v", maxMerged, err)
	}
	if _, err := mergeObjects([]byte(`{"b":2}`), []byte(members(most, "a")), []byte(`{"a0":2}`)); err == nil {
		t.Errorf("more than %d members were merged", maxMerged)
	}
	if testing.Short() {
		return // what follows has hundreds of thousands of members
	}
	for _, name := range []string{"a", `\u0061`} {
		large := members((MaxMessageSize-1000)/(len(name)+10), name)
		frame := "[" + wiretest.GoodCall("before") + "," + wiretest.Call(`{"mid":"`+wiretest.ID+`","body":{"module_id":"m","command":"c"},"user_params":`+large+`}`) + "," + wiretest.GoodCall("after") + "]"
		var before, after runtime.MemStats
		codec := newRPCCodec(nil)
		runtime.ReadMemStats(&before)
		messages, bad, err := decodeWith(codec, strings.NewReader(frame))
		runtime.ReadMemStats(&after)
		if len(messages) != 2 || len(bad) != 1 || err != nil {
			t.Errorf("%d messages, %d undecodable, %v", len(messages), len(bad), err)
		}
		if n := after.Mallocs - before.Mallocs; n > 3*maxMerged {
			t.Errorf("%s: %d allocations for %d bytes", name, n, len(frame))
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8*MaxMessageSize {
			t.Errorf("%s: %d bytes of memory for %d", name, n, len(frame))
		}
	}
}

func TestCodecRpc_RPCFrames(t *testing.T) {
	text := wiretest.Marked(`{"mid":"` + wiretest.ID + `","text":{"module_id":"m","command":"t"}}`)
	lost := errors.New("connection reset")
	tests := []struct {
		name  string
		frame io.Reader
		want  []string
		err   error
	}{
		{"one", strings.NewReader(wiretest.GoodCall("a")), []string{"application a"}, nil},
		{"one in white space", strings.NewReader(" \r\n" + wiretest.GoodCall("a") + "\n"), []string{"application a"}, nil},
		{"a batch", strings.NewReader(" [ " + wiretest.GoodCall("a") + " ,\n" + wiretest.GoodCall("b") + " ] "), []string{"application a", "application b"}, nil},
		{"an empty batch", strings.NewReader("[ ]"), nil, nil},
		{"nothing", strings.NewReader(""), nil, nil},
		{"white space", strings.NewReader(" \n"), nil, nil},
		{"ping", strings.NewReader("ping"), nil, nil},
		{"ping and a line's end", strings.NewReader("ping\n"), nil, nil},
		{"text framing", strings.NewReader("\n" + text + text), []string{"m t", "m t"}, nil},
		{"other calls and answers", strings.NewReader(`[{"jsonrpc":"2.0","method":"other","params":[1]},{"jsonrpc":"2.0","id":1,"result":{"body":{}}},` +
			`{"jsonrpc":"2.0","id":"2","error":{"code":-32600,"message":"x"}},{"method":5},{"method":null},{},` + wiretest.GoodCall("a") + `]`), []string{"application a"}, nil},
		{"a method with an escape", strings.NewReader(strings.Replace(wiretest.GoodCall("a"), "incoming", `\u0069ncoming`, 1)), []string{"application a"}, nil},
		{"a batch without end", strings.NewReader("[" + wiretest.GoodCall("a") + "," + wiretest.GoodCall("b")), []string{"application a"}, ErrFrame},
		{"a batch that has just begun", strings.NewReader("["), nil, ErrFrame},
		{"an object without end", strings.NewReader(wiretest.GoodCall("a")[:50]), nil, ErrFrame},
		{"an object cut in a string", strings.NewReader(`{"meth`), nil, ErrFrame},
		{"more behind a batch", strings.NewReader("[" + wiretest.GoodCall("a") + "]x"), []string{"application a"}, ErrFrame},
		{"more behind an object", strings.NewReader(wiretest.GoodCall("a") + "," + wiretest.GoodCall("b")), []string{"application a"}, ErrFrame},
		{"more behind a ping", strings.NewReader("pingpong"), nil, ErrFrame},
		{"no JSON", strings.NewReader("4010: Wrong Channel Id."), nil, ErrFrame},
		{"half a mark", strings.NewReader("#!NGINX"), nil, ErrFrame},
		{"a number", strings.NewReader("5"), nil, ErrFrame},
		{"connection lost in a batch", io.MultiReader(strings.NewReader("["+wiretest.GoodCall("a")+","), iotest.ErrReader(lost)), []string{"application a"}, lost},
		{"connection lost behind a batch", io.MultiReader(strings.NewReader("["+wiretest.GoodCall("a")+"]"), iotest.ErrReader(lost)), []string{"application a"}, lost},
		{"connection lost in an object", io.MultiReader(strings.NewReader(wiretest.GoodCall("a")[:50]), iotest.ErrReader(lost)), nil, lost},
		{"connection lost at once", iotest.ErrReader(lost), nil, lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			messages, bad, err := decodeWith(newRPCCodec(nil), tt.frame)
			if !errors.Is(err, tt.err) || errors.Is(err, ErrFrame) != (tt.err == ErrFrame) || len(bad) > 0 {
				t.Errorf("got %v, want %v; undecodable %v", err, tt.err, bad)
			}
			if diff := cmp.Diff(tt.want, commandsOf(messages)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCodecRpc_RPCTrustsNoText: in the text framing of a server where clients
// can publish, nobody knows who a message is from.
func TestCodecRpc_RPCTrustsNoText(t *testing.T) {
	for name, f := range wiretest.Frames(t, "pushserver", "text") {
		if !bytes.HasPrefix(f, startMark) {
			continue
		}
		messages, bad, err := decodeWith(newRPCCodec(nil), bytes.NewReader(f))
		if err != nil || len(bad) > 0 || len(messages) == 0 {
			t.Fatalf("%s: %d messages, error %v, undecodable %v", name, len(messages), err, bad)
		}
		for _, m := range messages {
			if m.Sender != (Sender{}) || m.ID == "" || m.Key.Mid.String() != m.ID {
				t.Errorf("%s: message %s from %v", name, m.ID, m.Sender)
			}
		}
	}
}

func TestCodecRpc_RPCSkipsTheUndecodable(t *testing.T) {
	broken := map[string]string{
		"nothing":                ``,
		"a number":               `5`,
		"a list":                 `[{},{"a":[]}]`,
		"a word":                 `foo bar`,
		"no JSON number":         `{"method":NaN}`,
		"a comma too much":       `{"method":"x",}`,
		"control character":      "{\"method\":\"\x01],[\"}",
		"an escape":              `{"method":"\x"}`,
		"a bracket too many":     `{"method":"x"}}`,
		"the wrong bracket":      `{"method":["x"}}`,
		"no params":              `{"method":"incoming.message"}`,
		"params by place":        wiretest.Call(`["` + wiretest.ID + `",{}]`),
		"no body":                wiretest.Call(`{"mid":"` + wiretest.ID + `"}`),
		"body is a list":         wiretest.Call(`{"mid":"` + wiretest.ID + `","body":[]}`),
		"body is null":           wiretest.Call(`{"mid":"` + wiretest.ID + `","body":null}`),
		"body is a number":       wiretest.Call(`{"mid":"` + wiretest.ID + `","body":5}`),
		"a string without JSON":  wiretest.Call(`{"mid":"` + wiretest.ID + `","body":"{"}`),
		"a string with a string": wiretest.Call(`{"mid":"` + wiretest.ID + `","body":"\"{}\""}`),
		"an empty string":        wiretest.Call(`{"mid":"` + wiretest.ID + `","body":""}`),
		"command is a number":    wiretest.Call(`{"body":{"module_id":"m","command":5}}`),
		"an id without end":      wiretest.Call(`{"mid":"` + strings.Repeat("1", 65) + `","body":{"module_id":"m"}}`),
		"over the limit":         wiretest.Call(`{"body":{"params":"` + strings.Repeat("[", MaxMessageSize) + `"}}`),
		"just over the limit":    `"` + strings.Repeat("x", MaxMessageSize-1) + `"`,
		"deep nesting":           strings.Repeat("[", 20000) + strings.Repeat("]", 20000),
	}
	for name, middle := range broken {
		t.Run(name, func(t *testing.T) {
			frame := `[` + wiretest.GoodCall("before") + `,` + middle + `,` + wiretest.GoodCall("behind") + `]`
			var source io.Reader = strings.NewReader(frame)
			if len(frame) < 1<<20 {
				source = iotest.OneByteReader(source)
			}
			messages, bad, err := decodeWith(newRPCCodec(nil), source)
			if diff := cmp.Diff([]string{"application before", "application behind"}, commandsOf(messages)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var decodeErr *RecordError
			if err != nil || len(bad) != 1 || !errors.As(bad[0], &decodeErr) {
				t.Fatalf("error %v, undecodable %v", err, bad)
			}
			if tooLong := new(TooLongError); strings.HasSuffix(name, "over the limit") && !errors.As(bad[0], &tooLong) {
				t.Errorf("the reason is %v", bad[0])
			}
			if strings.Contains(middle, `"mid":"`+wiretest.ID) && decodeErr.ID != wiretest.ID {
				t.Errorf("id %q", decodeErr.ID)
			}
		})
	}
	t.Run("an object alone", func(t *testing.T) {
		for _, name := range []string{"no JSON number", "a bracket too many", "over the limit", "no body"} {
			messages, bad, err := decodeWith(newRPCCodec(nil), strings.NewReader(broken[name]))
			if err != nil || len(messages) != 0 || len(bad) != 1 {
				t.Errorf("%s: %d messages, error %v, undecodable %v", name, len(messages), err, bad)
			}
		}
	})
}

// TestCodecRpc_RPCKeyOfTheUndecodable: params that are none, or with an
// impossible id, are known when they come again.
func TestCodecRpc_RPCKeyOfTheUndecodable(t *testing.T) {
	seen := map[Key]bool{{}: true}
	for _, params := range []string{`[1]`, `[2]`, `{"mid":"` + strings.Repeat("1", 65) + `"}`} {
		_ = newRPCCodec(nil).Decode(strings.NewReader(wiretest.Call(params)), func(m *Record, err error) bool {
			if err == nil || seen[m.Key] {
				t.Errorf("%s: key %v, %v", params, m.Key, err)
			}
			seen[m.Key] = true
			return true
		})
	}
	if len(seen) != 4 {
		t.Errorf("%d keys", len(seen)-1)
	}
}

// TestCodecRpc_RPCKeepsNothingOfTheFrame: a message stays what it is when the
// codec reads on.
func TestCodecRpc_RPCKeepsNothingOfTheFrame(t *testing.T) {
	c := newRPCCodec(nil)
	call := func(digit string) string {
		return wiretest.Call(`{"mid":"`+digit+`","body":"{}","sender":{"type":1,"id":"`+digit+`"},"user_params":{"n":`+digit+`}}`) +
			`,` + wiretest.Call(`{"mid":"`+digit+`","body":{"params":[`+digit+`],"extra":{"x":`+digit+`}}}`)
	}
	first, _, _ := decodeWith(c, strings.NewReader("["+call("1")+"]"))
	if _, bad, err := decodeWith(c, strings.NewReader("["+call("2")+"]")); err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	if m := first[0]; string(m.Params) != `{"n":1}` || m.ID != "1" || m.Sender.ID != "1" {
		t.Errorf("the first message became %s %s %v", m.ID, m.Params, m.Sender)
	}
	if m := first[0]; m.Size != len(`{}`)+len(`1`)+cap(m.Params) {
		t.Errorf("size %d, with params of %d", m.Size, cap(m.Params))
	}
	if m := first[1]; string(m.Params) != `[1]` || string(m.Extra) != `{"x":1}` {
		t.Errorf("the second message became %s %s", m.Params, m.Extra)
	}
}

func TestCodecRpc_RPCStopsEarly(t *testing.T) {
	for _, frame := range []string{wiretest.GoodCall("a"), "[" + wiretest.GoodCall("a") + "," + wiretest.GoodCall("b") + "]", wiretest.Marked(goodText("a"), goodText("b"))} {
		n := 0
		if err := newRPCCodec(nil).Decode(strings.NewReader(frame), func(*Record, error) bool { n++; return false }); n != 1 || err != nil {
			t.Errorf("%d messages, %v", n, err)
		}
	}
}
