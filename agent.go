package b24pull

import (
	"errors"
	"net/http"
	"strings"
)

// checkUserAgent wants what can stand in a header.
func checkUserAgent(agent string) error {
	if agent == "" || strings.ContainsFunc(agent, func(c rune) bool { return c < ' ' || c > '~' }) {
		return errors.New("want printable ASCII")
	}
	return nil
}

// userAgent is a transport for x/oauth2, which has no way to set a header.
type userAgent struct {
	base  http.RoundTripper
	agent string
}

func (t userAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.agent)
	return t.base.RoundTrip(req)
}
