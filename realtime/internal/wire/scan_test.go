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
		` {"module_id":"a","command":"\u0062","params":{"extra":1},"extra":null,"x":[]}`, `{"command":5,"p\u0061rams":[],"params":{}}`,
		strings.Repeat("[", 20) + strings.Repeat("]", 20),
		`{"a":` + strings.Repeat(`[{"":`, 10) + "5" + strings.Repeat("}]", 10) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(scanAsJSON)
}

// TestScan_Nesting: what is nested too deeply is as invalid as encoding/json has
// it. A fuzzer that is given such seeds does little else.
func TestScan_Nesting(t *testing.T) {
	depths := []int{maxNesting - 2, maxNesting - 1, maxNesting, maxNesting + 1}
	if testing.Short() {
		depths = []int{maxNesting - 1, maxNesting + 1}
	}
	for _, depth := range depths {
		for _, around := range []struct{ open, inner, shut string }{{"[", "", "]"}, {"[", "5", "]"}, {`{"a":`, "{}", "}"}, {`{"a":`, "[]", "}"}, {`{"a":`, "5", "}"}} {
			nested := strings.Repeat(around.open, depth) + around.inner + strings.Repeat(around.shut, depth)
			scanAsJSON(t, []byte(nested))
			scanAsJSON(t, []byte(`{"a":`+nested+`}`))
			scanAsJSON(t, []byte(nested[1:]))
		}
	}
}

func scanAsJSON(t *testing.T, b []byte) {
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

	var parts bodyParts
	begin := skipSpace(b, 0)
	end := skipBody(b, begin, 0, &parts)
	if ended := end >= 0 && skipSpace(b, end) == len(b); ended != (err != errNoJSON) {
		t.Fatalf("as a body it ends at byte %d of %d, got %v", end, len(b), err)
	}
	if !isObject {
		return
	}
	for name, p := range map[string]part{"module_id": parts.module, "command": parts.command, "params": parts.params, "extra": parts.extra} {
		if got, ok := members[name]; ok != (p.to > 0) || ok && got != string(p.of(b[begin:end])) {
			t.Errorf("%s of a body is %q, want %q", name, b[begin:end][p.from:p.to], got)
		}
	}
	isText := func(name string) bool { return members[name] == "" || members[name][0] == '"' }
	if parts.known && !(isText("module_id") && isText("command")) {
		t.Error("a name that is no string is known")
	}
}
