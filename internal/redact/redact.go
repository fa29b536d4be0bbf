// Package redact keeps secrets out of texts and errors.
package redact

import (
	"net/url"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Mask stands wherever a secret would have been printed.
const Mask = "[redacted]"

// A Redactor knows some secrets and keeps them out of texts and errors. The
// zero value knows none. It does not print them itself.
//
// Only letters and digits count, in either case: a secret is found also where
// it is grouped by other characters, and so is any part of it of 8 letters and
// digits, or one that lacks a character. The whole word around a part goes with
// it. It is found where the text is escaped too, as JSON, addresses and HTML
// are, up to maxLevels times, and in base64. A secret shorter than that is found
// as a word of its own: in the middle of another word it would tell more by what
// is left of that. One of fewer than 4 letters and digits is found where a value
// stands in an address, a form, JSON or a header: elsewhere it is a word of a
// language, and a text without it is a riddle. Of one that has hardly any
// letters and digits among other characters the whole is found.
type Redactor struct{ known *secrets }

// window is how many letters and digits of a secret must not be told.
const window = 8

// minWord is how many letters and digits a secret needs to be looked for as a
// word anywhere: fewer are words of a language.
const minWord = 4

// secrets are those that one call of With has added. What is looked for is made
// of them when it is needed: most are never looked for.
type secrets struct {
	before *secrets

	made  sync.Once
	given []string // until then

	parts map[uint64]struct{} // all windows of the long ones, packed
	words map[uint64]struct{} // the short ones, packed
	exact *strings.Replacer   // those of hardly any letters and digits; nil: none
}

// With returns a Redactor that knows more secrets. Give all at once, since each
// With makes Text slower.
func (r Redactor) With(more ...string) Redactor {
	count := 0
	for _, secret := range more {
		if secret != "" {
			count++
		}
	}
	if count == 0 {
		return r
	}
	given := make([]string, 0, count) // which is kept as long as the Redactor
	for _, secret := range more {
		if secret != "" {
			given = append(given, secret)
		}
	}
	return Redactor{&secrets{before: r.known, given: given}}
}

// ready makes what is looked for, and returns s.
func (s *secrets) ready() *secrets {
	s.made.Do(func() {
		s.parts, s.words = map[uint64]struct{}{}, map[uint64]struct{}{}
		var exact []string
		for _, secret := range s.given {
			exact = append(exact, s.take(secret)...)
		}
		if len(exact) > 0 {
			s.exact = strings.NewReplacer(exact...)
		}
		s.given = nil
	})
	return s
}

// take takes one secret. What it returns is to be replaced as a whole.
func (s *secrets) take(secret string) (exact []string) {
	plain := letters(secret)
	runes := utf8.RuneCountInString(secret)
	if len(plain) < window && runes >= window || len(plain) < minWord && runes > len(plain) && runes >= minWord {
		exact = []string{secret, Mask}
	}
	if len(plain) < minWord && runes >= window {
		return exact // such as the bytes of an id
	}
	s.add(plain)
	for _, escaped := range []string{url.QueryEscape(secret), url.PathEscape(secret)} {
		if form := letters(escaped); len(form) != len(plain) {
			s.add(form)
		}
	}
	return exact
}

// add takes the letters of one secret.
func (s *secrets) add(plain []byte) {
	if len(plain) < window {
		s.words[pack(plain)] = struct{}{}
		delete(s.words, 0)
		return
	}
	s.addParts(plain)
	if len(plain) >= 2*window {
		return // without one of its letters there is a whole window on one side
	}
	for i := range plain {
		less := append(append(make([]byte, 0, len(plain)), plain[:i]...), plain[i+1:]...)
		if len(less) < window {
			s.words[pack(less)] = struct{}{}
		} else {
			s.addParts(less)
		}
	}
}

func (s *secrets) addParts(plain []byte) {
	var last uint64
	for i, c := range plain {
		last = last<<8 | uint64(c)
		if i >= window-1 {
			s.parts[last] = struct{}{}
		}
	}
}

func pack(plain []byte) (packed uint64) {
	for _, c := range plain {
		packed = packed<<8 | uint64(c)
	}
	return packed
}

// letters are the letters and digits of s, a byte each.
func letters(s string) []byte {
	var all []byte
	for _, r := range s {
		if c := letter(r); c != 0 {
			all = append(all, c)
		}
	}
	return all
}

// letter is a letter or digit in the form that is compared, 0 for anything
// else. Those outside ASCII share a few values.
func letter(r rune) byte {
	switch {
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		return byte(r)
	case 'A' <= r && r <= 'Z':
		return byte(r) + 'a' - 'A'
	case r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsNumber(r)):
		return 0x80 | byte(unicode.ToLower(r))
	}
	return 0
}

