package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// decodeAnswers decodes a frame, and keeps the answers in it.
func decodeAnswers(frame []byte) (answers []Answer, messages []Record, bad []error, err error) {
	c := newRPCCodec(func(a Answer) { answers = append(answers, a.Clone()) })
	messages, bad, err = decodeWith(c, sourceOf(frame))
	return answers, messages, bad, err
}

// described is an answer in words.
func described(a Answer) string {
	var refused *RPCError
	switch {
	case errors.As(a.Err, &refused):
		return fmt.Sprintf("%d: error %d %q %s", a.ID, refused.Code, refused.Message, refused.Data)
	case a.Err != nil:
		return fmt.Sprintf("%d: %v", a.ID, a.Err)
	default:
		return fmt.Sprintf("%d: %s", a.ID, a.Result)
	}
}

func TestRpc_Calls(t *testing.T) {
	tests := []struct {
		id     uint64
		method string
		params string
		want   string
	}{
		{1, "ping", "", `{"jsonrpc":"2.0","id":1,"method":"ping"}`},
		{1<<64 - 1, "publish", `{"body":{}}`, `{"jsonrpc":"2.0","id":18446744073709551615,"method":"publish","params":{"body":{}}}`},
		{2, "a\"\n\xff", `[1]`, `{"jsonrpc":"2.0","id":2,"method":"a\"\n\ufffd","params":[1]}`},
	}
	for _, tt := range tests {
		var params json.RawMessage
		if tt.params != "" {
			params = json.RawMessage(tt.params)
		}
		if got := string(AppendCall([]byte("before "), tt.id, tt.method, params)); got != "before "+tt.want {
			t.Errorf("%s", got)
		}
	}
}

// TestRpc_Answers: what is an answer, and what it says; the messages between
// are delivered.
func TestRpc_Answers(t *testing.T) {
	message := wiretest.GoodCall("a")
	tests := map[string]struct {
		frame    string
		answers  []string
		messages int
	}{
		"a result":                         {`{"jsonrpc":"2.0","id":1,"result":{"2":0,"3":[1, 2]}}`, []string{`1: {"2":0,"3":[1, 2]}`}, 0},
		"no value":                         {`{"jsonrpc":"2.0","id":1,"result":null}`, []string{`1: null`}, 0},
		"an id in a string":                {`{"result":true,"id":"18446744073709551615"}`, []string{`18446744073709551615: true`}, 0},
		"an error":                         {`{"id":7,"error":{"code":-32601,"message":"Method not found","data":{"a":1}}}`, []string{`7: error -32601 "Method not found" {"a":1}`}, 0},
		"an error without data":            {`{"id":7,"error":{"code":"-32602","message":"é","data":null}}`, []string{`7: error -32602 "é" `}, 0},
		"an error in words":                {`{"id":7,"error":"no"}`, []string{`7: error 0 "no" `}, 0},
		"an error that is none":            {`{"id":7,"error":[1]}`, []string{`7: error 0 "" `}, 0},
		"a code that is none":              {`{"id":7,"error":{"code":1e99,"message":5}}`, []string{`7: error 0 "5" `}, 0},
		"both":                             {`{"id":7,"error":{"code":1,"message":"m"},"result":1}`, []string{`7: error 1 "m" `}, 0},
		"an error that is null":            {`{"id":7,"error":null,"result":1}`, []string{`7: 1`}, 0},
		"nothing but an error of null":     {`{"id":7,"error":null}`, []string{`7: null`}, 0},
		"a method of null":                 {`{"id":7,"method":null,"result":1}`, []string{`7: 1`}, 0},
		"twice the same":                   {`{"id":7,"result":1,"id":8,"result":2}`, []string{`8: 2`}, 0},
		"nothing":                          {`{"id":7}`, nil, 0},
		"no id":                            {`{"result":1}`, nil, 0},
		"an id of null":                    {`{"id":null,"error":{"code":-32700,"message":"Parse error"}}`, nil, 0},
		"a negative id":                    {`{"id":-1,"result":1}`, nil, 0},
		"an id with a fraction":            {`{"id":1.0,"result":1}`, nil, 0},
		"an id that is too large":          {`{"id":18446744073709551616,"result":1}`, nil, 0},
		"an id that is very long":          {`{"id":"` + strings.Repeat("0", 1<<20) + `1","result":1}`, nil, 0},
		"an id in words":                   {`{"id":"one","result":1}`, nil, 0},
		"a list for an id":                 {`{"id":[1],"result":1}`, nil, 0},
		"a call":                           {`{"id":7,"method":"ping","result":1}`, nil, 0},
		"a message that has a result":      {strings.TrimSuffix(message, "}") + `,"id":1,"result":1}`, nil, 1},
		"a batch with messages":            {`[` + message + `,{"id":1,"result":1}, ` + message + `,{"id":2,"error":{"code":3}},{"id":3,"result":{}} ]`, []string{`1: 1`, `2: error 3 "" `, `3: {}`}, 2},
		"a batch of answers":               {`[{"id":1,"result":1},{"id":1,"result":2}]`, []string{`1: 1`, `1: 2`}, 0},
		"a batch that breaks off":          {`[{"id":1,"result":1},{"id":2,"result":`, []string{`1: 1`}, 0},
		"as long as it may be":             {sized(MaxAnswerSize), []string{`5: "` + strings.Repeat("x", MaxAnswerSize-len(`{"id":5,"result":""}`)) + `"`}, 0},
		"too long, and a message after it": {`[` + sized(MaxAnswerSize+1) + `,` + message + `]`, []string{`5: it has 1048577 bytes, over 1048576`}, 1},
	}
	for name, tt := range tests {
		answers, messages, _, _ := decodeAnswers([]byte(tt.frame))
		var got []string
		for _, a := range answers {
			got = append(got, described(a))
		}
		if name == "too long, and a message after it" && len(got) == 1 {
			var tooLong *TooLongError
			if !errors.As(answers[0].Err, &tooLong) || tooLong.Size != MaxAnswerSize+1 || answers[0].Result != nil {
				t.Errorf("%s: %.200v", name, answers[0])
			}
			got = tt.answers
		}
		if diff := cmp.Diff(tt.answers, got); diff != "" || len(messages) != tt.messages {
			t.Errorf("%s: %d messages; answers (-want +got):\n%.1000s", name, len(messages), diff)
		}
	}
}

