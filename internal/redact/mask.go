package redact

import (
	"slices"
	"strings"
)

// A word is letters and digits in a row in a text.
type word struct {
	at, end int32 // in bytes
	gap     rune  // what stands before it, if that is one character; else 0
	secret  bool
	mixed   bool // it is long and has a digit, as the parts of a channel id have
}

// wordsIn are the words of a text; find says which letters are a secret's.
func wordsIn(signs []sign, find func([]place) []bool) (words []word) {
	text := lettersIn(signs)
	secret := find(text)
	from := 0
	for i := range text {
		if !ends(text, i) {
			continue
		}
		w := word{at: text[from].at, end: text[i].end, gap: text[from].gap, secret: slices.Contains(secret[from:i+1], true)}
		w.mixed = i+1-from >= window && slices.ContainsFunc(text[from:i+1], func(p place) bool { return '0' <= p.letter && p.letter <= '9' })
		words, from = append(words, w), i+1
	}
	follow(words)
	return words
}

// follow has the part of an id go with a part that is a secret: of a channel
// that has been signed anew only the signature is another one.
func follow(words []word) {
	for i := 1; i < len(words); i++ {
		follows(words[i-1], &words[i], words[i].gap)
	}
	for i := len(words) - 1; i > 0; i-- {
		follows(words[i], &words[i-1], words[i].gap)
	}
}

func follows(one word, other *word, between rune) {
	if one.secret && other.mixed && strings.ContainsRune(".:-_", between) {
		other.secret = true
	}
}

// cover returns the words of a text as it stands, where those are secret too in
// which a secret is hidden, and go as far as that.
func cover(words, hidden []word) []word {
	hidden = slices.DeleteFunc(hidden, func(w word) bool { return !w.secret })
	slices.SortFunc(hidden, func(a, b word) int { return int(a.at - b.at) })
	var apart []word
	for _, h := range hidden {
		if n := len(apart); n > 0 && h.at < apart[n-1].end {
			apart[n-1].end = max(apart[n-1].end, h.end)
		} else {
			apart = append(apart, h)
		}
	}
	next := 0
	for i := range words {
		w := &words[i]
		at, end := w.at, w.end
		for ; next < len(apart) && apart[next].at < end; next++ {
			if h := apart[next]; h.end > at {
				w.secret, w.at, w.end = true, min(w.at, h.at), max(w.end, h.end)
			}
			if apart[next].end > end {
				break // it may hold the next word too
			}
		}
	}
	return words
}

// mask replaces the words of s that are secret, those in a row by one Mask.
func mask(s string, words []word) string {
	var b strings.Builder
	done := int32(0) // bytes of s that have been written, or masked
	for i, w := range words {
		if !w.secret {
			continue
		}
		if i == 0 || !words[i-1].secret {
			b.WriteString(s[done:w.at] + Mask)
		}
		done = max(done, w.end)
	}
	return b.String() + s[done:]
}
