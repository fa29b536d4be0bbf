package config

import (
	"net/http"

	"github.com/b24pull/b24pull"
)

// HTTPClient is the HTTP client of a source that has one to offer, as
// *b24pull.Client has, or else one of its own.
func HTTPClient(source any) *http.Client {
	if s, ok := source.(interface{ HTTPClient() *http.Client }); ok {
		if c := s.HTTPClient(); c != nil {
			return c
		}
	}
	return &http.Client{}
}

// UserAgent is what the requests of a source call themselves.
func UserAgent(source any) string {
	if s, ok := source.(interface{ UserAgent() string }); ok {
		return s.UserAgent()
	}
	return b24pull.DefaultUserAgent
}
