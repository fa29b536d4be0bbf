package phpjson

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/b24pull/b24pull/internal/quote"
)

// phpDepth is how deep PHP's json_decode reads arrays and objects.
const phpDepth = 512

const (
	notUTF8 = "the text is not valid UTF-8"
	notPair = "a \\u escape is half of a surrogate pair; the portal would read no parameter at all, the token included"
	tooDeep = "nested deeper than 512; the portal would read no parameter at all, the token included"
)

// ScanText reads a JSON document as PHP's json_decode does, up to the first
// problem with its text, and tells where that is. size is the number of bytes
// that json_encode makes of it, with Unicode as it is and slashes escaped.
func ScanText(doc []byte) (size, at int, problem string) {
	depth, inString := 0, false
	for i := 0; i < len(doc); {
		read, written := 1, 1
		switch c := doc[i]; {
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			if depth++; depth > phpDepth {
				return size, i, tooDeep
			}
		case !inString && (c == '}' || c == ']'):
			depth--
		case inString && c == '\\':
			if read, written = escape(doc[i:]); read == 0 {
				return size, i, notPair
			}
		case inString:
			r, n := utf8.DecodeRune(doc[i:])
			if r == utf8.RuneError && n == 1 {
				return size, i, notUTF8
			}
			read, written = n, phpLength(r)
		}
		i += read
		size += written
	}
	return size, 0, ""
}

// escape returns the length of the escape that text begins with, that of both
// halves of a surrogate pair together, and what json_encode makes of it. Half a
// pair has none.
func escape(text []byte) (read, written int) {
	r, ok := hexEscape(text)
	switch {
	case !ok:
		return 2, 2 // like \n, which PHP escapes as well
	case !utf16.IsSurrogate(r):
		return 6, phpLength(r)
	}
	second, _ := hexEscape(text[6:])
	if utf16.DecodeRune(r, second) == utf8.RuneError {
		return 0, 0
	}
	return 12, 4
}

// hexEscape decodes the escape \uXXXX.
func hexEscape(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}

// phpLength is the number of bytes that json_encode writes for a character.
func phpLength(r rune) int {
	switch r {
	case '"', '\\', '/', '\b', '\f', '\n', '\r', '\t':
		return 2
	case '\u2028', '\u2029':
		return 6
	}
	if r < ' ' {
		return 6
	}
	return utf8.RuneLen(r)
}

// A nesting is how far the reading of a JSON array or object has come.
type nesting struct {
	path  string // of the array or object
	root  bool   // the document itself
	list  bool
	index int    // of the value in an array
	key   string // of the value in an object
	named bool   // the key has been read, and the value comes next
}

// value is the path of the value that comes next.
func (n *nesting) value() string {
	switch {
	case n.root:
		return ""
	case n.list:
		return n.path + "[" + strconv.Itoa(n.index) + "]"
	}
	return strings.TrimPrefix(n.path+keyPath(n.key), ".")
}

// PathAt names the value of a JSON document that stands at an offset, or whose
// key does, like PARAMS.list[3].
func PathAt(doc []byte, offset int) string {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	levels := []*nesting{{root: true, named: true}}
	for {
		token, err := d.Token()
		found := err != nil || d.InputOffset() > int64(offset)
		in := levels[len(levels)-1]
		key, text := token.(string)
		delim, _ := token.(json.Delim)
		switch {
		case delim == '}' || delim == ']':
			levels = levels[:len(levels)-1]
			in = levels[len(levels)-1]
			in.index, in.named = in.index+1, false
		case text && !in.list && !in.named:
			in.key, in.named = key, true
			if found {
				return shortPath(in.value())
			}
		case found:
			return shortPath(in.value())
		case delim == '{' || delim == '[':
			levels = append(levels, &nesting{path: in.value(), list: delim == '['})
		default:
			in.index, in.named = in.index+1, false
		}
	}
}

// keyPath is a key as a part of a path.
func keyPath(key string) string {
	plain := func(c rune) bool {
		return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
	}
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return !plain(c) }) {
		key = strconv.Quote(key)
	}
	return "." + key
}

// shortPath cuts a path that is too long for an error.
func shortPath(path string) string { return quote.Text(path, pathLimit) }

const pathLimit = 200
