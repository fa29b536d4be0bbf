// Package phpjson reads the JSON of a PHP server. Find finds it in what was
// sent: files saved with a byte order mark put one before every answer, and
// where display_errors is on, notices and warnings stand before or behind it.
// An Object takes values in the shapes that PHP makes of them: numbers as
// strings, and the empty array for an empty object.
package phpjson

import (
	"bytes"
	"encoding/json"
	"errors"
)

// BOM is the byte order mark of UTF-8.
const BOM = "\xef\xbb\xbf"

// Trim returns data without the byte order marks and the white space around it.
func Trim(data []byte) []byte {
	for {
		trimmed := bytes.Trim(data, " \t\r\n")
		trimmed = bytes.TrimPrefix(trimmed, []byte(BOM))
		trimmed = bytes.TrimSuffix(trimmed, []byte(BOM))
		if len(trimmed) == len(data) {
			return trimmed
		}
		data = trimmed
	}
}

// Find returns the JSON in data without what stands around it. Where data is
// more than JSON, that is the object at its beginning, or else the last one, of
// which is reports that it is the one looked for. If there is none, or a page
// of HTML stands before it, data is returned as it is.
//
// An object that breaks off is not looked into: what is in it is no answer.
func Find(data []byte, is func(fields map[string]json.RawMessage) bool) []byte {
	if json.Valid(data) {
		return data
	}
	trimmed := Trim(data)
	if json.Valid(trimmed) {
		return trimmed
	}
	s := search{data: trimmed, is: is, budget: max(minBudget, budgetFactor*len(data))}
	if found := s.run(); found != nil {
		return found
	}
	return data
}

const (
	// A search reads what it is given no more than budgetFactor times, in all.
	budgetFactor = 8
	minBudget    = 64 << 10
	// stepCost is charged for each place at which JSON might begin.
	stepCost = 512
)

// A search goes through the places at which JSON may begin.
type search struct {
	data   []byte
	is     func(map[string]json.RawMessage) bool
	budget int // bytes still to be read

	looked int  // up to where a page was looked for
	paged  bool // and whether there is one
}

func (s *search) run() (found []byte) {
	for at := 0; s.budget > 0; {
		next := bytes.IndexAny(s.data[at:], "{[")
		if next < 0 {
			break
		}
		begin := at + next
		value, end, cut := s.value(begin)
		at = end
		switch {
		case cut:
			return found
		case value == nil || !s.wanted(value):
		case s.page(begin):
			return found
		case begin == 0:
			return value
		default:
			found = value
		}
	}
	return found
}

// value reads the JSON that begins at a place, and tells where to go on. value
// is nil if there is none; cut reports an object that begins well and does not
// end.
func (s *search) value(begin int) (value []byte, end int, cut bool) {
	rest := s.data[begin:]
	d := json.NewDecoder(bytes.NewReader(rest))
	var raw json.RawMessage
	err := d.Decode(&raw)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		n := int(d.InputOffset())
		s.budget -= n + stepCost
		return rest[:n:n], begin + n, false
	case errors.As(err, &syntax):
		n := min(max(int(syntax.Offset)-1, 1), len(rest))
		s.budget -= n + stepCost
		if hasMember(rest) {
			return nil, begin + n, false
		}
	default: // it ends too soon
		s.budget -= len(rest) + stepCost
		if hasMember(rest) {
			return nil, len(s.data), true
		}
	}
	return nil, begin + 1, false
}

// hasMember reports whether text begins as an object does that has a member: a
// brace of PHP or of a sentence does not.
func hasMember(text []byte) bool {
	text = text[:min(len(text), stepCost)]
	text, object := bytes.CutPrefix(text, []byte("{"))
	text, quoted := bytes.CutPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte(`"`))
	name := bytes.IndexAny(text, "\"\r\n")
	if !object || !quoted || name < 0 || text[name] != '"' {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(text[name+1:], " \t\r\n"), []byte(":"))
}

func (s *search) wanted(value []byte) bool {
	var fields map[string]json.RawMessage
	return value[0] == '{' && json.Unmarshal(value, &fields) == nil && s.is(fields)
}

// page reports whether a page of HTML begins before a place.
func (s *search) page(before int) bool {
	if !s.paged {
		const longest = len("<!doctype")
		s.paged = page(s.data[max(0, s.looked-longest):before])
		s.looked = before
	}
	return s.paged
}

// page reports whether text is the beginning of a page of HTML, which a notice
// is not: a login page may hold an object in a script.
func page(text []byte) bool {
	text = bytes.ToLower(text)
	for _, tag := range []string{"<!doctype", "<html", "<head", "<body", "<script"} {
		if bytes.Contains(text, []byte(tag)) {
			return true
		}
	}
	return false
}
