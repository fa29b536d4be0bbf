package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzScan holds the scanner against encoding/json: what is valid, and which
// members an object has.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, `[]`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1 "b":2}`, `[1,]`, `[,1]`, `[1 2]`,
		`-`, `-0`, `01`, `1.`, `.1`, `1e`, `1e+`, `-1.5E-10`, `1.e1`, `tru`, `true`, `nul`, `null`, `"\u12"`, `"\u12ag"`, `"\x"`, `"\`, `"a`,
		"\"\x01\"", "\"\x7f\xff\"", `{"a":{"b":[{"c":null}]},"d":"}"} `, `{} {}`, `{"\u0061":1,"a":2}`,
		strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting),
		strings.Repeat("[", maxNesting+1) + strings.Repeat("]", maxNesting+1),
		`{"a":` + strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		members := map[string]string{}
		err := eachMember(b, func(name, value []byte) error {
			members[string(name)] = string(value)
			return nil
		})
		if valid := json.Valid(b); valid == (err == errNoJSON) {
			t.Fatalf("valid is %v, got %v", valid, err)
		}
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(b, &want) == nil && want != nil
		if isObject != (err == nil) {
			t.Fatalf("is an object: %v, got %v", isObject, err)
		}
		for name, value := range want {
			if got, ok := members[strings.ToValidUTF8(name, "\ufffd")]; ok && got != string(value) {
				t.Errorf("member %q is %q, want %q", name, got, value)
			}
		}
		if isObject && len(members) < len(want) {
			t.Errorf("%d members, want %d", len(members), len(want))
		}
	})
}
