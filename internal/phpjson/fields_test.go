package phpjson

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzFields: objects are taken apart as encoding/json would, and its strings
// are decoded the same.
func FuzzFields(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":"b","c":[1,{"d":"}"}],"e":{"f":[]}}`, `{"a" : null , "b":true}`, `{"a":1,"a":2}`,
		`{"\u0061":"\ud800","b\"":"\\\"","":""}`, "{\"\xff\":\"\xff\"}", `{"a":-1.5e3,"b":[[[]]],"c":{}}`, "\n{\t\"a\"\r:\n[ ]\t}\n", `{"a":"b`, `{"a"}`, `[1]`, `"a`, "\"a\nb\"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		text = Trim(text)
		var want map[string]json.RawMessage
		var wrong error
		if KindOf(text) == KindObject && json.Unmarshal(text, &want) != nil {
			wrong = Node{Path: "x", Raw: text}.Want("an object")
		}
		var err error
		got := Node{Path: "x", Raw: text}.Object(&err)
		if KindOf(text) == KindObject && (!maps.EqualFunc(got.Fields, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) || (err == nil) != (wrong == nil)) {
			t.Errorf("Object: %s, %v, want %v", cmp.Diff(want, got.Fields), err, wrong)
		}
		for _, raw := range append([]json.RawMessage{text}, got.Fields["a"]) {
			var want string
			wrong := json.Unmarshal(raw, &want)
			if got, ok := Text(raw); got != want || ok != (wrong == nil) {
				t.Errorf("Text(%q): %q, %v, want %q, %v", raw, got, ok, want, wrong)
			}
		}
	})
}
