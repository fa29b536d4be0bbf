package config

import (
	"net/http"
	"sync/atomic"

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
// the requests of the source call themselves, unless that is given. It is not to
// be changed: others may have it, too.
func Header(source any, given http.Header) http.Header {
	agent := b24pull.DefaultUserAgent
	if s, ok := source.(interface{ UserAgent() string }); ok {
		agent = s.UserAgent()
	}
	if len(given) == 0 {
		return agentOnly(agent)
	}
	header := given.Clone()
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", agent)
	}
	return header
}

// lastHeader is the header that agentOnly has returned last.
var lastHeader atomic.Pointer[http.Header]

// agentOnly is a header that names a user agent, and nothing else. Thousands of
// subscriptions that have the same share it.
func agentOnly(agent string) http.Header {
	if last := lastHeader.Load(); last != nil && last.Get("User-Agent") == agent {
		return *last
	}
	header := http.Header{"User-Agent": {agent}}
	lastHeader.Store(&header)
	return header
}

// IsNil catches the nil sources that a user is likely to come by.
func IsNil(source any) bool {
	client, ok := source.(*b24pull.Client)
	return source == nil || ok && client == nil
}