// sized is an answer of so many bytes.
func sized(n int) string {
	const frame = `{"id":5,"result":""}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("x", n-len(frame))+`"`, 1)
}

// TestRpc_AnswersCostLittle: a flood of answers to nobody takes no memory.
func TestRpc_AnswersCostLittle(t *testing.T) {
	const n = 1000
	frame := "[" + strings.Repeat(`{"jsonrpc":"2.0","id":123456,"result":{"2":0,"3":[1,2,"text"]}},`, n)
	frame = frame[:len(frame)-1] + "]"
	answers := 0
	c := newRPCCodec(func(Answer) { answers++ })
	allocs := testing.AllocsPerRun(10, func() {
		if _, _, err := decodeWith(c, strings.NewReader(frame)); err != nil {
			t.Fatal(err)
		}
	})
	if answers < n || allocs > n {
		t.Errorf("%.0f allocations for %d answers", allocs, n)
	}
}

// naiveAnswers are the answers in a frame, read with encoding/json.
func naiveAnswers(frame []byte) (answers []string) {
	frame = bytes.Trim([]byte(naiveBegin(string(frame))), " \t\r\n")
	if len(frame) == 0 || frame[0] != '[' && frame[0] != '{' {
		return nil
	}
	elements, _ := naiveElements(frame)
	for _, e := range elements {
		o := naiveObject(e)
		id, err := strconv.ParseUint(naivePlain(o["id"]), 10, 64)
		if m := o["method"]; err != nil || len(naivePlain(o["id"])) > 20 || m != nil && string(m) != "null" || o["result"] == nil && o["error"] == nil {
			continue
		}
		a := Answer{ID: id, Result: o["result"]}
		switch failed := o["error"]; {
		case failed != nil && string(failed) != "null":
			by := naiveObject(failed)
			refused := &RPCError{Message: naivePlain(failed)}
			if by != nil {
				refused.Message = naivePlain(by["message"])
				code, _ := strconv.ParseInt(naivePlain(by["code"]), 10, 32)
				if err := json.Unmarshal([]byte(naivePlain(by["code"])), new(int32)); err == nil {
					refused.Code = int(code)
				}
				if d := by["data"]; string(d) != "null" {
					refused.Data = d
				}
			}
			a.Result, a.Err = nil, refused
		case a.Result == nil:
			a.Result = json.RawMessage("null")
		}
		answers = append(answers, described(a))
	}
	return answers
}

