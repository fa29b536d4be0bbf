package doctor

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestValues_Compare: what a server, or PHP, makes of values is told by its
// place; what means the same is no change.
func TestValues_Compare(t *testing.T) {
	tests := []struct {
		name, want, got string
		changed         []string
	}{
		{"the same", awkward, awkward, nil},
		{"PHP's empty array", `{"a": {}, "b": [{}]}`, `{"a": [], "b": [[]]}`, nil},
		{"another order, another way to write", `{"a": 1, "b": 1e-7}`, `{"b": 0.0000001, "a": 1.0}`, nil},
		{"an integer of JavaScript", `{"big": [9007199254740993]}`, `{"big": [9007199254740992]}`, []string{"big.0: 9007199254740993 is now 9007199254740992"}},
		{"a float of PHP", `9223372036854775807`, `9.2233720368547758e+18`, nil},
		{"text in place of a number", `{"n": 7}`, `{"n": "7"}`, []string{`n: 7 is now "7"`}},
		{"null that is gone", `{"n": null, "m": 1}`, `{"m": 1}`, []string{"n is missing"}},
		{"null that is empty", `{"n": null}`, `{"n": ""}`, []string{`n: null is now ""`}},
		{"lost signs", `{"s": "a👩b"}`, `{"s": "a?b"}`, []string{`s: "a👩b" is now "a?b"`}},
		{"an array that is flat", `{"a": [[], [[]]]}`, `{"a": [[]]}`, []string{"a: [[],[[]]] is now [[]]"}},
		{"an array in place of text", `"a"`, `["a"]`, []string{`: "a" is now ["a"]`}},
		{"many", `[1, 2, 3, 4, 5, 6]`, `[0, 0, 0, 0, 0, 0]`, []string{".0: 1 is now 0", ".1: 2 is now 0", ".2: 3 is now 0", ".3: 4 is now 0", "and more"}},
	}
	for _, tt := range tests {
		want, err := decode([]byte(tt.want))
		got, err2 := decode([]byte(tt.got))
		if err != nil || err2 != nil {
			t.Fatal(tt.name, err, err2)
		}
		var c comparison
		c.compare("", want, got)
		if diff := cmp.Diff(tt.changed, c.changed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestReport_JSON: a report can be read again from its JSON, where each status
// is a word, and only checks that have failed make an error of it.
func TestReport_JSON(t *testing.T) {
	report := Report{Portal: "https://portal.example", Checks: []Result{
		{Name: "polls", Status: Fail, Detail: "HTTP 404", Advice: "look", Duration: 5_000_000},
		{Name: "idle", Status: Skip, Detail: "not asked for"},
		{Name: "REST", Status: Pass}, {Name: "user", Status: Warn, Detail: "none"},
	}}
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`{"name":"polls","status":"fail","detail":"HTTP 404","advice":"look","duration_ms":5}`, `"status":"skip"`, `"status":"pass"`, `"status":"warn"`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("%s is not in %s", part, data)
		}
	}
	var again Report
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, again); diff != "" {
		t.Error(diff)
	}
	if got, want := report.Err().Error(), "doctor: polls: HTTP 404 (look)"; got != want {
		t.Errorf("the error is %q; want %q", got, want)
	}
	if err := (Report{Checks: report.Checks[1:]}).Err(); err != nil {
		t.Errorf("without a failure: %v", err)
	}
	if err := json.Unmarshal([]byte(`"well"`), new(Status)); err == nil {
		t.Error("well is taken for a status")
	}
	if _, err := Status(9).MarshalText(); err == nil {
		t.Error("status 9 is written")
	}
}

// TestExplain_Proxy: the name of a status alone is a proxy's; anything else is
// not.
func TestExplain_Proxy(t *testing.T) {
	for text, want := range map[string]string{"Forbidden": "Forbidden", "Bad Gateway": "Bad Gateway", "OK": "", "forbidden by a handler": ""} {
		if got := refusedByProxy(errors.New(text)); got != want {
			t.Errorf("of %q: %q", text, got)
		}
	}
}

// TestPolled_BrokenOff: an answer that ends in the middle is said to, and not
// that none of it cannot be read.
func TestPolled_BrokenOff(t *testing.T) {
	f := (&polled{messages: 3, err: io.ErrUnexpectedEOF}).judge()
	if f.status != Warn || f.detail != "3 messages, and then: the connection was cut before the answer was complete" || f.advice == "" {
		t.Errorf("%s, %s (%s)", f.status, f.detail, f.advice)
	}
}
