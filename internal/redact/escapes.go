package redact

import (
	"html"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxLevels is how often a text is unescaped: JSON may stand in a string of
	// JSON, and that in an address.
	maxLevels = 4
	// maxEntity is the length of an entity of HTML that is looked at.
	maxEntity = 34
	// minBase64 is the length of base64 that can hold a window.
	minBase64 = (window*8 + 5) / 6
	// barrier is a letter that hardly any secret has: what stands on either side of it
	// does not make one together.
	barrier = 'ÿ'
)

// A sign is a character that a text says, and where it does, in bytes.
type sign struct {
	r       rune
	at, end int32
}

// signsIn are the characters of s as they stand there.
func signsIn(s string) []sign {
	all := make([]sign, 0, len(s))
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		all = append(all, sign{c, int32(i), int32(i + size)})
		i += size
	}
	return all
}

// unescape returns what a text says once the escapes of strings, addresses and
// HTML have been read; false if there are none. It takes time in proportion to
// the text.
func unescape(text []sign) ([]sign, bool) {
	first := 0
	for ; first < len(text); first++ {
		if _, n := escape(text[first:]); n > 0 {
			break
		}
	}
	if first == len(text) {
		return nil, false
	}
	said := append(make([]sign, 0, len(text)), text[:first]...)
	for i := first; i < len(text); {
		r, n := escape(text[i:])
		if n == 0 {
			said, i = append(said, text[i]), i+1
			continue
		}
		said = append(said, sign{r, text[i].at, text[i+n-1].end})
		i += n
	}
	return said, true
}

// escape returns the character that the escape at the start of a text stands
// for, and the number of signs in it, 0 if there is none.
func escape(text []sign) (r rune, n int) {
	switch text[0].r {
	case '\\':
		return backslash(text)
	case '%':
		return percent(text)
	case '&':
		return entity(text)
	}
	return 0, 0
}

// backslash reads the escapes of strings in JSON, JavaScript, PHP and Go.
func backslash(text []sign) (rune, int) {
	if len(text) < 2 {
		return 0, 0
	}
	switch c := text[1].r; {
	case c == 'u' && len(text) > 2 && text[2].r == '{':
		digits := 0
		for digits < 6 && 3+digits < len(text) && digit(text[3+digits].r) < 16 {
			digits++
		}
		if end := 3 + digits; end < len(text) && text[end].r == '}' {
			return number(text, 3, digits, 16, end+1)
		}
		return 0, 0
	case c == 'u':
		return number(text, 2, 4, 16, 6)
	case c == 'U':
		return number(text, 2, 8, 16, 10)
	case c == 'x':
		return number(text, 2, 2, 16, 4)
	case '0' <= c && c <= '7':
		return number(text, 1, 3, 8, 4)
	case strings.ContainsRune("abfnrtv", c):
		return '\n', 2
	case letter(c) == 0:
		return c, 2
	}
	return 0, 0
}

// percent reads the escapes of addresses, a character of UTF-8 at a time.
func percent(text []sign) (rune, int) {
	if len(text) > 1 && text[1].r == 'u' {
		return number(text, 2, 4, 16, 6)
	}
	var encoded [utf8.UTFMax]byte
	size := 0
	for size < len(encoded) && 3*size < len(text) && text[3*size].r == '%' {
		c, n := number(text[3*size:], 1, 2, 16, 3)
		if n == 0 {
			break
		}
		encoded[size] = byte(c)
		size++
	}
	if size == 0 {
		return 0, 0
	}
	r, size := utf8.DecodeRune(encoded[:size])
	return r, 3 * size
}

// number reads digits, and returns n if they are all there.
func number(text []sign, from, digits int, base rune, n int) (r rune, _ int) {
	if digits == 0 || from+digits > len(text) {
		return 0, 0
	}
	for _, s := range text[from : from+digits] {
		d := digit(s.r)
		if d >= base {
			return 0, 0
		}
		r = r*base + d
	}
	return r, n
}

// digit is the value of a digit, 16 for anything else.
func digit(r rune) rune {
	switch {
	case '0' <= r && r <= '9':
		return r - '0'
	case 'a' <= r && r <= 'f':
		return r - 'a' + 10
	case 'A' <= r && r <= 'F':
		return r - 'A' + 10
	}
	return 16
}

// entity reads the character references of HTML, by number or by name.
func entity(text []sign) (rune, int) {
	n := 1
	for n < min(len(text), maxEntity) && (text[n].r == '#' || text[n].r < utf8.RuneSelf && letter(text[n].r) != 0) {
		n++
	}
	if n < len(text) && text[n].r == ';' {
		n++
	}
	if n < 3 {
		return 0, 0
	}
	var b strings.Builder
	for _, s := range text[:n] {
		b.WriteRune(s.r)
	}
	said := html.UnescapeString(b.String())
	if said == b.String() {
		return 0, 0
	}
	r, size := utf8.DecodeRuneInString(said)
	return r, n - utf8.RuneCountInString(said[size:]) // the rest stands there as it is
}

// fromBase64 returns what a text says if it is base64 of either alphabet whose
// groups begin behind the first skip characters of each run.
func fromBase64(text []sign, skip int) (said []sign) {
	for i := 0; i < len(text); {
		if sextet(text[i].r) < 0 {
			i++
			continue
		}
		var run []sign
		for ; i < len(text) && (sextet(text[i].r) >= 0 || text[i].r == '\r' || text[i].r == '\n'); i++ {
			if sextet(text[i].r) >= 0 {
				run = append(run, text[i])
			}
		}
		if len(run) < minBase64+skip {
			continue
		}
		for group := range slices.Chunk(run[skip:], 4) {
			said = append(said, octets(group)...)
		}
		last := run[len(run)-1].end
		said = append(said, sign{' ', last, last}, sign{barrier, last, last}, sign{' ', last, last})
	}
	return said
}

// octets are the bytes that a group of base64 says.
func octets(group []sign) []sign {
	var bits rune
	for _, s := range group {
		bits = bits<<6 | sextet(s.r)
	}
	bits <<= 6 * (4 - len(group))
	said := make([]sign, 0, 3)
	for i := range len(group) - 1 {
		c := bits >> (16 - 8*i) & 0xff
		if c >= utf8.RuneSelf {
			c = utf8.RuneError
		}
		said = append(said, sign{c, group[i].at, group[i+1].at})
	}
	if len(said) > 0 {
		said[len(said)-1].end = group[len(group)-1].end
	}
	return said
}

// sextet is the value of a character in base64, -1 if it is none.
func sextet(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r - 'A'
	case 'a' <= r && r <= 'z':
		return r - 'a' + 26
	case '0' <= r && r <= '9':
		return r - '0' + 52
	case r == '+' || r == '-':
		return 62
	case r == '/' || r == '_':
		return 63
	}
	return -1
}