// FuzzRPCAnswers compares the answers in a frame with those that the naive
// decoder finds, and the messages in it with those that are found where nobody
// wants answers.
func FuzzRPCAnswers(f *testing.F) {
	for _, frame := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"2":0}}`,
		`[{"id":"7","error":{"code":-32601,"message":"Method \u006eot found","data":[1]}},` + wiretest.GoodCall("a") + `,{"id":2,"result":null}]`,
		`{"id":7,"error":"no","result":1}`,
		`{"id":18446744073709551616,"method":null,"result":[]}`,
		`[{"id":1,"result":1},{"id":2,"result":`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		answers, messages, bad, err := decodeAnswers(frame)
		without, badWithout, errWithout := decodeWith(newRPCCodec(nil), sourceOf(frame))
		if diff := cmp.Diff(without, messages, exportAll); diff != "" || len(bad) != len(badWithout) || fmt.Sprint(err) != fmt.Sprint(errWithout) {
			t.Errorf("answers change what is decoded beside them: %v, %v: %s", err, errWithout, diff)
		}
		var got []string
		for _, a := range answers {
			got = append(got, described(a))
		}
		want := naiveAnswers(frame)
		if (err != nil || len(bad) > 0) && len(want) < len(got) {
			got = got[:len(want)] // the naive decoder stops where the frame is not in order
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-naive +got):\n%s", diff)
		}
	})
}

// FuzzRPCCalls writes a call and reads it with encoding/json; and answers it
// with that, in a batch with a message, and reads the answer.
func FuzzRPCCalls(f *testing.F) {
	f.Add(uint64(1), "ping", []byte(""), "Method not found", -32601)
	f.Add(uint64(1<<64-1), "publish", []byte(`{"userList":[1,2],"body":{"module_id":"m"}}`), "é\u2028\"", 0)
	f.Fuzz(func(t *testing.T, id uint64, method string, params []byte, message string, code int) {
		if len(params) == 0 || !json.Valid(params) {
			params = nil
		}
		var call struct {
			Version string          `json:"jsonrpc"`
			ID      uint64          `json:"id"`
			Method  string          `json:"method"`
			Params  json.RawMessage `json:"params"`
		}
		strict := json.NewDecoder(bytes.NewReader(AppendCall(nil, id, method, params)))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&call); err != nil {
			t.Fatal(err)
		}
		want := json.RawMessage(bytes.TrimSpace(params))
		if call.Version != "2.0" || call.ID != id || call.Method != strings.ToValidUTF8(method, "\ufffd") && call.Method != naivePlain([]byte(marshaled(method))) || string(call.Params) != string(want) && params != nil {
			t.Errorf("read %+v", call)
		}
		type failure struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		answer := map[string]any{"jsonrpc": "2.0", "id": id, "result": call.Params}
		expected := Answer{ID: id, Result: json.RawMessage(marshaled(call.Params))}
		if code != 0 {
			code = int(int32(code))
			answer = map[string]any{"jsonrpc": "2.0", "id": id, "error": failure{code, message}}
			expected = Answer{ID: id, Err: &RPCError{Code: code, Message: naivePlain([]byte(marshaled(message)))}}
		}
		frame := "[" + wiretest.GoodCall("a") + "," + marshaled(answer) + "," + wiretest.GoodCall("b") + "]"
		answers, messages, bad, err := decodeAnswers([]byte(frame))
		if err != nil || len(bad) > 0 || len(messages) != 2 || len(answers) != 1 {
			t.Fatalf("%d messages, %d answers, %v, %v", len(messages), len(answers), bad, err)
		}
		if got := described(answers[0]); got != described(expected) {
			t.Errorf("answer %s, want %s", got, described(expected))
		}
	})
}
