package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/internal/quote"
)

// awkward are values that something on the way may change: a database, PHP, a
// JavaScript server, a framing with delimiters.
const awkward = `{
	"unicode": "Ёж 日本 👩‍👩‍👧 é \u202e\u2028\ufeff",
	"markup": "</script><!-- <b> & ' \" \\ / %41 + \\u0041",
	"delimiters": "#!NGINXNME!##!NGINXNMS!#",
	"control": "\u0000\u0001\b\f\n\r\t\u001f\u007f",
	"empty": "", "null": null, "true": true, "false": false,
	"nested": [[], [[]], {"a": []}, {"b": {}}],
	"numbers": [0, -1, 0.1, 1e-7, 1.5e300],
	"big": [9007199254740993, 9223372036854775807, -9223372036854775808],
	"text of numbers": ["0", "007", "1e3", "9007199254740993"],
	"keys": {"": 1, " ": 2, "ключ": 3, "a.b": 4}
}`

// values sends awkward values, and looks what has become of them.
func (x *examination) values(ctx context.Context, l *listener, to []int64) finding {
	want, err := decode([]byte(awkward))
	if err != nil {
		return failed(err)
	}
	a, f := x.back(ctx, l, "values", to, map[string]any{"values": json.RawMessage(awkward)})
	if f.status != Pass {
		return f
	}
	var params struct{ Values json.RawMessage }
	err = json.Unmarshal(a.message.Params, &params)
	got, err2 := decode(params.Values)
	if err != nil || err2 != nil {
		return finding{Fail, "the values came back as no JSON", adviseBetween}
	}
	var c comparison
	c.compare("", want, got)
	if len(c.changed) > 0 {
		return finding{Warn, "changed on the way: " + strings.Join(c.changed, "; "), "send such values as text, or another way: not each part between PHP and here keeps them"}
	}
	return pass("Unicode, control characters, null, empty arrays and large integers came back as they were, %s", f.detail)
}

// decode decodes JSON, and leaves numbers as they are written.
func decode(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return v, d.Decode(&v)
}

// A comparison gathers where two values differ.
type comparison struct{ changed []string }

// compare compares two values, as PHP would: it knows no empty object, and
// writes one as an empty array.
func (c *comparison) compare(path string, want, got any) {
	wantObject, object := want.(map[string]any)
	gotObject, same := got.(map[string]any)
	if object && same {
		for _, name := range slices.Sorted(maps.Keys(wantObject)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			if v, there := gotObject[name]; there {
				c.compare(at, wantObject[name], v)
			} else {
				c.differs(at, wantObject[name], nil, " is missing")
			}
		}
		return
	}
	wantList, list := want.([]any)
	gotList, same := got.([]any)
	switch {
	case list && same && len(wantList) == len(gotList):
		for i := range wantList {
			c.compare(path+"."+strconv.Itoa(i), wantList[i], gotList[i])
		}
	case isEmpty(want) && isEmpty(got), equalNumbers(want, got):
	case object || list || isComposite(got) || want != got:
		c.differs(path, want, got, "")
	}
}

func isComposite(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// isEmpty reports whether v is an empty array or object.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// equalNumbers reports whether two numbers are one, however they are written.
func equalNumbers(a, b any) bool {
	an, ok := a.(json.Number)
	bn, ok2 := b.(json.Number)
	if !ok || !ok2 {
		return false
	}
	if an == bn {
		return true
	}
	const long = 40 // digits; an exponent of a server's can be any
	if len(bn) > long {
		return false
	}
	af, err := strconv.ParseFloat(string(an), 64)
	bf, err2 := strconv.ParseFloat(string(bn), 64)
	if err != nil || err2 != nil || af != bf {
		return false
	}
	x, isInt := new(big.Int).SetString(string(an), 10)
	y, isInt2 := new(big.Int).SetString(string(bn), 10)
	return !isInt || !isInt2 || x.Cmp(y) == 0
}

// differs notes a difference; of many the first few.
func (c *comparison) differs(path string, want, got any, what string) {
	const most = 4
	switch {
	case len(c.changed) == most:
		c.changed = append(c.changed, "and more")
	case len(c.changed) < most && what != "":
		c.changed = append(c.changed, path+what)
	case len(c.changed) < most:
		c.changed = append(c.changed, fmt.Sprintf("%s: %s is now %s", path, written(want), written(got)))
	}
}

func written(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return quote.Text(string(data), 40)
}
