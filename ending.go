package b24pull

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/b24pull/b24pull/internal/netfail"
)

// Ending says whether an error of the source of a subscription's config ends
// that.
type Ending int

const (
	// EndsNothing: the source is asked again after a delay.
	EndsNothing Ending = iota
	// EndsStart: it ends a subscription that has not had a config yet: somebody
	// has to see to it. Once it has had one, it goes on: what has worked may
	// work again, as an administrator of the portal can take back what he has
	// changed.
	EndsStart
	// EndsRun: it ends a subscription, however long that has run.
	EndsRun
)

// String is the ending in words, like "ends a start".
func (e Ending) String() string {
	switch e {
	case EndsNothing:
		return "ends nothing"
	case EndsStart:
		return "ends a start"
	case EndsRun:
		return "ends a run"
	default:
		return fmt.Sprintf("Ending(%d)", int(e))
	}
}

// MarshalText gives the text of String.
func (e Ending) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// EndingOf returns the Ending of an error: by its code where that is known.
// Else EndsStart is what waiting hardly helps against: a certificate that is
// not trusted, a host whose name does not exist, a port that does not speak
// TLS, a proxy that wants a password, an empty token, an expired one whose
// source has no other or that has no refresh token, an answer without an error
// code that is no JSON or has an HTTP status from 300 to 499, as of an address
// that is no portal, and a refusal by an unknown code with a status below 500.
// What is busy, slow, broken off, empty or unreachable, a move that WithMoved
// refuses, and all errors that are none of this package's, are EndsNothing.
func EndingOf(err error) Ending {
	var vetoed *MoveError
	if errors.As(err, &vetoed) {
		return EndsNothing // whatever the veto's own error is
	}
	for _, e := range endings {
		if errors.Is(err, e.err) {
			return e.ending
		}
	}
	if endsStart(err) {
		return EndsStart
	}
	return EndsNothing
}

// endsStart is EndingOf for errors that have no sentinel.
func endsStart(err error) bool {
	var token *TokenError
	var refused *APIError
	switch {
	case errors.As(err, &token) && token.Status != 0:
		_, known := codes[strings.ToLower(token.Code)]
		return !known && !token.standard() && !token.passes() && netfail.Refused(token.Status)
	case errors.As(err, &token):
		return token.unrefreshed() || netfail.Hopeless(token.Err) || netfail.ProxyAsks(token.Err)
	case errors.As(err, &refused):
		return refused.endsStart()
	}
	return netfail.Hopeless(err) || netfail.ProxyAsks(err)
}

func (e *APIError) endsStart() bool {
	switch sentinel := codes[strings.ToLower(e.Code)]; {
	case sentinel != nil:
		return sentinel == ErrExpiredToken && e.unrefreshed
	case e.Code == "" && (e.half || !e.page && e.Status < http.StatusMultipleChoices):
		return false // part of an answer, or an odd one
	}
	return e.Status < http.StatusMultipleChoices || netfail.Refused(e.Status)
}

// endings are the sentinels that end a subscription; end fills it.
var endings []ended

type ended struct {
	err    error
	ending Ending
}

func end(err error, how Ending) error {
	if how != EndsNothing {
		endings = append(endings, ended{err, how})
	}
	return err
}
