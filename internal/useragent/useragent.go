// Package useragent sets the User-Agent of requests.
package useragent

import (
	"errors"
	"net/http"
	"strings"
)

// Check wants what can stand in a header.
func Check(agent string) error {
	if agent == "" || strings.ContainsFunc(agent, func(c rune) bool { return c < ' ' || c > '~' }) {
		return errors.New("want printable ASCII")
	}
	return nil
}

// Transport sets the header, for x/oauth2, which has no way to set a header.
type Transport struct {
	Base  http.RoundTripper
	Agent string
}

// RoundTrip sends a copy of the request.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.Agent)
	return t.Base.RoundTrip(req)
}
