package wire

import (
	"bytes"
	"encoding/json"
	"errors"
)

// The functions here check JSON and find its parts in one pass, without taking
// it apart: what a message's params hold is the user's to decode. Each skip
// function returns the index behind what begins at b[i], or -1 if that is not
// valid JSON. They accept exactly what encoding/json accepts.
//
// Codecs use no more of them than eachMember and unquote, merging skipObject as
// well: behind these the jsontext of encoding/json/v2 can take their place when
// it is no experiment any more.

var (
	errNoJSON   = errors.New("body is no JSON")
	errNoObject = errors.New("body is no JSON object")
)

// maxNesting is encoding/json's.
const maxNesting = 10_000

// eachMember calls visit with each member of the object that b holds: the name
// unquoted, the value as it stands. It stops at the first error of visit, but b
// must be valid to its end.
func eachMember(b []byte, visit func(name, value []byte) error) error {
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '{' {
		if end := skipValue(b, i, 0); end < 0 || skipSpace(b, end) != len(b) {
			return errNoJSON
		}
		return errNoObject
	}
	var failed error
	end := skipObject(b, i, 1, func(name, value []byte) {
		if failed == nil {
			failed = visit(unquote(name), value)
		}
	})
	if end < 0 || skipSpace(b, end) != len(b) {
		return errNoJSON
	}
	return failed
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func skipValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{':
		return skipObject(b, i, depth+1, nil)
	case '[':
		return skipArray(b, i, depth+1)
	case 't':
		return skipLiteral(b, i, "true")
	case 'f':
		return skipLiteral(b, i, "false")
	case 'n':
		return skipLiteral(b, i, "null")
	default:
		return skipNumber(b, i)
	}
}

// skipObject calls visit, if there is one, with the members of the object,
// names quoted.
func skipObject(b []byte, i, depth int, visit func(name, value []byte)) int {
	if depth > maxNesting {
		return -1
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for i < len(b) && b[i] == '"' {
		nameEnd := skipString(b, i)
		if nameEnd < 0 {
			return -1
		}
		name := b[i:nameEnd]
		i = skipSpace(b, nameEnd)
		if i >= len(b) || b[i] != ':' {
			return -1
		}
		i = skipSpace(b, i+1)
		end := skipValue(b, i, depth)
		if end < 0 {
			return -1
		}
		if visit != nil {
			visit(name, b[i:end:end])
		}
		i = skipSpace(b, end)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '}':
			return i + 1
		case ',':
			i = skipSpace(b, i+1)
		default:
			return -1
		}
	}
	return -1
}

func skipArray(b []byte, i, depth int) int {
	if depth > maxNesting {
		return -1
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = skipValue(b, i, depth); i < 0 {
			return -1
		}
		if i = skipSpace(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case ']':
			return i + 1
		case ',':
			i = skipSpace(b, i+1)
		default:
			return -1
		}
	}
}

func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		case c == '\\':
			if i = skipEscape(b, i+1); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// skipEscape takes the index behind a backslash and returns that of the
// escape's last byte.
func skipEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		for end := i + 4; i < end; {
			if i++; i >= len(b) || !isHex(b[i]) {
				return -1
			}
		}
		return i
	}
	return -1
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func skipLiteral(b []byte, i int, literal string) int {
	if end := i + len(literal); end <= len(b) && string(b[i:end]) == literal {
		return end
	}
	return -1
}

func skipNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	default:
		if i = skipDigits(b, i); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = skipDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i
}

// skipDigits wants one digit at least.
func skipDigits(b []byte, i int) int {
	start := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// IsEmptyArray reports whether raw is an array without elements, which is what
// PHP writes for an empty object.
func IsEmptyArray(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) >= 2 && raw[0] == '[' && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
}
