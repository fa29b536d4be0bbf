package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unsafe"
)

// names keeps the module and command names of an attempt, which are few and
// come again and again, so that a message need not allocate them.
type names struct{ known map[string]string }

// maxNames and maxName bound what a hostile server can make us keep.
const (
	maxNames = 1024
	maxName  = 128
)

// intern returns text as a string.
func (n *names) intern(text []byte) string {
	if s, ok := n.known[string(text)]; ok {
		return s
	}
	s := string(text)
	if n.known == nil {
		n.known = make(map[string]string)
	}
	if len(n.known) < maxNames && len(s) <= maxName {
		n.known[s] = s
	}
	return s
}

// parseBody reads {"module_id","command","params","extra"} into m, whose params
// and extra will share body's memory.
func (n *names) parseBody(m *Record, body []byte) error {
	var module string
	m.Body = body
	body = bytes.TrimPrefix(body, byteOrderMark)
	err := eachMember(body, func(name, value []byte) (err error) {
		switch string(name) {
		case "module_id":
			module, err = n.text(value)
		case "command":
			m.Command, err = n.text(value)
		case "params":
			m.Params = present(value)
		case "extra":
			m.Extra = present(value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	m.Module = strings.ToLower(module)
	m.Size += copied(m.Module) + copied(m.Command)
	return err
}

// bodyParts are where the members of a body stand in it, found on the way over
// what it stands in.
type bodyParts struct {
	known                          bool // the body is an object, and its names are strings
	module, command, params, extra part
}

// part is a piece of a body: its bytes from one on and before another.
type part struct{ from, to int }

func (p part) of(body []byte) []byte { return body[p.from:p.to:p.to] }

// skipBody is skipValue for a body, of which it tells the parts.
func skipBody(b []byte, i, depth int, parts *bodyParts) int {
	*parts = bodyParts{}
	if i >= len(b) || b[i] != '{' {
		return skipValue(b, i, depth)
	}
	parts.known = true
	m := membersOf(b, i, depth+1)
	for m.next() && m.skip() {
		p := part{m.from - i, m.at - i}
		switch string(m.text()) {
		case "module_id":
			parts.module = p
			parts.known = parts.known && b[m.from] == '"'
		case "command":
			parts.command = p
			parts.known = parts.known && b[m.from] == '"'
		case "params":
			parts.params = p
		case "extra":
			parts.extra = p
		}
	}
	return m.end
}

// takeBody is parseBody where the parts of the body may be known.
func (n *names) takeBody(m *Record, body []byte, parts *bodyParts) error {
	if !parts.known {
		return n.parseBody(m, body)
	}
	m.Body = body
	if parts.module.to > 0 {
		m.Module = strings.ToLower(n.intern(unquote(parts.module.of(body))))
	}
	if parts.command.to > 0 {
		m.Command = n.intern(unquote(parts.command.of(body)))
	}
	if parts.params.to > 0 {
		m.Params = present(parts.params.of(body))
	}
	if parts.extra.to > 0 {
		m.Extra = present(parts.extra.of(body))
	}
	m.Size += copied(m.Module) + copied(m.Command)
	return nil
}

// ownMemory returns memory for n bytes, and an id in the same allocation.
func ownMemory(n int, id []byte) ([]byte, string) {
	if len(id) == 0 {
		return make([]byte, n), ""
	}
	mem := make([]byte, n+len(id))
	copy(mem[n:], id)
	// Nothing writes there any more: what is returned beside it ends before.
	return mem[:n:n], unsafe.String(&mem[n], len(id))
}

// copied is how much memory a name takes that is too long to be kept for its
// like.
func copied(name string) int {
	if len(name) <= maxName {
		return 0
	}
	return len(name)
}

// text returns the string in a JSON value.
func (n *names) text(value []byte) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("want a string, got %s", kindOf(value))
	}
	return n.intern(unquote(value)), nil
}

// plain is what a JSON string or number says; nil for any other value, and for
// none. It may share value's memory.
func plain(value []byte) []byte {
	switch {
	case len(value) == 0:
		return nil
	case value[0] == '"':
		return unquote(value)
	case value[0] == '-' || '0' <= value[0] && value[0] <= '9':
		return value
	default:
		return nil
	}
}

func present(value []byte) json.RawMessage {
	if string(value) == "null" {
		return nil
	}
	return value
}

func kindOf(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
