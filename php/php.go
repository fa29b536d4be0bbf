// Package php has types for the fields of your own structs: what comes from a
// portal, params of events too, was made by PHP, which writes an integer as
// "5", a boolean as "Y", and an empty object as []. They marshal as what they
// are.
package php

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/internal/phpjson"
)

// Int is an integer that also takes a decimal string; null and "" are 0.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(data []byte) error {
	n := phpjson.Node{Raw: data}
	text := n.Scalar()
	if n.Absent() || phpjson.KindOf(data) == phpjson.KindString && text == "" {
		*i = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || phpjson.KindOf(data) == phpjson.KindBool {
		return fmt.Errorf("b24pull: want an integer, got %s that is none", phpjson.KindOf(data))
	}
	*i = Int(v)
	return nil
}

// Bool is a boolean that also takes "Y" and "N", 1 and 0, "1" and "0", "true"
// and "false"; null and "" are false.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bool) UnmarshalJSON(data []byte) error {
	n := phpjson.Node{Raw: data}
	switch text := strings.ToLower(n.Scalar()); {
	case text == "true" || text == "y" || text == "1":
		*b = true
	case text == "false" || text == "n" || text == "0", n.Absent(), phpjson.KindOf(data) == phpjson.KindString && text == "":
		*b = false
	default:
		return fmt.Errorf("b24pull: want a boolean, Y or N, 1 or 0, got %s that is none of these", phpjson.KindOf(data))
	}
	return nil
}

// Map is an object that also takes what PHP makes of an array: [] where it is
// empty, a list where its keys are 0, 1, 2 and so on. null, false and "" are an
// empty Map. K is what encoding/json takes for a key.
type Map[K comparable, V any] map[K]V

// UnmarshalJSON implements json.Unmarshaler. The Map is changed only without an
// error.
func (m *Map[K, V]) UnmarshalJSON(data []byte) error {
	decoded := map[K]V{}
	switch {
	case phpjson.KindOf(data) == phpjson.KindObject:
	case phpjson.KindOf(data) == phpjson.KindArray:
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return err
		}
		data = objectOf(list)
	case phpjson.Blank(data):
		data = []byte("{}")
	default:
		return fmt.Errorf("b24pull: want an object, got %s", phpjson.KindOf(data))
	}
	if err := json.Unmarshal(data, &decoded); err != nil {
		return err
	}
	*m = decoded
	return nil
}

// objectOf writes a list as an object.
func objectOf(list []json.RawMessage) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":%s`, i, v)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// List is a list that also takes what PHP makes of one with holes: an object,
// of which the values are taken in the order they have there. null, false and
// "" are an empty List.
type List[T any] []T

// UnmarshalJSON implements json.Unmarshaler. The List is changed only without
// an error.
func (l *List[T]) UnmarshalJSON(data []byte) error {
	decoded := []T{}
	switch {
	case phpjson.KindOf(data) == phpjson.KindArray:
		if err := json.Unmarshal(data, &decoded); err != nil {
			return err
		}
	case phpjson.KindOf(data) == phpjson.KindObject:
		d := json.NewDecoder(bytes.NewReader(data))
		if _, err := d.Token(); err != nil {
			return err
		}
		for d.More() {
			var v T
			if _, err := d.Token(); err != nil {
				return err
			}
			if err := d.Decode(&v); err != nil {
				return err
			}
			decoded = append(decoded, v)
		}
	case !phpjson.Blank(data):
		return errors.New("b24pull: want a list, got " + string(phpjson.KindOf(data)))
	}
	*l = decoded
	return nil
}
