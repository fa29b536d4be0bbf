package redact

import "net/http"

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
		answer.Header.Del("Location")
	}
	return answer, err
}
