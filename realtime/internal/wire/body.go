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
type names struct {
	modules, commands nameSet // of modules in lower case
}

// nameSet is some names, by the JSON strings that they come in.
type nameSet struct {
	known map[string]*name
	last  *name // that came
}

type name struct{ quoted, text string }

// maxNames and maxName bound what a hostile server can make us keep.
const (
	maxNames = 512
	maxName  = 128
)

// of returns what a JSON string says.
func (n *nameSet) of(quoted []byte, say func(string) string) string {
	if n.last != nil && string(quoted) == n.last.quoted {
		return n.last.text
	}
	if known, ok := n.known[string(quoted)]; ok {
		n.last = known
		return known.text
	}
	text := say(string(unquote(quoted)))
	if n.known == nil {
		n.known = make(map[string]*name)
	}
	if len(n.known) < maxNames && len(text) <= maxName && len(quoted) <= 2*maxName {
		n.last = &name{string(quoted), text}
		n.known[n.last.quoted] = n.last
	}
	return text
}

func (n *names) module(quoted []byte) string { return n.modules.of(quoted, strings.ToLower) }

func (n *names) command(quoted []byte) string { return n.commands.of(quoted, asItIs) }

func asItIs(text string) string { return text }

// parseBody reads {"module_id","command","params","extra"} into m, whose params
// and extra will share body's memory.
func (n *names) parseBody(m *Record, body []byte) error {
	m.Body = body
	body = bytes.TrimPrefix(body, byteOrderMark)
	err := eachMember(body, func(name, value []byte) (err error) {
		switch string(name) {
		case "module_id":
			if err = wantString(value); err == nil {
				m.Module = n.module(value)
			}
		case "command":
			if err = wantString(value); err == nil {
				m.Command = n.command(value)
			}
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
		m.Module = n.module(parts.module.of(body))
	}
	if parts.command.to > 0 {
		m.Command = n.command(parts.command.of(body))
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

func wantString(value []byte) error {
	if value[0] != '"' {
		return fmt.Errorf("want a string, got %s", kindOf(value))
	}
	return nil
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
