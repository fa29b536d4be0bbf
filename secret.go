package b24pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// mask stands wherever a secret would have been printed.
const mask = "[redacted]"

// Secret is a value that gives access to a portal's messages: a channel id, a
// signature, a jwt. It does not print itself: fmt, log/slog and encoding/json
// write "[redacted]", and nothing for an empty one. string(s) reveals the value.
//
// Three things are beyond its reach. fmt reads the unexported fields of a struct
// without asking their types, so a struct of yours that keeps a Secret or a Config
// in one needs a Format method of its own before it is printed (under %v a *Config
// prints as an address). fmt's %p and %w, which go vet reports as mistakes, print
// any string as it is. And encoding/json writes the keys of a map as they are.
type Secret string

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString is String for the verb %#v.
func (s Secret) GoString() string { return fmt.Sprintf("b24pull.Secret(%q)", s.String()) }

// Format writes the redacted form for every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		io.WriteString(f, s.GoString())
	case verb == 'q':
		io.WriteString(f, `"`+s.String()+`"`)
	default:
		io.WriteString(f, s.String())
	}
}

// LogValue is String for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the redacted form: a marshalled Config cannot be loaded
// again. Config.Raw has what to save.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText writes the redacted form.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// writeRedacted is the Format method of everything that holds secrets: one text
// without them, whatever the verb.
func writeRedacted(f fmt.State, verb rune, text string) {
	if verb == 'q' {
		text = fmt.Sprintf("%q", text)
	}
	io.WriteString(f, text)
}

// redactURL hides what in a URL can be a secret: user, query and fragment.
func redactURL(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return mask
	}
	user, query := u.User != nil, u.RawQuery != "" || u.ForceQuery || u.Fragment != ""
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	text := u.String()
	if user {
		text = strings.Replace(text, "//", "//"+mask+"@", 1)
	}
	if query {
		text += "?" + mask
	}
	return text
}

// A redactor knows the secrets of one call and keeps them out of texts and
// errors.
type redactor []string

// with returns a redactor that knows more secrets.
func (r redactor) with(secrets ...string) redactor {
	r = slices.Clone(r)
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			if form != "" && !slices.Contains(r, form) {
				r = append(r, form)
			}
		}
	}
	// The longest first, so that no part of one is left by another.
	slices.SortFunc(r, func(a, b string) int { return len(b) - len(a) })
	return r
}

// text returns s without the secrets.
func (r redactor) text(s string) string {
	for _, secret := range r {
		s = strings.ReplaceAll(s, secret, mask)
	}
	return s
}

// short returns s without the secrets and control characters, cut to limit
// runes.
func (r redactor) short(s string, limit int) string {
	clean := []rune(strings.Join(strings.FieldsFunc(r.text(s), func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029'
	}), " "))
	if len(clean) > limit {
		return string(clean[:limit]) + "…"
	}
	return string(clean)
}

// scrub returns err in a form that tells no secret, by its text or by its
// Unwrap tree. An error that tells none is returned as it is. A *url.Error, which
// holds the address of the call, gives way to its cause; an *oauth2.RetrieveError,
// which holds the body of an answer, to a *TokenError. What must be replaced
// still answers errors.Is as before.
func (r redactor) scrub(err error) error {
	clean, _ := r.replace(err)
	return clean
}

// replace is scrub; it also tells whether the error was replaced.
func (r redactor) replace(err error) (clean error, replaced bool) {
	var causes []error
	switch e := err.(type) {
	case nil:
		return nil, false
	case *url.Error:
		if e.Err == nil {
			return errors.New("the call failed"), true
		}
		return r.scrub(e.Err), true
	case *oauth2.RetrieveError:
		return r.retrieveError(e), true
	case interface{ Unwrap() error }:
		causes = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		causes = e.Unwrap()
	default:
		if text, quote, ok := strings.Cut(fmt.Sprint(err), `"`); ok && quote != "" && quotesAnswer.MatchString(text) {
			return errors.New(strings.TrimRight(text, ": ")), true
		}
	}
	var kept []error
	for _, cause := range causes {
		if clean, changed := r.replace(cause); clean != nil {
			kept = append(kept, clean)
			replaced = replaced || changed
		}
	}
	if !replaced && r.clean(err) {
		return err, false
	}
	is := func(target error) bool { return errors.Is(err, target) }
	return &scrubbedError{text: r.describe(err, kept), causes: kept, is: is}, true
}

// quotesAnswer matches the errors of net/http and net/textproto that go on with a
// piece of the answer.
var quotesAnswer = regexp.MustCompile(`^(malformed |bad Content-Length|unsupported transfer encoding|invalid )`)

// clean tells whether neither the text of err, nor its fields, nor an As method
// of its own tell a secret.
func (r redactor) clean(err error) bool {
	var address *url.Error
	var answer *oauth2.RetrieveError
	if errors.As(err, &address) || errors.As(err, &answer) {
		return false
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, err); r.text(text) != text {
			return false
		}
	}
	return true
}

// describe is the text of a replaced error: its causes' texts, since its own
// repeats what was taken out of them.
func (r redactor) describe(err error, causes []error) string {
	if len(causes) == 0 {
		var address *url.Error
		var answer *oauth2.RetrieveError
		if errors.As(err, &address) || errors.As(err, &answer) {
			return fmt.Sprintf("%T", err)
		}
		return r.text(fmt.Sprint(err))
	}
	texts := make([]string, len(causes))
	for i, cause := range causes {
		texts[i] = cause.Error()
	}
	return r.text(strings.Join(texts, "; "))
}

// A scrubbedError stands for an error whose text or fields held a secret.
type scrubbedError struct {
	text   string
	causes []error
	is     func(error) bool
}

func (e *scrubbedError) Error() string        { return e.text }
func (e *scrubbedError) Unwrap() []error      { return e.causes }
func (e *scrubbedError) Is(target error) bool { return e.is(target) }
