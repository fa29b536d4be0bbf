package redact

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/retryafter"
)

// Error returns err in a form that tells no secret, by its text or by its
// Unwrap tree. An error that tells none is returned as it is. A *url.Error,
// which holds the address of the call, gives way to its cause; an
// *oauth2.RetrieveError, which holds the body of an answer, to a *TokenRefusal.
// What must be replaced still answers errors.Is as before. The text is of
// bounded length, and what does not print in it is quoted.
func (r Redactor) Error(err error) error {
	clean, _ := r.replace(err)
	return quote.Error(clean)
}

// replace is Error; it also reports whether the error was replaced.
func (r Redactor) replace(err error) (clean error, replaced bool) {
	var causes []error
	switch e := err.(type) {
	case nil:
		return nil, false
	case *url.Error:
		if e.Err == nil {
			return errors.New("the call failed"), true
		}
		clean, _ := r.replace(e.Err)
		return clean, true
	case *oauth2.RetrieveError:
		return r.refusal(e), true
	case interface{ Unwrap() error }:
		causes = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		causes = e.Unwrap()
	default:
		if text, ok := withoutAnswer(fmt.Sprint(err)); ok {
			return errors.New(text), true
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

// quotesAnswer matches the errors of net/http and net/textproto that go on with
// a piece of the answer in quotes, showsLine those of net/textproto that have
// it without: before the later releases of Go 1.26 they all did.
var (
	quotesAnswer = regexp.MustCompile(`^(malformed |bad Content-Length|unsupported transfer encoding|invalid )`)
	showsLine    = regexp.MustCompile(`^malformed MIME header( initial)? line`)
)

// withoutAnswer takes a piece of the answer off an error's text. It reports
// whether there was one.
func withoutAnswer(text string) (string, bool) {
	if head := showsLine.FindString(text); head != "" && text != head {
		return head, true
	}
	head, piece, quoted := strings.Cut(text, `"`)
	if !quoted || piece == "" || !quotesAnswer.MatchString(head) {
		return text, false
	}
	return strings.TrimRight(head, ": "), true
}

// clean reports whether neither the text of err, nor its fields, nor an As
// method of its own tell a secret.
func (r Redactor) clean(err error) bool {
	if tellsAll(err) {
		return false
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, err); r.Text(text) != text {
			return false
		}
	}
	return !isText(err) || withoutLong(err.Error()) == err.Error()
}

// isText reports whether an error is nothing but a text, like that of a proxy
// that refuses, which is the proxy's own. In any other a long word is part of
// an address.
func isText(err error) bool { return fmt.Sprintf("%T", err) == "*errors.errorString" }

// tellsAll reports whether errors.As reaches an error that holds an address or
// an answer as they are.
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
		if isText(err) {
			return withoutLong(r.Text(err.Error()))
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
