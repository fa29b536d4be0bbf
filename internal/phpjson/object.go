package phpjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid is the error, by errors.Is, of a value that is not what it has to
// be.
var ErrInvalid = errors.New("b24pull: invalid config")

// A Kind is a JSON type, in words for an error.
type Kind string

// The kinds of JSON values. KindNone is that of an absent one.
const (
	KindNone    Kind = "nothing"
	KindNull    Kind = "null"
	KindBool    Kind = "a boolean"
	KindNumber  Kind = "a number"
	KindString  Kind = "a string"
	KindArray   Kind = "an array"
	KindObject  Kind = "an object"
	KindInvalid Kind = "no JSON"
)

// KindOf returns the type of a JSON value by its first byte.
func KindOf(raw json.RawMessage) Kind {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return KindNone
	}
	switch c := raw[0]; {
	case c == 'n':
		return KindNull
	case c == 't' || c == 'f':
		return KindBool
	case c == '-' || c >= '0' && c <= '9':
		return KindNumber
	case c == '"':
		return KindString
	case c == '[':
		return KindArray
	case c == '{':
		return KindObject
	}
	return KindInvalid
}

// An Error says where in a config what was found. It names types, not values: a
// value may be a secret.
type Error struct{ Path, Problem string }

// Error names the path and the problem.
func (e *Error) Error() string { return "b24pull: " + e.Path + ": " + e.Problem }

// Is reports whether target is ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// A Node is a value in a config and the path to it.
type Node struct {
	Path string
	Raw  json.RawMessage

	field string // the last step of the path, if it is not in Path
}

// path joins the path: most are never told.
func (n Node) path() string {
	if n.field == "" {
		return n.Path
	}
	return n.Path + "." + n.field
}

// Want returns an Error that says what was wanted, and which type was found.
func (n Node) Want(what string) error {
	return n.Wrong("want " + what + ", got " + string(KindOf(n.Raw)))
}

// Wrong returns an Error about the value.
func (n Node) Wrong(problem string) error { return &Error{n.path(), problem} }

// Root returns what a whole text holds. It refuses null.
func Root(name string, data []byte) (Node, error) {
	data = Trim(data)
	n := Node{Path: name, Raw: data}
	switch {
	case !json.Valid(data):
		return n, n.Wrong("want JSON, got what is none")
	case KindOf(data) == KindNull:
		return n, n.Want("an object")
	}
	return n, nil
}

// Absent reports whether there is nothing to decode.
func (n Node) Absent() bool { k := KindOf(n.Raw); return k == KindNone || k == KindNull }

// Empty reports whether there is nothing to decode, or the empty string, which
// PHP makes of nothing.
func (n Node) Empty() bool { return n.Absent() || string(n.Raw) == `""` }

// An Object is a decoded JSON object. The first error of reading its fields is
// kept, so that a reader asks once. Its fields are parts of the text that it was
// decoded from.
type Object struct {
	Path   string
	Fields map[string]json.RawMessage
	Err    *error
}

// Object decodes an object. PHP writes an empty one as [].
func (n Node) Object(err *error) Object {
	o := Object{Path: n.path(), Err: err}
	switch KindOf(n.Raw) {
	case KindNone, KindNull:
	case KindObject:
		if !json.Valid(n.Raw) {
			o.Fail(n.Want("an object"))
			break
		}
		o.Fields = fieldsOf(n.Raw)
	case KindArray:
		var list []json.RawMessage
		if json.Unmarshal(n.Raw, &list) != nil || len(list) > 0 {
			o.Fail(n.Wrong("want an object, got an array that is not empty"))
		}
	default:
		o.Fail(n.Want("an object"))
	}
	return o
}

// Fail keeps an error, if it is the first.
func (o Object) Fail(err error) {
	if *o.Err == nil {
		*o.Err = err
	}
}

// At returns the first of the named fields that has a value.
func (o Object) At(names ...string) Node {
	n := Node{Path: o.Path, field: names[0]}
	for _, name := range names {
		raw := o.Fields[name]
		if !(Node{Raw: raw}).Empty() {
			return Node{Path: o.Path, Raw: raw, field: name}
		}
		if n.Raw == nil {
			n.Raw = raw
		}
	}
	return n
}

// Object reads a field that is an object. Here and in all that follows, absent
// and null give zero.
func (o Object) Object(name string) Object { return o.At(name).Object(o.Err) }

// Text reads the first of the named fields that has a value, as a string.
func (o Object) Text(names ...string) string {
	n := o.At(names...)
	if n.Absent() {
		return ""
	}
	s, ok := Text(n.Raw)
	if !ok {
		o.Fail(n.Want("a string"))
	}
	return s
}

// MaxIdentifier is how many bytes a name, an id or a token in a config may
// have: it becomes a part of addresses, and is looked for in whatever is
// printed.
const MaxIdentifier = 4096

// Identifier is Text for what must not be too long.
func (o Object) Identifier(name string) string { return o.Short(name, o.Text(name)) }

