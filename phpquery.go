package b24pull

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/internal/phpjson"
)

// What PHP reads of a query by default, max_input_vars and
// max_input_nesting_level: what is over is left out without a word.
const (
	maxQueryValues = 1000
	maxQueryDepth  = 64
)

// phpQuery writes parameters as a query that PHP reads back:
// filter[>ID]=5&select[0]=ID. What a query cannot say is ErrInvalidFormat.
func phpQuery(params any) (string, error) {
	data, err := paramsObject(params)
	if err != nil || data == nil {
		return "", err
	}
	w := queryWriter{doc: data, d: json.NewDecoder(bytes.NewReader(data))}
	w.d.UseNumber()
	if err := w.value(nil); err != nil {
		return "", err
	}
	return w.b.String(), nil
}

type queryWriter struct {
	doc    []byte
	d      *json.Decoder
	b      strings.Builder
	values int
}

// fail names the place of what has just been read.
func (w *queryWriter) fail(problem string) error {
	path := phpjson.PathAt(w.doc, int(w.d.InputOffset())-1)
	return &formatError{&phpjson.EncodeError{Path: path, Problem: problem}}
}

// value writes the next value; path is where it stands.
func (w *queryWriter) value(path []string) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	if len(path) > maxQueryDepth {
		return w.fail(fmt.Sprintf("it is nested deeper than %d, which PHP does not read of a command of a batch: use Call", maxQueryDepth))
	}
	switch v := token.(type) {
	case json.Delim:
		return w.container(path, v == '[')
	case nil:
		if len(path) > 1 {
			return w.fail(`it is null, which a command of a batch cannot say: use "" or Call`)
		}
		return nil
	case bool:
		return w.text(path, map[bool]string{true: "1", false: "0"}[v])
	default: // a string or a number
		return w.text(path, fmt.Sprint(v))
	}
}

func (w *queryWriter) container(path []string, list bool) error {
	if !w.d.More() && len(path) > 1 {
		return w.fail(`it is empty, which a command of a batch cannot say: use "" or Call`)
	}
	for n := 0; w.d.More(); n++ {
		name := strconv.Itoa(n)
		if !list {
			key, err := w.d.Token()
			if err != nil {
				return err
			}
			name, _ = key.(string)
		}
		inner := append(path[:len(path):len(path)], name)
		if name == "" || strings.ContainsAny(name, "[]\x00") || len(path) == 0 && strings.ContainsAny(name, ". ") {
			return w.fail("its name is one that PHP does not read of a command of a batch")
		}
		if err := w.value(inner); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}

func (w *queryWriter) text(path []string, text string) error {
	if w.values++; w.values > maxQueryValues {
		return w.fail(fmt.Sprintf("there are more than %d values, which PHP does not read of a command of a batch: use Call", maxQueryValues))
	}
	if w.b.Len() > 0 {
		w.b.WriteByte('&')
	}
	for i, name := range path {
		if name = url.QueryEscape(name); i > 0 {
			name = "[" + name + "]"
		}
		w.b.WriteString(name)
	}
	w.b.WriteString("=" + url.QueryEscape(text))
	return nil
}
