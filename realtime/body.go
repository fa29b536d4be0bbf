package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// names keeps the module and command names of a link, which are few and come again and again, so that a
// message need not allocate them.
type names struct{ known map[string]string }

// maxNames bounds what a hostile server can make us keep.
const maxNames = 1024

// intern returns text as a string; text holds no escapes.
func (n *names) intern(text []byte) string {
	if s, ok := n.known[string(text)]; ok {
		return s
	}
	s := string(text)
	if n.known == nil {
		n.known = make(map[string]string)
	}
	if len(n.known) < maxNames && len(s) <= 128 {
		n.known[s] = s
	}
	return s
}

// parseBody reads {"module_id","command","params","extra"} into m, whose params and extra will share body's
// memory.
func (n *names) parseBody(m *Message, body []byte) error {
	var module string
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
	return err
}

// text returns the string in a JSON value.
func (n *names) text(value []byte) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("want a string, got %s", kindOf(value))
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return n.intern(value[1 : len(value)-1]), nil
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err
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
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
