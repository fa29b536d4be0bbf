package quote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestQuote_Text(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"Метод не найден «x»":            "Метод не найден «x»",
		"a\nb\r\tc":                      `a\nb\r\tc`,
		"\x1b[31mred\x07":                `\x1b[31mred\a`,
		"c1 \u009b31m \x9b":              `c1 \u009b31m \x9b`,
		"\u202egnp.exe\u2066":            `\u202egnp.exe\u2066`,
		"a\u200bb\u200d\ufeff":           `a\u200bb\u200d\ufeff`,
		"\u2028\u2029\u00a0":             `\u2028\u2029\u00a0`,
		"\U000e0041tag":                  `\U000e0041tag`,
		"\ufffd is \xf0\x28":             "\ufffd is " + `\xf0(`,
		`it's "as it is"\n`:              `it's "as it is"\n`,
		strings.Repeat("é", 30) + "\x1b": strings.Repeat("é", 30) + "…",
		strings.Repeat("\x1b", 31):       strings.Repeat(`\x1b`, 30) + "…",
	} {
		got := Text(text, 30)
		if got != want || !Printable(got) {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestQuote_JSON(t *testing.T) {
	for raw, want := range map[string]string{
		`{"a":"b c"}`:                           `{"a":"b c"}`,
		"{\n\t\"a\":\r\n1}":                     `{  "a":  1}`,
		"[\"\u202e\u009b\x7f\U000e0041é\xff\"]": `["\u202e\u009b\u007f\udb40\udc41é` + "\ufffd" + `"]`,
		"":                                      "",
	} {
		got := JSON([]byte(raw), 100)
		if got != want || !Printable(got) {
			t.Errorf("%q became %q, want %q", raw, got, want)
		}
		var before, after any
		if raw != "" && (json.Unmarshal([]byte(raw), &before) != nil || json.Unmarshal([]byte(got), &after) != nil || fmt.Sprint(before) != fmt.Sprint(after)) {
			t.Errorf("%q became other JSON: %q", raw, got)
		}
	}
	if got := JSON([]byte(strings.Repeat("\u202e", 1000)), 3); got != `\u202e\u202e\u202e…` {
		t.Errorf("got %q", got)
	}
}

func TestQuote_Error(t *testing.T) {
	if err := Error(io.EOF); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if Error(nil) != nil {
		t.Error("an error of none")
	}
	err := Error(fmt.Errorf("read \x1b[2J: %w", io.EOF))
	if err.Error() != `read \x1b[2J: EOF` || !errors.Is(err, io.EOF) {
		t.Errorf("got %q", err)
	}
	if err := Error(errors.New(strings.Repeat("word ", 1e6))); len(err.Error()) > TextLimit+3 {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("a\x1b\u202e\xff", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit%100)
		text, js := Text(s, limit), JSON([]byte(s), limit)
		if !Printable(text) || !Printable(js) || Text(text, 12*limit+1) != text {
			t.Errorf("%q became %q and %q", s, text, js)
		}
	})
}
