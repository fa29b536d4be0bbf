package b24pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/quote"
)

// maxMoves is how many redirects one call follows.
const maxMoves = 3

// A place is where a portal is. It changes when the portal has moved.
type place struct {
	moves approvals

	mu   sync.Mutex
	base *url.URL // ends with a slash, never modified; the method's name follows
}

// MoveError says that a portal has moved and that the function given to WithMoved did
// not let the Client follow: the other host was sent nothing. It is Final; a call made a
// minute later asks again.
type MoveError struct {
	// Method is the REST method called, like pull.config.get.
	Method string
	// From and To are the two addresses, scheme and host.
	From, To string
	// Err is what the function returned, without secrets.
	Err error
}

// Error names the two addresses and why the move was not followed.
func (e *MoveError) Error() string {
	return fmt.Sprintf("b24pull: %s: the portal has moved from %s to %s, and WithMoved did not let the call follow: %v", e.Method, quote.Name(e.From), quote.Name(e.To), quote.Error(e.Err))
}

// Unwrap returns Err.
func (e *MoveError) Unwrap() error { return e.Err }

// follow asks whether a call may go on at another address.
func (c *Client) follow(ctx context.Context, from, to *url.URL, a answer) error {
	m := move{portalOf(from), portalOf(to)}
	err := c.place.moves.ask(ctx, m)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("b24pull: %s: asking whether to follow the portal to %s: %w", a.method, m.to, ctx.Err())
	}
	return &MoveError{Method: a.method, From: m.from, To: m.to, Err: a.known.Error(err)}
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
	defer p.mu.Unlock()
	if p.base == from {
		p.base = to
		p.moves.arrived(portalOf(to))
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
	case err != nil || a.location == "" || to.Hostname() == "" || !quote.Printable(to.Host) || to.Opaque != "" || to.User != nil,
		addr.SameHost(to, base), !namesPortal(to):
		return nil, false, a.fail("the portal answered with " + a.lead(base))
	case to.Scheme != "https":
		return nil, false, a.fail("the portal answered with a redirect to REST that is not https; it is not followed")
	}
	moved := *base
	moved.Scheme, moved.Host = to.Scheme, addr.Host(to)
	return &moved, true, nil
}

// lead tells where a redirect leads. Who wants a login, or has no licence any more, leads to
// a page for ever, and no REST is to be had behind it.
func (a answer) lead(base *url.URL) string { return a.known.Redirect(a.status, base, a.location) }

// namesPortal reports whether an address is that of a portal's REST, or nothing but a
// host. A login page has at least the way back in its query.
func namesPortal(to *url.URL) bool {
	p := path.Clean("/"+to.Path) + "/"
	return p == "//" && to.RawQuery == "" && to.Fragment == "" || strings.HasPrefix(p, "/rest/")
}

// answered tells whether an error, or none, is the answer of a portal's REST.
func answered(err error) bool {
	var refused *APIError
	return err == nil || errors.As(err, &refused) && refused.Code != ""
}