// Short refuses text that is too long.
func (o Object) Short(name, text string) string {
	if len(text) > MaxIdentifier {
		o.Fail(o.At(name).Wrong(fmt.Sprintf("want at most %d bytes, got %d", MaxIdentifier, len(text))))
		return ""
	}
	return text
}

// TextOrNumber reads an identifier that PHP may have written as a number.
func (o Object) TextOrNumber(name string) string {
	if n := o.At(name); KindOf(n.Raw) == KindNumber {
		return string(n.Raw)
	}
	return o.Text(name)
}

// Flag reads a boolean: true, "Y", 1, "1", "true" and their opposites. "" is
// false.
func (o Object) Flag(name string) bool {
	n := o.At(name)
	if n.Empty() {
		return false
	}
	switch strings.ToLower(n.Scalar()) {
	case "true", "y", "1":
		return true
	case "false", "n", "0":
		return false
	}
	o.Fail(n.Wrong("want a boolean, Y or N, 1 or 0, got " + string(KindOf(n.Raw)) + " that is none of these"))
	return false
}

// Scalar returns the text of a string, number or boolean, "" of anything else.
func (n Node) Scalar() string {
	switch KindOf(n.Raw) {
	case KindBool, KindNumber:
		return string(bytes.TrimSpace(n.Raw))
	case KindString:
		s, _ := Text(n.Raw)
		return s
	}
	return ""
}

// Number reads an integer, written as a number or as a decimal string.
func (o Object) Number(name string) int64 {
	n := o.At(name)
	if n.Absent() {
		return 0
	}
	if k := KindOf(n.Raw); k != KindNumber && k != KindString {
		o.Fail(n.Want("an integer"))
		return 0
	}
	i, err := strconv.ParseInt(n.Scalar(), 10, 64)
	if err != nil {
		o.Fail(n.Wrong("want an integer, got " + string(KindOf(n.Raw)) + " that is none"))
	}
	return i
}

// Small is Number for what must fit an int of 32 bits.
func (o Object) Small(name string) int {
	i := o.Number(name)
	if i < math.MinInt32 || i > math.MaxInt32 {
		o.Fail(o.At(name).Wrong("want an integer, got one that is too large"))
		return 0
	}
	return int(i)
}

// Moment reads a time: RFC 3339, or Unix seconds as a number or a decimal
// string, with a fraction or without. 0 is no time.
func (o Object) Moment(name string) time.Time {
	n := o.At(name)
	if n.Absent() {
		return time.Time{}
	}
	k := KindOf(n.Raw)
	if k != KindNumber && k != KindString {
		o.Fail(n.Want("a time"))
		return time.Time{}
	}
	t, ok := ParseUnix(n.Scalar())
	if !ok && k == KindString {
		var err error
		t, err = time.Parse(time.RFC3339, n.Scalar())
		t = t.UTC()
		ok = err == nil && t.Year() >= 1 && t.Year() <= 9999
	}
	if !ok {
		o.Fail(n.Wrong("want a time in RFC 3339 or Unix seconds, got " + string(k) + " that is neither"))
		return time.Time{}
	}
	return t
}

// Seconds reads a number of seconds with a fraction.
func (o Object) Seconds(name string) time.Duration {
	s, err := strconv.ParseFloat(o.At(name).Scalar(), 64)
	if err != nil || !(s >= 0 && s < math.MaxInt32) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// lastSecond is the last one that RFC 3339 can write.
const lastSecond = 253402300799

// ParseUnix reads Unix seconds, with a fraction or without. 0 is no time.
func ParseUnix(s string) (time.Time, bool) {
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

// Quiet reads a string, and "" where there is none.
func Quiet(o Object, name string) string {
	return Readable(o, func(o Object) string { return o.Text(name) })
}

// Readable reads something of an object, and the zero value where it is not
// what it has to be: it counts as not told.
func Readable[T any](o Object, read func(Object) T) T {
	var odd error
	v := read(Object{Path: o.Path, Fields: o.Fields, Err: &odd})
	if odd != nil {
		var none T
		return none
	}
	return v
}

// ErrorParts takes the error of an envelope apart. Newer portals answer an
// object {code, message, validation}; any other error is the code itself.
func ErrorParts(raw json.RawMessage) (code, message, validation json.RawMessage) {
	var fields map[string]json.RawMessage
	if KindOf(raw) != KindObject || json.Unmarshal(raw, &fields) != nil {
		return raw, nil, nil
	}
	first := func(names ...string) json.RawMessage {
		for _, name := range names {
			if n := (Node{Raw: fields[name]}); n.Scalar() != "" {
				return n.Raw
			}
		}
		return nil
	}
	return first("code", "error"), first("message", "error_description"), fields["validation"]
}

// Blank reports whether PHP has written an empty value.
func Blank(data []byte) bool {
	text := string(bytes.TrimSpace(data))
	return text == "null" || text == "false" || text == `""`
}
