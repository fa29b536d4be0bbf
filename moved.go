package b24pull

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
)

// maxMoves is how many redirects one call follows.
const maxMoves = 3

// A place is where a portal is. It changes when the portal has moved.
type place struct {
	moved func(from, to string)

	mu   sync.Mutex
	base *url.URL // ends with a slash, never modified; the method's name follows
}

func (p *place) now() *url.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.base
}

// move takes the portal from one place to another, once, however many calls
// find it gone.
func (p *place) move(from, to *url.URL) {
	p.mu.Lock()
	first := p.base == from
	if first {
		p.base = to
	}
	p.mu.Unlock()
	if first && p.moved != nil {
		p.moved(portalOf(from), portalOf(to))
	}
}

func portalOf(base *url.URL) string { return base.Scheme + "://" + base.Host }

// elsewhere reads where the portal has moved to: the host that a 302 names. The path
// stays ours. Only another host's REST over https is a move, since the call's secret
// goes there; any other redirect, like one to a login page, is an error.
func (a answer) elsewhere(base *url.URL) (next *url.URL, has bool, err error) {
	if a.status != http.StatusFound {
		return nil, false, nil
	}
	to, err := base.Parse(a.location)
	switch {
	case err != nil || a.location == "" || to.Hostname() == "" || to.Opaque != "" || to.User != nil:
		return nil, false, a.fail("the portal answered with a redirect to what is no address")
	case hostOf(to) == hostOf(base):
		return nil, false, a.fail("the portal answered with a redirect to itself")
	case to.Scheme != "https":
		return nil, false, a.fail("the portal answered with a redirect that is not to https; it is not followed")
	case !restPath(to.Path):
		return nil, false, a.fail("the portal answered with a redirect to what is no REST address; it is not followed")
	}
	moved := *base
	moved.Scheme, moved.Host = to.Scheme, hostOf(to)
	return &moved, true, nil
}

// hostOf is the host of an address in the one form that it is compared in: lower
// case, no dot at the end, and no port that is the scheme's own.
func hostOf(u *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return host
	}
	return host + ":" + port
}

// restPath tells whether a path is that of a portal's REST, or none at all.
func restPath(p string) bool {
	p = path.Clean("/"+p) + "/"
	return p == "//" || strings.HasPrefix(p, "/rest/")
}

// answered tells whether an error, or none, is the answer of a portal's REST.
func answered(err error) bool {
	var refused *APIError
	return err == nil || errors.As(err, &refused) && refused.Code != ""
}
