package phpjson

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An EncodeError says where in parameters there is what cannot be sent, and
// why.
type EncodeError struct{ Path, Problem string }

// Error names the place and the problem.
func (e *EncodeError) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Encode marshals what is sent to a portal. For some texts it gives an
// *EncodeError: PHP's json_decode would refuse the whole body, or encoding/json
// has put U+FFFD in the place of what is not UTF-8.
func Encode(v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if _, at, problem := ScanText(data); problem != "" {
		return nil, &EncodeError{PathAt(data, at), problem}
	}
	if bytes.Contains(data, replaced) { // or hidden by the option "string" of a field
		if path, problem := invalidText(reflect.ValueOf(v)); problem != "" {
			return nil, &EncodeError{shortPath(strings.TrimPrefix(path, ".")), problem}
		}
	}
	return data, nil
}

// replaced is what encoding/json writes in the place of what is not UTF-8. Raw
// JSON can have it as well.
var replaced = []byte(`\ufffd`)

// hasReplaced reports whether JSON has that escape, and not only an escaped
// backslash before the same letters.
func hasReplaced(data []byte) bool {
	for {
		at := bytes.IndexByte(data, '\\')
		if at < 0 {
			return false
		}
		if data = data[at:]; bytes.HasPrefix(data, replaced) {
			return true
		}
		data = data[min(2, len(data)):]
	}
}

const selfWritten = "its MarshalJSON has written \\ufffd, which encoding/json puts in the place of invalid UTF-8"

// invalidText finds a string that is not UTF-8 in a value that encoding/json
// has marshalled. The path is one to be appended, like .list[3].
func invalidText(v reflect.Value) (path, problem string) {
	switch v.Kind() {
	case reflect.Invalid:
		return "", ""
	case reflect.Pointer, reflect.Interface:
		return invalidText(v.Elem())
	}
	if m, ok := implementing[json.Marshaler](v); ok {
		return "", invalidJSON(v, m)
	}
	if m, ok := implementing[encoding.TextMarshaler](v); ok {
		if text, err := m.MarshalText(); err == nil && !utf8.Valid(text) {
			return "", notUTF8
		}
		return "", ""
	}
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return "", notUTF8
		}
	case reflect.Slice, reflect.Array:
		return invalidInList(v)
	case reflect.Map:
		return invalidInMap(v)
	case reflect.Struct:
		return invalidInStruct(v)
	}
	return "", ""
}

// implementing returns v, or the pointer to it, as what encoding/json would
// call.
func implementing[T any](v reflect.Value) (m T, ok bool) {
	if !v.CanInterface() {
		return m, false
	}
	if m, ok = v.Interface().(T); !ok && v.CanAddr() {
		m, ok = v.Addr().Interface().(T)
	}
	return m, ok
}

// invalidJSON tells what is wrong with what a type marshals itself to. Text
// that is JSON already, like a json.RawMessage, may say \ufffd.
func invalidJSON(v reflect.Value, m json.Marshaler) (problem string) {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 || v.Kind() == reflect.String {
		return ""
	}
	if data, err := m.MarshalJSON(); err == nil && hasReplaced(data) {
		return selfWritten
	}
	return ""
}

func invalidInList(v reflect.Value) (path, problem string) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return "", "" // base64
	}
	for i := range v.Len() {
		if path, problem := invalidText(v.Index(i)); problem != "" {
			return "[" + strconv.Itoa(i) + "]" + path, problem
		}
	}
	return "", ""
}

func invalidInMap(v reflect.Value) (path, problem string) {
	for each := v.MapRange(); each.Next(); {
		key := mapKey(each.Key())
		path, problem := invalidText(each.Value())
		if !utf8.ValidString(key) {
			path, problem = "", notUTF8
		}
		if problem != "" {
			return keyPath(key) + path, problem
		}
	}
	return "", ""
}

// mapKey is a key as encoding/json writes it.
func mapKey(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return v.String()
	}
	if m, ok := implementing[encoding.TextMarshaler](v); ok {
		text, _ := m.MarshalText()
		return string(text)
	}
	return fmt.Sprint(v)
}

func invalidInStruct(v reflect.Value) (path, problem string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag := field.Tag.Get("json")
		if tag == "-" || !field.IsExported() && !field.Anonymous {
			continue
		}
		path, problem := invalidText(v.Field(i))
		if problem == "" {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if field.Anonymous && name == "" {
			return path, problem
		}
		return keyPath(cmp.Or(name, field.Name)) + path, problem
	}
	return "", ""
}
