// Package quote makes the strings of a server fit for a terminal and a log: on
// one line, of bounded length, and nothing in them but what prints.
package quote

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Lengths that texts are cut to, in runes.
const (
	NameLimit = 128  // a name, an id, a host
	TextLimit = 1024 // a whole error, or the params of a message
)

// Printable reports whether s is UTF-8 and unicode.IsPrint prints all of it.
func Printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Text returns s cut to limit runes, with whatever does not print as an escape
// of a Go string.
func Text(s string, limit int) string {
	cut, more := head(s, limit)
	if Printable(cut) {
		return cut + more
	}
	var b strings.Builder
	for i, r := range cut {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(cut[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, cut[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String() + more
}

// Name is Text for a name.
func Name(s string) string { return Text(s, NameLimit) }

// head cuts s to limit runes, and says so.
func head(s string, limit int) (cut, more string) {
	for i := range s {
		if limit--; limit < 0 {
			return s[:i], "…"
		}
	}
	return s, ""
}

// JSON returns a JSON text on one line, cut to limit runes, with whatever does
// not print as an escape of JSON, so that it stays the same JSON.
func JSON(raw []byte, limit int) string {
	cut, more := head(string(raw), limit)
	if Printable(cut) {
		return cut + more
	}
	var b strings.Builder
	for _, r := range cut {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == ' ', r == '\n', r == '\r', r == '\t': // can stand outside strings only
			b.WriteByte(' ')
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	return b.String() + more
}

// Error returns err if its text is printable and not longer than TextLimit, and
// otherwise an error that wraps it and whose text is so.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := Text(text, TextLimit); clean != text {
		return &quotedError{clean, err}
	}
	return err
}

type quotedError struct {
	text string
	err  error
}

func (e *quotedError) Error() string { return e.text }
func (e *quotedError) Unwrap() error { return e.err }
