package pulltest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxCall is the size of the largest body of a call, as PHP's post_max_size.
const maxCall = 16 << 20

// maxDepth is how deep names of forms are nested, as PHP's
// max_input_nesting_level.
const maxDepth = 64

// readParams collects a call's parameters from the query and from a JSON or
// form body. Names are not case sensitive: they are turned to upper case. Of
// JSON whose text PHP does not take nothing is read. The order is that of the
// keys of CMD, if it has any.
func readParams(r *http.Request) (params map[string]any, order []string, err *restError) {
	form := newPHPMap()
	form.parse(r.URL.RawQuery)
	body, failed := io.ReadAll(io.LimitReader(r.Body, maxCall+1))
	if failed != nil || len(body) > maxCall {
		return nil, nil, errInvalidFormat
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := kind == "application/json"
	if !isJSON && !form.parse(string(body)) {
		return nil, nil, errInvalidFormat
	}
	params, order = form.params()
	if isJSON && len(body) > 0 && phpReads(body) {
		if err = addJSON(params, body); err == nil && params["CMD"] != nil {
			order = jsonOrder(body)
		}
	}
	return params, order, err
}

// addJSON takes an object, or the empty array that PHP makes of an empty one.
func addJSON(params map[string]any, body []byte) *restError {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil || d.More() {
		return errInvalidFormat
	}
	object, ok := value.(map[string]any)
	if list, isList := value.([]any); !ok && (!isList || len(list) > 0) {
		return errInvalidFormat
	}
	for name, v := range object {
		params[strings.ToUpper(name)] = v
	}
	return nil
}

// jsonOrder are the keys of the object cmd of an object, in their order.
func jsonOrder(body []byte) (order []string) {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return nil
	}
	for name, value := range object {
		if !strings.EqualFold(name, "cmd") || !isObject(value) {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(value))
		d.Token() // the brace
		for d.More() {
			key, err := d.Token()
			var command json.RawMessage
			if err != nil || d.Decode(&command) != nil {
				return order
			}
			order = append(order, key.(string))
		}
	}
	return order
}

// phpMap is an array of PHP, which is ordered.
type phpMap struct {
	keys   []string
	values map[string]any // strings and further maps
	next   int            // the key of what is appended
}

func newPHPMap() *phpMap { return &phpMap{values: make(map[string]any)} }

// parse adds the variables of a form as PHP names them, name[], name[key] and
// so on, and reports whether all could be decoded.
func (m *phpMap) parse(form string) bool {
	sound := true
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		switch path := strings.Split(strings.ReplaceAll(name, "]", ""), "["); {
		case err != nil || err2 != nil:
			sound = false
		case path[0] != "" && len(path) <= maxDepth:
			m.set(path, value)
		}
	}
	return sound
}

func (m *phpMap) set(path []string, value string) {
	key := path[0]
	if key == "" {
		key = strconv.Itoa(m.next)
	}
	if n, err := strconv.Atoi(key); err == nil && n >= m.next && n < math.MaxInt {
		m.next = n + 1
	}
	old, known := m.values[key]
	if !known {
		m.keys = append(m.keys, key)
	}
	if len(path) == 1 {
		m.values[key] = value
		return
	}
	inner, ok := old.(*phpMap)
	if !ok {
		inner = newPHPMap()
		m.values[key] = inner
	}
	inner.set(path[1:], value)
}

// params are the variables by their names in upper case, and the order of the
// keys of CMD.
func (m *phpMap) params() (params map[string]any, order []string) {
	params = make(map[string]any)
	for _, key := range m.keys {
		name := strings.ToUpper(key)
		params[name] = plain(m.values[key])
		if inner, ok := m.values[key].(*phpMap); ok && name == "CMD" {
			order = inner.keys
		}
	}
	return params, order
}

// plain makes a list of what is one to PHP, and an object of any other array.
func plain(value any) any {
	m, ok := value.(*phpMap)
	if !ok {
		return value
	}
	object := make(map[string]any, len(m.keys))
	for _, key := range m.keys {
		object[key] = plain(m.values[key])
	}
	return phpValues(m.keys, object)
}

// listOf are the values of an array, whatever its keys, and reports whether it
// is one.
func listOf(value any) ([]any, bool) {
	if object, ok := value.(map[string]any); ok {
		list := make([]any, 0, len(object))
		for _, key := range slices.Sorted(maps.Keys(object)) {
			list = append(list, object[key])
		}
		return list, true
	}
	list, ok := value.([]any)
	return list, ok
}

// phpValues is how PHP writes an array of these keys: a list if they count from
// 0, in order; otherwise an object.
func phpValues(keys []string, values map[string]any) any {
	list := make([]any, len(keys))
	for i, key := range keys {
		if key != strconv.Itoa(i) {
			return values
		}
		list[i] = values[key]
	}
	return list
}
