package phpjson

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// encoding/json makes several small pieces of memory for each field of a map,
// and there are as many configs as portals.

// fieldsOf takes a JSON object apart, which is known to be valid. The fields are
// parts of it. Of several with the same name it is the last.
func fieldsOf(object json.RawMessage) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage)
	rest := skipSpace(skipSpace(object)[1:])
	for rest[0] != '}' {
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
		end := valueEnd(rest)
		name, _ := Text(rest[:end])
		rest = skipSpace(skipSpace(rest[end:])[1:]) // the colon
		end = valueEnd(rest)
		fields[name] = json.RawMessage(rest[:end:end])
		rest = skipSpace(rest[end:])
	}
	return fields
}

func skipSpace(text []byte) []byte { return bytes.TrimLeft(text, " \t\r\n") }

// valueEnd returns where the value ends that stands at the beginning of valid
// JSON.
func valueEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i // of what the value is in
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default: // a number or a word goes on
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

// stringEnd returns where the string ends that stands at the beginning of valid
// JSON.
func stringEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// Text decodes a JSON string. It reports whether raw is one, or null.
func Text(raw json.RawMessage) (text string, ok bool) {
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' && plain(raw[1:n-1]) {
		return string(raw[1 : n-1]), true
	}
	return decodedText(raw)
}

// decodedText is Text of what does not stand in JSON as it is. It is apart since
// what json.Unmarshal writes to is allocated, even where it is not called.
func decodedText(raw json.RawMessage) (text string, ok bool) {
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

// plain reports whether a text stands in JSON as it is.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.Valid(text)
}
