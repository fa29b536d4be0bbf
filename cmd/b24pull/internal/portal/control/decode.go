package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Structs that come from outside say by the tags of their fields what is taken:
//
//	json      the name
//	required  "true": it must be there
//	enum      the words that are allowed, with commas between them
//	min, max  bounds of a number, or of the length of a text or list
//	doc       what it is, for the OpenAPI file
//
// The OpenAPI file is made of the same tags.

// Decode fills the struct that into points to from the JSON object in data. An
// empty text is the empty object. What is not a field of it, of the wrong type
// or against the tags is an error that names the field.
func Decode(data []byte, into any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	if err := CheckJSON(data); err != nil {
		return err
	}
	return decodeStruct("", data, reflect.ValueOf(into).Elem())
}

// CheckJSON reports what is no JSON, and where.
func CheckJSON(data []byte) error {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return badField("", "the text is not UTF-8 at byte %d", i+1)
		}
		i += size
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return badField("", "want JSON%s", because(err))
	}
	return nil
}

// recorder is a struct that is told which of its fields are given.
type recorder interface{ record(names map[string]bool) }

func decodeStruct(path string, data []byte, into reflect.Value) error {
	given, err := members(path, data)
	if err != nil {
		return err
	}
	names := fieldNames(into.Type())
	for name := range given {
		if !slices.Contains(names, name) {
			known := "there are: " + strings.Join(names, ", ")
			if len(names) == 0 {
				known = "there are none here"
			}
			return badField(join(path, name), "there is no such field; %s", known)
		}
	}
	there := make(map[string]bool)
	for _, field := range jsonFields(into.Type()) {
		name := jsonName(field)
		at := join(path, name)
		raw, isThere := given[name]
		if !isThere || isNull(raw) && field.Type != rawType {
			if field.Tag.Get("required") == "true" {
				return badField(at, "is missing")
			}
			continue
		}
		there[name] = true
		value := into.FieldByIndex(field.Index)
		if err := decodeValue(at, raw, value); err != nil {
			return err
		}
		if err := checkTags(at, field.Tag, value); err != nil {
			return err
		}
	}
	if r, ok := into.Addr().Interface().(recorder); ok {
		r.record(there)
	}
	return nil
}

// members are those of a JSON object, each of which is there once.
func members(path string, data []byte) (map[string]json.RawMessage, error) {
	in := json.NewDecoder(bytes.NewReader(data))
	if begin, err := in.Token(); err != nil || begin != json.Delim('{') {
		return nil, badField(path, "want a JSON object")
	}
	all := make(map[string]json.RawMessage)
	for in.More() {
		name, err := in.Token() // that it is JSON has been checked
		var value json.RawMessage
		if err == nil {
			err = in.Decode(&value)
		}
		text, _ := name.(string)
		if err != nil {
			return nil, badField(path, "want a JSON object: %v", err)
		}
		if _, twice := all[text]; twice {
			return nil, badField(join(path, text), "is there twice")
		}
		all[text] = value
	}
	return all, nil
}

var rawType = reflect.TypeFor[json.RawMessage]()

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

func decodeValue(path string, raw json.RawMessage, into reflect.Value) error {
	t := into.Type()
	switch {
	case t == rawType:
		into.SetBytes(bytes.Clone(raw))
		return nil
	case t.Kind() == reflect.Pointer:
		into.Set(reflect.New(t.Elem()))
		return decodeValue(path, raw, into.Elem())
	case t.Kind() == reflect.Struct:
		return decodeStruct(path, raw, into)
	case t.Kind() == reflect.Map:
		elements, err := members(path, raw)
		if err != nil {
			return err
		}
		into.Set(reflect.ValueOf(elements))
		return nil
	case t.Kind() == reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			return badField(path, "want a list")
		}
		into.Set(reflect.MakeSlice(t, len(elements), len(elements)))
		for i, element := range elements {
			if err := decodeValue(path+"["+strconv.Itoa(i)+"]", element, into.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := json.Unmarshal(raw, into.Addr().Interface()); err != nil || isNull(raw) {
		return badField(path, "want %s", kindName(t))
	}
	// The decoder puts U+FFFD in place of what is no character.
	if t.Kind() == reflect.String && strings.Contains(into.String(), "\ufffd") &&
		!bytes.Contains(raw, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		return badField(path, "want a text: half of a surrogate pair stands in it")
	}
	return nil
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func checkTags(path string, tag reflect.StructTag, v reflect.Value) error {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if enum := tag.Get("enum"); enum != "" {
		words := strings.Split(enum, ",")
		each := []reflect.Value{v}
		if v.Kind() == reflect.Slice {
			each = each[:0]
			for i := range v.Len() {
				each = append(each, v.Index(i))
			}
		}
		seen := make(map[string]bool)
		for _, one := range each {
			if seen[one.String()] {
				return badField(path, "%q is there twice", one.String())
			}
			seen[one.String()] = true
			if !slices.Contains(words, one.String()) {
				return badField(path, "%q is none of %s", short(one.String()), strings.Join(words, ", "))
			}
		}
	}
	size, of := measure(v)
	low, hasLow := bound(tag, "min")
	high, hasHigh := bound(tag, "max")
	switch {
	case (!hasLow || size >= low) && (!hasHigh || size <= high):
		return nil
	case hasLow && hasHigh:
		return badField(path, "want %s from %s to %s", of, digits(low), digits(high))
	case hasLow:
		return badField(path, "want %s of %s or more", of, digits(low))
	default:
		return badField(path, "want %s of %s or less", of, digits(high))
	}
}

// digits is a number without an exponent.
func digits(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// measure is what min and max bound.
func measure(v reflect.Value) (size float64, of string) {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return float64(v.Len()), "a length"
	case reflect.Float64:
		return v.Float(), "a number"
	case reflect.Int, reflect.Int64:
		return float64(v.Int()), "a number"
	case reflect.Uint64:
		return float64(v.Uint()), "a number"
	}
	return 0, ""
}

func bound(tag reflect.StructTag, name string) (float64, bool) {
	n, err := strconv.ParseFloat(tag.Get(name), 64)
	return n, err == nil
}

// jsonFields are the fields of a struct and of those embedded in it.
func jsonFields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return jsonName(f) == "" })
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func fieldNames(t reflect.Type) (names []string) {
	for _, field := range jsonFields(t) {
		names = append(names, jsonName(field))
	}
	return names
}

func join(path, name string) string {
	name = short(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

// because tells what is no JSON; that it is of another type is said already.
func because(err error) string {
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		return fmt.Sprintf(": %v, at byte %d", syntax, syntax.Offset)
	}
	return ""
}

// short is what a caller has written, fit for an error.
func short(text string) string {
	const most = 60
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// badField is the error of a field, or of the whole where the path is empty.
func badField(path, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	return &Error{Status: 400, Code: "bad_request", Message: text, Field: path}
}
