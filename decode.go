package b24pull

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
)

// A kind is a JSON type, in words for an error.
type kind string

const (
	kindNone    kind = "nothing"
	kindNull    kind = "null"
	kindBool    kind = "a boolean"
	kindNumber  kind = "a number"
	kindString  kind = "a string"
	kindArray   kind = "an array"
	kindObject  kind = "an object"
	kindInvalid kind = "no JSON"
)

// kindOf tells the type of a JSON value by its first byte.
func kindOf(raw json.RawMessage) kind {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return kindNone
	}
	switch c := raw[0]; {
	case c == 'n':
		return kindNull
	case c == 't' || c == 'f':
		return kindBool
	case c == '-' || c >= '0' && c <= '9':
		return kindNumber
	case c == '"':
		return kindString
	case c == '[':
		return kindArray
	case c == '{':
		return kindObject
	}
	return kindInvalid
}

// A configError says where in a config what was found. It names types, not
// values: a value may be a secret.
type configError struct{ path, problem string }

func (e *configError) Error() string        { return "b24pull: " + e.path + ": " + e.problem }
func (e *configError) Is(target error) bool { return target == ErrInvalidConfig }

// A node is a value in a config and the path to it.
type node struct {
	path string
	raw  json.RawMessage
}

func (n node) want(what string) error {
	return &configError{n.path, "want " + what + ", got " + string(kindOf(n.raw))}
}

func (n node) wrong(problem string) error { return &configError{n.path, problem} }

// rootNode is what a whole text holds; null is none of what can be decoded.
func rootNode(name string, data []byte) (node, error) {
	data = phpjson.Trim(data)
	n := node{name, data}
	switch {
	case !json.Valid(data):
		return n, n.wrong("want JSON, got what is none")
	case kindOf(data) == kindNull:
		return n, n.want("an object")
	}
	return n, nil
}

// absent tells whether there is nothing to decode.
func (n node) absent() bool { k := kindOf(n.raw); return k == kindNone || k == kindNull }

// empty tells whether there is nothing to decode, or the empty string, which PHP makes of nothing.
func (n node) empty() bool { return n.absent() || string(n.raw) == `""` }

// An object is a decoded JSON object. The first error of reading its fields is
// kept, so that a reader asks once.
type object struct {
	path   string
	fields map[string]json.RawMessage
	err    *error
}

// object decodes an object. PHP writes an empty one as [].
func (n node) object(err *error) object {
	o := object{path: n.path, err: err}
	switch kindOf(n.raw) {
	case kindNone, kindNull:
	case kindObject:
		if json.Unmarshal(n.raw, &o.fields) != nil {
			o.fail(n.want("an object"))
		}
	case kindArray:
		var list []json.RawMessage
		if json.Unmarshal(n.raw, &list) != nil || len(list) > 0 {
			o.fail(n.wrong("want an object, got an array that is not empty"))
		}
	default:
		o.fail(n.want("an object"))
	}
	return o
}

func (o object) fail(err error) {
	if *o.err == nil {
		*o.err = err
	}
}

// at returns the first of the named fields that has a value.
func (o object) at(names ...string) node {
	n := node{path: o.path + "." + names[0]}
	for _, name := range names {
		raw := o.fields[name]
		if !(node{raw: raw}).empty() {
			return node{path: o.path + "." + name, raw: raw}
		}
		if n.raw == nil {
			n.raw = raw
		}
	}
	return n
}

// object, text, flag, number, and moment read a field; absent and null give zero.

func (o object) object(name string) object { return o.at(name).object(o.err) }

func (o object) text(names ...string) string {
	n := o.at(names...)
	if n.absent() {
		return ""
	}
	var s string
	if json.Unmarshal(n.raw, &s) != nil {
		o.fail(n.want("a string"))
	}
	return s
}

// maxIdentifier is how many bytes a name, an id or a token in a config may have:
// it becomes a part of addresses, and is looked for in whatever is printed.
const maxIdentifier = 4096

// identifier is text for what must not be too long.
func (o object) identifier(name string) string { return o.short(name, o.text(name)) }

// short refuses text that is too long.
func (o object) short(name, text string) string {
	if len(text) > maxIdentifier {
		o.fail(o.at(name).wrong(fmt.Sprintf("want at most %d bytes, got %d", maxIdentifier, len(text))))
		return ""
	}
	return text
}

// textOrNumber reads an identifier that PHP may have written as a number.
func (o object) textOrNumber(name string) string {
	if n := o.at(name); kindOf(n.raw) == kindNumber {
		return string(n.raw)
	}
	return o.text(name)
}

// flag reads a boolean: true, "Y", 1, "1", "true" and their opposites. "" is false.
func (o object) flag(name string) bool {
	n := o.at(name)
	if n.empty() {
		return false
	}
	switch strings.ToLower(n.scalar()) {
	case "true", "y", "1":
		return true
	case "false", "n", "0":
		return false
	}
	o.fail(n.wrong("want a boolean, Y or N, 1 or 0, got " + string(kindOf(n.raw)) + " that is none of these"))
	return false
}