// Text returns s without the secrets. It takes time in proportion to s.
func (r Redactor) Text(s string) string {
	if r.known == nil {
		return s
	}
	for k := r.known; k != nil; k = k.before {
		if exact := k.ready().exact; exact != nil {
			s = exact.Replace(s)
		}
	}
	text := signsIn(s)
	words := wordsIn(text, r.known.find)
	var hidden []word
	for range maxLevels {
		for skip := range 4 {
			hidden = append(hidden, wordsIn(fromBase64(text, skip), r.known.findParts)...)
		}
		said, escaped := unescape(text)
		if !escaped {
			break
		}
		text = said
		hidden = append(hidden, wordsIn(text, r.known.find)...)
	}
	return mask(s, cover(words, hidden))
}

// A place is a letter or digit in a text.
type place struct {
	letter  byte
	begins  bool  // a word does with it
	gap     rune  // what stands before the word, if that is one character; else 0
	at, end int32 // in bytes

	before, after [2]rune // the characters next to it, the nearest first; 0: none
}

// lettersIn are the letters and digits of a text.
func lettersIn(text []sign) []place {
	var all []place
	last := -1 // of text
	for i, c := range text {
		b := letter(c.r)
		if b == 0 {
			continue
		}
		p := place{letter: b, begins: i == 0 || last != i-1, at: c.at, end: c.end}
		for n := range 2 {
			if i-1-n >= 0 {
				p.before[n] = text[i-1-n].r
			}
			if i+1+n < len(text) {
				p.after[n] = text[i+1+n].r
			}
		}
		if last >= 0 && last == i-2 {
			p.gap = text[i-1].r
		}
		all, last = append(all, p), i
	}
	return all
}

// begins and ends report whether a word does at a letter.
func begins(text []place, i int) bool { return text[i].begins }
func ends(text []place, i int) bool   { return i == len(text)-1 || text[i+1].begins }

// find reports for each letter whether it belongs to a secret.
func (k *secrets) find(text []place) []bool {
	secret := k.findParts(text)
	for i := range text {
		if !begins(text, i) {
			continue
		}
		var word uint64
		for n := i; n < min(i+window-1, len(text)); n++ {
			word = word<<8 | uint64(text[n].letter)
			if ends(text, n) && k.hasWord(word) && (n-i+1 >= minWord || isValue(text[i:n+1])) {
				for j := i; j <= n; j++ {
					secret[j] = true
				}
			}
		}
	}
	return secret
}

// isValue reports whether letters stand where a value does in an address, a
// form, JSON or a header, or are all there is.
func isValue(letters []place) bool {
	first, last := letters[0], letters[len(letters)-1]
	for _, p := range letters[1:] {
		if p.begins && (p.gap == 0 || unicode.IsSpace(p.gap)) {
			return false
		}
	}
	// A word of a sentence in quotes, or after a colon, is followed by others.
	closed := last.after[0] == 0 || strings.ContainsRune("&;,\"'`\\/?#@)]}>|\r\n", last.after[0])
	switch before := first.before[0]; {
	case before == 0:
		return last.after[0] == 0
	case strings.ContainsRune("=/", before):
		return true
	case strings.ContainsRune(":\"'`@?&", before):
		return closed
	case before == ' ':
		return closed && strings.ContainsRune(":=", first.before[1])
	}
	return false
}

// findParts is find for the secrets that are long, which no text holds by
// chance.
func (k *secrets) findParts(text []place) []bool {
	secret := make([]bool, len(text))
	mark := func(from, to int) {
		for i := from; i < to; i++ {
			secret[i] = true
		}
	}
	var last uint64
	from, to := 0, 0 // what has been found and may go on
	for i, p := range text {
		last = last<<8 | uint64(p.letter)
		if i < window-1 || !k.hasPart(last) {
			continue
		}
		if i-window+1 > to {
			mark(trim(text, from, to))
			from = i - window + 1
		}
		to = i + 1
	}
	mark(trim(text, from, to))
	return secret
}

// trim leaves out of text[from:to] one or two letters at its ends that are
// those of a longer word, as in the «e re» of «the rest»: that is chance. If
// less than a window remains, all of it was.
func trim(text []place, from, to int) (int, int) {
	if to == 0 {
		return 0, 0
	}
	first, last := from, to
	for n := 2; n > 0; n-- {
		if !begins(text, from) && begins(text, from+n) {
			first = from + n
		}
		if !ends(text, to-1) && begins(text, to-n) {
			last = to - n
		}
	}
	if (first != from || last != to) && last-first < window {
		return 0, 0
	}
	return first, last
}

func (k *secrets) hasPart(part uint64) bool {
	for ; k != nil; k = k.before {
		if _, has := k.parts[part]; has {
			return true
		}
	}
	return false
}

func (k *secrets) hasWord(word uint64) bool {
	for ; k != nil; k = k.before {
		if _, has := k.words[word]; has {
			return true
		}
	}
	return false
}
