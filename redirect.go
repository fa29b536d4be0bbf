package b24pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/quote"
)

// maxMoves is how many redirects one call follows.
const maxMoves = 3

// A portalBase is where a portal is. It changes when the portal has moved.
type portalBase struct {
	moves approvals

	mu   sync.Mutex
	base *url.URL // ends with a slash, never modified; the method's name follows
}

// MoveError says that a portal has moved and that the function given to
// WithMoved did not let the Client follow: the other host was sent nothing. It
// is ClassFinal; a call made a minute later asks again.
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
func (c *Client) follow(ctx context.Context, from, to *url.URL, a response) error {
	m := move{portalOf(from), portalOf(to)}
	err := c.base.moves.approve(ctx, m)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("b24pull: %s: asking whether to follow the portal to %s: %w", a.method, m.to, ctx.Err())
	}
	return &MoveError{Method: a.method, From: m.from, To: m.to, Err: a.redactor.Error(err)}
}

func (p *portalBase) now() *url.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.base
}

// move takes the portal from one address to another, once, however many calls
// find it gone.
func (p *portalBase) move(from, to *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base == from {
		p.base = to
		p.moves.arrived(portalOf(to))
	}
}

func portalOf(base *url.URL) string { return base.Scheme + "://" + base.Host }

// elsewhere reads where the portal has moved to: the host that a 302 names. The
// path stays ours. Only another host's REST over https is a move, since the
// call's secret goes there; any other redirect, like one to a login page, is an
// error.
func (a response) elsewhere(base *url.URL) (next *url.URL, has bool, err error) {
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

// lead tells where a redirect leads. Who wants a login, or has no licence any
// more, leads to a page for ever, and no REST is to be had behind it.
func (a response) lead(base *url.URL) string { return a.redactor.Redirect(a.status, base, a.location) }

// namesPortal reports whether an address is that of a portal's REST, or nothing
// but a host. A login page has at least the way back in its query.
func namesPortal(to *url.URL) bool {
	p := path.Clean("/"+to.Path) + "/"
	return p == "//" && to.RawQuery == "" && to.Fragment == "" || strings.HasPrefix(p, "/rest/")
}

// answered reports whether an error, or none, is the answer of a portal's REST.
func answered(err error) bool {
	var refused *APIError
	return err == nil || errors.As(err, &refused) && refused.Code != ""
}

const (
	// vetoPause is how long a veto holds before the application is asked again.
	vetoPause = time.Minute
	// maxVerdicts bounds what is remembered: a portal may redirect to ever new
	// hosts.
	maxVerdicts = 32
)

// A move is from one address of a portal to another, scheme and host each.
type move struct{ from, to string }

// approvals remembers what the function of WithMoved has said of moves.
type approvals struct {
	asked func(ctx context.Context, from, to string) error // nil: every move is followed

	mu       sync.Mutex
	verdicts map[move]*verdict
}

// A verdict is what was said of a move, or is being said.
type verdict struct {
	done chan struct{} // closed when the function has returned

	// The rest is valid once done is closed.
	said  bool // false: the caller left, or the function panicked; nothing was decided
	err   error
	until time.Time // of a veto
}

// over reports whether a verdict that was given holds no longer.
func (v *verdict) over(now time.Time) bool {
	select {
	case <-v.done:
		return !v.said || v.err != nil && !now.Before(v.until)
	default:
		return false
	}
}

// asking marks the context that the function of WithMoved is given.
type asking struct{ of *approvals }

// approve returns what the function says of a move. Of several callers one asks and
// the others wait for the answer, each until its own context ends. If the
// context of the one who asks ends, nothing is decided, and the next one asks.
func (a *approvals) approve(ctx context.Context, m move) error {
	if a.asked == nil {
		return nil
	}
	if ctx.Value(asking{a}) != nil {
		return errors.New("the function of WithMoved has called the portal itself")
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, mine := a.verdict(m)
		if mine {
			return a.decide(ctx, m, v)
		}
		select {
		case <-v.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if v.said {
			return v.err
		}
	}
}

// verdict returns the verdict on a move, and whether it is the caller's to
// give.
func (a *approvals) verdict(m move) (v *verdict, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if v = a.verdicts[m]; v != nil && !v.over(now) {
		return v, false
	}
	if len(a.verdicts) >= maxVerdicts {
		clear(a.verdicts)
	}
	if a.verdicts == nil {
		a.verdicts = make(map[move]*verdict)
	}
	v = &verdict{done: make(chan struct{})}
	a.verdicts[m] = v
	return v, true
}

func (a *approvals) decide(ctx context.Context, m move, v *verdict) error {
	defer close(v.done)
	err := a.asked(context.WithValue(ctx, asking{a}, true), m.from, m.to)
	if err == nil || ctx.Err() == nil {
		v.said, v.err, v.until = true, err, time.Now().Add(vetoPause)
	}
	return err
}

// arrived is told that the portal is at an address: a later move away from it
// is a new one, and is asked for again.
func (a *approvals) arrived(at string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.verdicts, func(m move, _ *verdict) bool { return m.from == at })
}
