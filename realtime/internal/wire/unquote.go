package wire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// unquote returns what a valid JSON string says, as encoding/json reads it. It
// may share the string's memory.
func unquote(quoted []byte) []byte {
	text := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return text
	}
	said := make([]byte, 0, len(text)+2*utf8.UTFMax) // what is not valid becomes longer
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\':
			said, i = unescape(said, text, i+1)
		case c < utf8.RuneSelf:
			said, i = append(said, c), i+1
		default:
			r, n := utf8.DecodeRune(text[i:])
			said, i = utf8.AppendRune(said, r), i+n
		}
	}
	return said
}

// unescape appends what the escape says whose letter is text[i], and returns
// the index behind it.
func unescape(said, text []byte, i int) ([]byte, int) {
	switch c := text[i]; c {
	case 'b':
		return append(said, '\b'), i + 1
	case 'f':
		return append(said, '\f'), i + 1
	case 'n':
		return append(said, '\n'), i + 1
	case 'r':
		return append(said, '\r'), i + 1
	case 't':
		return append(said, '\t'), i + 1
	case 'u':
		r, end := hexRune(text, i), i+5
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if end+1 < len(text) && text[end] == '\\' && text[end+1] == 'u' {
				pair = utf16.DecodeRune(r, hexRune(text, end+1))
			}
			if r = pair; pair != utf8.RuneError {
				end += 6
			}
		}
		return utf8.AppendRune(said, r), end
	default:
		return append(said, c), i + 1
	}
}

// hexRune reads the four digits behind the u at text[i].
func hexRune(text []byte, i int) (r rune) {
	for _, c := range text[i+1 : i+5] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}
