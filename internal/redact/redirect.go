package redact

import (
	"context"
	"net/http"
)

type locationKey struct{}

// KeepLocation returns a context whose requests write the Location that NoRedirect takes out of an answer to
// location. It is a secret.
func KeepLocation(ctx context.Context, location *string) context.Context {
	return context.WithValue(ctx, locationKey{}, location)
}

// NoRedirect is a transport that takes the Location out of every answer before net/http sees it: net/http would
// follow it, or print it in an error.
type NoRedirect struct {
	Base http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip implements http.RoundTripper.
func (t NoRedirect) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	answer, err := base.RoundTrip(req)
	if answer != nil {
		if location, ok := req.Context().Value(locationKey{}).(*string); ok {
			*location = answer.Header.Get("Location")
		}
		answer.Header.Del("Location")
	}
	return answer, err
}
