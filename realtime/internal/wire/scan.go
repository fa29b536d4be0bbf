package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/bits"
)

// The functions here check JSON and find its parts in one pass, without taking
// it apart: what a message's params hold is the user's to decode. Each skip
// function returns the index behind what begins at b[i], or -1 if that is not
// valid JSON. They accept exactly what encoding/json accepts.
//
// Codecs use no more of them than eachMember, unquote and members with
// skipValue: behind these the jsontext of encoding/json/v2 can take their place
// when it is no experiment any more.

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
	m := membersOf(b, i, 1)
	for m.next() {
		if failed == nil && m.skip() {
			failed = visit(m.text(), m.value())
		} else if failed != nil {
			m.skip()
		}
	}
	if m.end < 0 || skipSpace(b, m.end) != len(b) {
		return errNoJSON
	}
	return failed
}

// members goes over those of an object:
//
//	for m := membersOf(b, i, depth); m.next(); m.skip() {
//
// Its value can be skipped otherwise, by setting at behind it.
type members struct {
	b     []byte
	depth int
	at    int // where the member's value begins, and then where it ends
	from  int // where its value begins
	name  []byte
	plain bool // there is no escape in it
	begun bool
	end   int // behind the object when there are no more; -1 if it is not valid
}

// membersOf are those of the object at b[i], which is so deep in others, itself
// included.
func membersOf(b []byte, i, depth int) members {
	m := members{b: b, depth: depth, at: i, end: -1}
	if depth > maxNesting {
		m.at = -1
	}
	return m
}

// next goes to the next member's value.
func (m *members) next() bool {
	b, i := m.b, m.at
	if i < 0 {
		return false
	}
	if !m.begun {
		m.begun = true
		if i = skipSpace(b, i+1); i < len(b) && b[i] == '}' {
			m.end = i + 1
			return false
		}
	} else {
		if i = skipSpace(b, i); i >= len(b) {
			return false
		}
		switch b[i] {
		case '}':
			m.end = i + 1
			return false
		case ',':
			i = skipSpace(b, i+1)
		default:
			return false
		}
	}
	if i >= len(b) || b[i] != '"' {
		return false
	}
	end := plainEnd(b, i+1)
	if m.plain = end < len(b) && b[end] == '"'; m.plain {
		end++
	} else if end = skipString(b, i); end < 0 {
		return false
	}
	m.name = b[i:end]
	if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
		return false
	}
	m.at = skipSpace(b, i+1)
	m.from = m.at
	return true
}

// skip goes behind the value, and reports whether it is valid.
func (m *members) skip() bool {
	m.at = skipValue(m.b, m.at, m.depth)
	return m.at >= 0
}

// value is what skip has gone over.
func (m *members) value() []byte { return m.b[m.from:m.at:m.at] }

// text is what the member's name says. Only where that is one of letters is it
// sure to be valid UTF-8.
func (m *members) text() []byte {
	if m.plain {
		return m.name[1 : len(m.name)-1]
	}
	return unquote(m.name)
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
		return skipObject(b, i, depth+1)
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

// skipObject is members for one who wants to know of none of them.
func skipObject(b []byte, i, depth int) int {
	if depth > maxNesting {
		return -1
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return -1
		}
		if i = skipString(b, i); i < 0 {
			return -1
		}
		if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = skipValue(b, skipSpace(b, i+1), depth); i < 0 {
			return -1
		}
		if i = skipSpace(b, i); i >= len(b) {
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
	for i++; ; i++ {
		if i = plainEnd(b, i); i >= len(b) {
			return -1
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		default: // a backslash
			if i = skipEscape(b, i+1); i < 0 {
				return -1
			}
		}
	}
}

// plainEnd is the index of the first byte from b[i] on that is a quote, a
// backslash or a control character; len(b) if there is none. It looks at eight
// at a time.
func plainEnd(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// The high bit of each byte that was less than what is subtracted; of
		// those above the first, which has borrowed, it need not be true.
		found := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < 0x20 {
			break
		}
	}
	return i
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
