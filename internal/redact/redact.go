// Package redact keeps secrets out of texts and errors.
package redact

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/retryafter"
)

// Mask stands wherever a secret would have been printed.
const Mask = "[redacted]"

// A Redactor knows some secrets and keeps them out of texts and errors.
type Redactor []string

// With returns a Redactor that knows more secrets, also as they are sent: without
// what came along when they were pasted.
func (r Redactor) With(secrets ...string) Redactor {
	r = slices.Clone(r)
	for _, s := range secrets {
		sent := addr.Trim(s)
		for _, form := range []string{s, sent, url.QueryEscape(s), url.PathEscape(s), url.QueryEscape(sent), url.PathEscape(sent)} {
			if form != "" && !slices.Contains(r, form) {
				r = append(r, form)
			}
		}
	}
	// The longest first, so that no part of one is left by another.
	slices.SortFunc(r, func(a, b string) int { return len(b) - len(a) })
	return r
}

// Text returns s without the secrets.
func (r Redactor) Text(s string) string {
	for _, secret := range r {
		s = strings.ReplaceAll(s, secret, Mask)
	}
	return s
}

// Short returns s without the secrets and control characters, cut to limit
// runes.
func (r Redactor) Short(s string, limit int) string {
	clean := []rune(strings.Join(strings.FieldsFunc(r.Text(s), func(c rune) bool {
		return c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029'
	}), " "))
	if len(clean) > limit {
		return string(clean[:limit]) + "…"
	}
	return string(clean)
}

// Error returns err in a form that tells no secret, by its text or by its
// Unwrap tree. An error that tells none is returned as it is. A *url.Error, which
// holds the address of the call, gives way to its cause; an *oauth2.RetrieveError,
// which holds the body of an answer, to a *TokenRefusal. What must be replaced
// still answers errors.Is as before.
func (r Redactor) Error(err error) error {
	clean, _ := r.replace(err)
	return clean
}

// replace is Error; it also tells whether the error was replaced.
func (r Redactor) replace(err error) (clean error, replaced bool) {
	var causes []error
	switch e := err.(type) {
	case nil:
		return nil, false
	case *url.Error:
		if e.Err == nil {
			return errors.New("the call failed"), true
		}
		return r.Error(e.Err), true
	case *oauth2.RetrieveError:
		return r.refusal(e), true
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
func (r Redactor) clean(err error) bool {
	if tellsAll(err) {
		return false
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, err); r.Text(text) != text {
			return false
		}
	}
	return true
}

// tellsAll tells whether errors.As reaches an error that holds an address or an
// answer as they are.
func tellsAll(err error) bool {
	var address *url.Error
	var answer *oauth2.RetrieveError
	return errors.As(err, &address) || errors.As(err, &answer)
}

// describe is the text of a replaced error: its causes' texts, since its own
// repeats what was taken out of them.
func (r Redactor) describe(err error, causes []error) string {
	if len(causes) == 0 {
		if tellsAll(err) {
			return fmt.Sprintf("%T", err)
		}
		return r.Text(fmt.Sprint(err))
	}
	texts := make([]string, len(causes))
	for i, cause := range causes {
		texts[i] = cause.Error()
	}
	return r.Text(strings.Join(texts, "; "))
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

// A TokenRefusal is what may be known of an *oauth2.RetrieveError.
type TokenRefusal struct {
	Code       string        // the authorization server's, like invalid_grant; "" if it is none
	Status     int           // HTTP status, 0 if there was no answer
	RetryAfter time.Duration // how long it wants to be waited for
}

func (e *TokenRefusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the authorization server refused: %s (HTTP %d)", e.Code, e.Status))
}

func (r Redactor) refusal(e *oauth2.RetrieveError) *TokenRefusal {
	clean := &TokenRefusal{Code: r.Code(e.ErrorCode, nil)}
	if e.Response != nil {
		clean.Status = e.Response.StatusCode
		clean.RetryAfter = retryafter.Wait(e.Response.Header, time.Now())
	}
	return clean
}

// codeForm is what an error code looks like. What looks otherwise is not taken for one.
var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// Code returns s if it is an error code and tells no secret. A code that is known is one whatever it holds.
func (r Redactor) Code(s string, known func(code string) bool) string {
	if !codeForm.MatchString(s) || (r.Text(s) != s && (known == nil || !known(s))) {
		return ""
	}
	return s
}
