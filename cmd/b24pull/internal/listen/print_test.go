package listen

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/b24pull/b24pull/realtime"
)

// TestPrint_EventHostile: what a server sends moves no cursor, hides nothing and
// begins no line of its own, as text and as JSON, which means the same as
// before.
func TestPrint_EventHostile(t *testing.T) {
	const hostile = "a\x1b[2J\u202e\u200b\u009b31m\x7f\u2028\U000e0041\n# forged\r\a\xff"
	params, err := json.Marshal(map[string]string{hostile: hostile})
	if err != nil {
		t.Fatal(err)
	}
	raw := json.RawMessage(`{"` + "\u202e\u009b\x7f" + `" :` + "\n\t" + `"` + "\u200b" + `"}`)
	for _, p := range []json.RawMessage{params, raw, nil} {
		for _, asJSON := range []bool{false, true} {
			var out strings.Builder
			m := realtime.Message{Module: hostile, Command: hostile, ID: hostile, Params: p, Sender: realtime.Sender{ID: hostile}}
			if err := printEvent(&out, m, asJSON); err != nil {
				t.Error(err)
				continue
			}
			line, more := strings.CutSuffix(out.String(), "\n")
			if !more || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("JSON %v: %q", asJSON, out.String())
			}
			if !asJSON {
				continue
			}
			var got, exactly realtime.Message
			var want string
			plain, _ := json.Marshal(hostile)
			if json.Unmarshal([]byte(line), &got) != nil || json.Unmarshal(plain, &want) != nil || got.Command != want || got.Sender.ID != want {
				t.Errorf("%q became %q", want, got)
			}
			if form, err := json.Marshal(m); err != nil || string(form) != line || json.Unmarshal(form, &exactly) != nil || got.Key() != m.Key() {
				t.Errorf("printed %s, the JSON form is %s, %v", line, form, err)
			}
		}
	}
}
