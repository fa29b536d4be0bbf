package redact

import (
	"regexp"
	"strings"

	"github.com/b24pull/b24pull/internal/quote"
)

const (
	// maxWord is how many letters and digits a word may have that is not taken
	// for a secret, or a part of one, that the Redactor does not know.
	maxWord = 24
	// maxPlain is maxWord for letters all of one case.
	maxPlain = 40
	// lineInput is how much of a server's text is looked at, in bytes.
	lineInput = 8 << 10
)

// Line returns a server's text in a form that an error can have: on one line,
// cut to limit runes, without the secrets, and without words that are so long
// that they may be some. What does not print is quoted.
func (r Redactor) Line(s string, limit int) string {
	if len(s) > lineInput {
		s = s[:lineInput]
	}
	s = withoutLong(r.Text(s))
	return quote.Text(strings.Join(strings.Fields(s), " "), limit)
}

// chainForm matches words in a row, like those of a host or of a channel id,
// one of which may be a secret.
var chainForm = regexp.MustCompile(`[A-Za-z0-9_+=%~.:-]{25,}`)

func withoutLong(s string) string {
	return chainForm.ReplaceAllStringFunc(s, func(chain string) string {
		for word := range strings.FieldsFuncSeq(chain, func(r rune) bool { return r == '.' || r == ':' }) {
			if tooLong(word) {
				return Mask
			}
		}
		return chain
	})
}

// tooLong reports whether a word may be a secret: it has more than maxWord
// letters and digits in a row, or in groups that are not words and numbers of a
// name.
func tooLong(word string) bool {
	total, digits, mixed := 0, 0, 0
	for group := range strings.FieldsFuncSeq(word, func(r rune) bool { return letter(r) == 0 }) {
		numbers := len(group) - len(strings.Map(withoutDigits, group))
		if len(group) > maxWord && !(len(group) <= maxPlain && plainForm.MatchString(group)) {
			return true
		}
		total, digits = total+len(group), digits+numbers
		if numbers > 0 && numbers < len(group) {
			mixed++
		}
	}
	return total > maxWord && (mixed > 1 || digits >= maxWord/2)
}

var plainForm = regexp.MustCompile(`^([a-z]+|[A-Z][a-z]+|[A-Z]+)$`)

func withoutDigits(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
}

// codeForm is what an error code looks like. What looks otherwise is not taken
// for one.
var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// Code returns s if it is an error code that is no secret, nor may be one. A
// code that is known is one whatever it holds.
func (r Redactor) Code(s string, known func(code string) bool) string {
	switch {
	case !codeForm.MatchString(s):
		return ""
	case known != nil && known(s):
		return s
	case r.Text(s) != s, tooLong(s):
		return ""
	}
	return s
}