// scalar returns the text of a string, number or boolean, "" of anything else.
func (n node) scalar() string {
	switch kindOf(n.raw) {
	case kindBool, kindNumber:
		return string(bytes.TrimSpace(n.raw))
	case kindString:
		var s string
		if json.Unmarshal(n.raw, &s) == nil {
			return s
		}
	}
	return ""
}

// number reads an integer, written as a number or as a decimal string.
func (o object) number(name string) int64 {
	n := o.at(name)
	if n.absent() {
		return 0
	}
	if k := kindOf(n.raw); k != kindNumber && k != kindString {
		o.fail(n.want("an integer"))
		return 0
	}
	i, err := strconv.ParseInt(n.scalar(), 10, 64)
	if err != nil {
		o.fail(n.wrong("want an integer, got " + string(kindOf(n.raw)) + " that is none"))
	}
	return i
}

// small is number for what must fit an int of 32 bits.
func (o object) small(name string) int {
	i := o.number(name)
	if i < math.MinInt32 || i > math.MaxInt32 {
		o.fail(o.at(name).wrong("want an integer, got one that is too large"))
		return 0
	}
	return int(i)
}

// moment reads a time: RFC 3339, or Unix seconds as a number or a decimal string,
// with a fraction or without. 0 is no time.
func (o object) moment(name string) time.Time {
	n := o.at(name)
	if n.absent() {
		return time.Time{}
	}
	k := kindOf(n.raw)
	if k != kindNumber && k != kindString {
		o.fail(n.want("a time"))
		return time.Time{}
	}
	t, ok := parseUnix(n.scalar())
	if !ok && k == kindString {
		var err error
		t, err = time.Parse(time.RFC3339, n.scalar())
		t = t.UTC()
		ok = err == nil && t.Year() >= 1 && t.Year() <= 9999
	}
	if !ok {
		o.fail(n.wrong("want a time in RFC 3339 or Unix seconds, got " + string(k) + " that is neither"))
		return time.Time{}
	}
	return t
}

// lastSecond is the last one that RFC 3339 can write.
const lastSecond = 253402300799

func parseUnix(s string) (time.Time, bool) {
	whole, fraction, cut := strings.Cut(s, ".")
	if !digits(whole) || cut && !digits(fraction) {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > lastSecond {
		return time.Time{}, false
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if sec == 0 && nsec == 0 {
		return time.Time{}, true
	}
	return time.Unix(sec, nsec).UTC(), true
}

func digits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c < '0' || c > '9' })
}

// An answer is what came back from a call.
type answer struct {
	method      string
	status      int
	contentType string
	body        []byte
	raw         json.RawMessage // the result in body, once it has been found
	known       redact.Redactor
	location    string        // where a redirect leads; a secret
	retryAfter  time.Duration // how long the answer wants to be waited for
	received    time.Time     // by our clock
	took        time.Duration
}

func (a answer) fail(problem string) *APIError {
	return &APIError{Status: a.status, Method: a.method, Description: problem, Time: a.time(), RetryAfter: a.retryAfter}
}

// minShift is the least difference between two clocks that is taken for one: a
// portal may tell its time in whole seconds.
const minShift = 2 * time.Second

// shift returns how far the portal's clock is ahead of ours. Its clock is what the
// result says, or else the envelope.
func (a answer) shift(clock time.Time) time.Duration {
	if clock.IsZero() {
		clock = a.clock()
	}
	if clock.IsZero() {
		return 0
	}
	shift := clock.Sub(a.received)
	if shift.Abs() < max(a.took, minShift) {
		return 0
	}
	return shift
}

// clock returns the portal's time when it answered, zero if it tells none that
// can be read.
func (a answer) clock() time.Time {
	t := a.time()
	if t.Finish.IsZero() {
		return t.DateFinish
	}
	return t.Finish
}

// isEnvelope reports whether an object is the whole of an answer.
func isEnvelope(fields map[string]json.RawMessage) bool {
	return fields["result"] != nil || fields["error"] != nil
}

// result returns the envelope's result, or the error it holds. The body's text
// goes into no error: a proxy's page can repeat the address.
func (a answer) result() (json.RawMessage, error) {
	if !json.Valid(a.body) {
		return nil, a.fail(fmt.Sprintf("the answer is not JSON (%s, %d bytes)", a.mediaType(), len(a.body)))
	}
	var envelope map[string]json.RawMessage
	if kind := kindOf(a.body); kind != kindObject || json.Unmarshal(a.body, &envelope) != nil {
		return nil, a.fail(fmt.Sprintf("want an object as the answer, got %s (%d bytes)", kind, len(a.body)))
	}
	result, has := envelope["result"]
	if code, found := envelope["error"]; found && !(has && blank(code)) {
		return nil, a.refusal(code, envelope["error_description"])
	}
	if !has {
		return nil, a.fail(fmt.Sprintf("the answer has neither result nor error (%d bytes)", len(a.body)))
	}
	if a.status != http.StatusOK {
		return nil, a.fail("the answer has a result and a status that is not 200")
	}
	return result, nil
}

const mediaTypeLimit = 64

func (a answer) mediaType() string {
	media, _, err := mime.ParseMediaType(a.contentType)
	if err != nil || media == "" || len(media) > mediaTypeLimit {
		return "of no known type"
	}
	return a.known.Line(media, mediaTypeLimit)
}
