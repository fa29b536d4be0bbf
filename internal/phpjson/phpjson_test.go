package phpjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func hasResult(fields map[string]json.RawMessage) bool {
	return fields["result"] != nil || fields["error"] != nil
}

func TestPhpjson_Find(t *testing.T) {
	const notice = "<br />\n<b>Notice</b>:  Undefined variable $x in <b>/a/b.php</b> on line <b>3</b><br />\n"
	tests := map[string]struct{ in, want string }{
		"JSON":                    {`{"result":true}`, `{"result":true}`},
		"JSON of another kind":    {" [1] ", " [1] "},
		"a byte order mark":       {BOM + `{"result":true}`, `{"result":true}`},
		"many":                    {BOM + "\r\n" + BOM + ` {"result":true}` + BOM + "\n", `{"result":true}`},
		"before a scalar":         {BOM + `"x"`, `"x"`},
		"a notice":                {notice + `{"result":{"a":[1]}}`, `{"result":{"a":[1]}}`},
		"a mark and a notice":     {BOM + notice + BOM + `{"error":"x"}`, `{"error":"x"}`},
		"a notice behind":         {`{"result":true}` + notice, `{"result":true}`},
		"on both sides":           {notice + `{"result":true}` + notice, `{"result":true}`},
		"braces in it":            {`Warning: {closure} {{ } "{" [0] in x` + "\n" + `{"result":true}`, `{"result":true}`},
		"another object in it":    {`Warning: bad {"a":1} in x {"result":true}`, `{"result":true}`},
		"a broken object in it":   {`Warning: bad {"a":1, in x {"result":true}`, `{"result":true}`},
		"a list in it":            {`Warning: bad [{"error":"no"}] in x {"result":true}`, `{"result":true}`},
		"an answer quoted in it":  {`Debug: {"error":"x"} and {"result":true}`, `{"result":true}`},
		"the first stays":         {`{"result":true}{"result":false}`, `{"result":true}`},
		"a quote that stays open": {`Warning: unexpected "{" in x.php {"result":true}`, `{"result":true}`},

		"cut":                 {`{"result":{"error":"x"},"ti`, ""},
		"cut behind a list":   {`{"result":[{"error":"x"},{"re`, ""},
		"a notice, and cut":   {notice + `{"result":{"error":"x"},"ti`, ""},
		"a page":              {`<!DOCTYPE html><html><script>var x = {"result":true}</script></html>`, ""},
		"a part of a page":    {"\n<Script>window.state={\"error\":\"x\"}</script>", ""},
		"nothing of the kind": {`Fatal error: {"a":1}`, ""},
		"no JSON":             {"{{{", ""},
		"nothing":             {"", ""},
	}
	for name, tt := range tests {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := string(Find([]byte(tt.in), hasResult)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestPhpjson_FindIsBounded: what would take a search for each of its bytes is given
// up.
func TestPhpjson_FindIsBounded(t *testing.T) {
	size := 1 << 20
	if testing.Short() {
		size >>= 2
	}
	for name, unit := range map[string]string{"braces": "{", "brackets": "[", "open members": `x{"a:`, "nested": `{"a":`, "strings": `{"`, "closed": "{}"} {
		text := []byte(strings.Repeat(unit, size/len(unit)))
		s := search{data: text, is: hasResult, budget: budgetFactor * len(text)}
		if found := s.run(); found != nil {
			t.Errorf("%s: found %.20s", name, found)
		}
		if s.budget < -2*len(text) {
			t.Errorf("%s: %d bytes over the budget", name, -s.budget)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte(BOM + `x {"result":{"a":1}} y`))
	f.Add([]byte(`{"result":{"error":"x"},"ti`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := Find(data, hasResult)
		if len(got) == 0 || json.Valid(got) {
			return
		}
		if string(got) != string(data) {
			t.Errorf("%q: got %q, which is neither JSON nor the whole", data, got)
		}
	})
}

// TestPhpjson_PagesAreLookedForOnce: however many objects there are, each byte before
// them is looked at once for a page.
func TestPhpjson_PagesAreLookedForOnce(t *testing.T) {
	data := []byte("x" + strings.Repeat(`{"result":1}`, 200_000) + "x")
	s := search{data: data, is: func(map[string]json.RawMessage) bool { return true }}
	looked := 0
	for at := 1; at < len(data)-1; at += 12 {
		before := s.looked
		if s.page(at) {
			t.Fatal("a page")
		}
		looked += s.looked - max(0, before-len("<!doctype"))
	}
	if looked > 2*len(data) {
		t.Errorf("%d bytes of %d are looked at", looked, len(data))
	}
	split := search{data: []byte(`{"a":1}<html>{"a":2}`)}
	if split.page(10) || !split.page(13) || !split.page(14) {
		t.Error("a page that begins before an object is not seen")
	}
}
