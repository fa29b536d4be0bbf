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
	return decodeStruct("", data, reflect.ValueOf(into).Elem())
}

func decodeStruct(path string, data []byte, into reflect.Value) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil || given == nil {
		return badField(path, "want a JSON object%s", because(err))
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
	for _, field := range jsonFields(into.Type()) {
		name := jsonName(field)
		at := join(path, name)
		raw, there := given[name]
		if !there || isNull(raw) && field.Type != rawType {
			if field.Tag.Get("required") == "true" {
				return badField(at, "is missing")
			}
			continue
		}
		value := into.FieldByIndex(field.Index)
		if err := decodeValue(at, raw, value); err != nil {
			return err
		}
		if err := checkTags(at, field.Tag, value); err != nil {
			return err
		}
	}
	return nil
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
		var elements map[string]json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil || elements == nil {
			return badField(path, "want a JSON object%s", because(err))
		}
		into.Set(reflect.ValueOf(elements))
		return nil
	case t.Kind() == reflect.Slice:
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			return badField(path, "want a list%s", because(err))
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
		for _, one := range each {
			if !slices.Contains(words, one.String()) {
				return badField(path, "%q is none of %s", short(one.String()), strings.Join(words, ", "))
			}
		}
	}
	size, of := measure(v)
	if low, ok := bound(tag, "min"); ok && size < low {
		return badField(path, "want %s of %v or more", of, low)
	}
	if high, ok := bound(tag, "max"); ok && size > high {
		return badField(path, "want %s of %v or less", of, high)
	}
	return nil
}

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
	return &Error{Status: 400, Code: "bad_request", Message: text}
}
