package pulltest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxCall is the size of the largest body of a call, as PHP's post_max_size.
const maxCall = 16 << 20

// readParams collects a call's parameters from the query and from a JSON or
// form body. Names are not case sensitive: they are turned to upper case. Of
// JSON whose text PHP does not take nothing is read.
func readParams(r *http.Request) (map[string]any, *restError) {
	params := make(map[string]any)
	addForm(params, r.URL.Query())
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCall+1))
	if err != nil || len(body) > maxCall {
		return nil, errInvalidFormat
	}
	if len(body) == 0 {
		return params, nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" {
		if !phpReads(body) {
			return params, nil
		}
		return params, addJSON(params, body)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errInvalidFormat
	}
	addForm(params, values)
	return params, nil
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

// addForm understands PHP's name[] and name[key], one level deep.
func addForm(params map[string]any, values url.Values) {
	for full, list := range values {
		name, key, nested := strings.Cut(strings.TrimSuffix(full, "]"), "[")
		name = strings.ToUpper(name)
		last := list[len(list)-1]
		switch {
		case !nested:
			params[name] = last
		case key == "":
			items, _ := params[name].([]any)
			for _, v := range list {
				items = append(items, v)
			}
			params[name] = items
		default:
			object, _ := params[name].(map[string]any)
			object = maps.Clone(object)
			if object == nil {
				object = make(map[string]any)
			}
			object[key] = last
			params[name] = object
		}
	}
}
