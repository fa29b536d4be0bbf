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

// Header is the header of requests to a push server: what is given, and what
// the requests of the source call themselves, unless that is given.
func Header(source any, given http.Header) http.Header {
	header := given.Clone()
	if header == nil {
		header = make(http.Header)
	}
	if _, ok := header["User-Agent"]; !ok {
		agent := b24pull.DefaultUserAgent
		if s, ok := source.(interface{ UserAgent() string }); ok {
			agent = s.UserAgent()
		}
		header.Set("User-Agent", agent)
	}
	return header
}

// IsNil catches the nil sources that a user is likely to come by.
func IsNil(source any) bool {
	client, ok := source.(*b24pull.Client)
	return source == nil || ok && client == nil
}
