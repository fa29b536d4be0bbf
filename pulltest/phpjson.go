package pulltest

import "unicode/utf8"

// phpDepth is how deep PHP's json_decode reads arrays and objects.
const phpDepth = 512

// phpReads reports whether PHP's json_decode takes the text of a JSON document:
// it refuses the whole for invalid UTF-8, for an escape that is half a
// surrogate pair, and for what is nested too deep.
func phpReads(document []byte) bool {
	if !utf8.Valid(document) {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(document); i++ {
		switch c := document[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			n := escapeLength(document[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > phpDepth {
				return false
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return true
}

// escapeLength is how long the escape is that text begins with, both halves of
// a surrogate pair together; 0 for one half alone.
func escapeLength(text []byte) int {
	const first, second = 6, 12
	switch {
	case isSurrogate(text, "89abAB"):
		if len(text) >= second && isSurrogate(text[first:], "cdefCDEF") {
			return second
		}
		return 0
	case isSurrogate(text, "cdefCDEF"):
		return 0
	}
	return 2
}

// isSurrogate reports whether text begins with the escape of a surrogate whose
// second digit is one of digits.
func isSurrogate(text []byte, digits string) bool {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' || text[2] != 'd' && text[2] != 'D' {
		return false
	}
	for _, d := range []byte(digits) {
		if text[3] == d {
			return true
		}
	}
	return false
}
