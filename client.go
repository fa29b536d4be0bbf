package b24pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/b24pull/b24pull/internal/dial"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/useragent"
)

const (
	// DefaultTimeout bounds a request where WithTimeout does not say otherwise.
	DefaultTimeout = 30 * time.Second

	// DefaultUserAgent is the User-Agent of all requests where nothing else was
	// said.
	DefaultUserAgent = "b24pull (https://github.com/b24pull/b24pull)"

	answerLimit = 8 << 20
)

// Client calls the REST methods of a portal. It is safe for concurrent use and
// prints without its secrets. Make one with New.
type Client struct {
	auth    Auth
	base    *portalBase
	secrets func() redact.Redactor // a function, which fmt prints as an address
	http    *http.Client
	rest    *resty.Client
	agent   string
	timeout time.Duration
	limiter *Limiter
	retry   Retry
	pauses  *pauses
}

// Option changes a Client that New makes.
type Option func(*options) error

type options struct {
	http        *http.Client
	timeout     time.Duration
	userAgent   string
	limiter     *Limiter
	retry       Retry
	approveMove func(ctx context.Context, from, to string) error
	plain       bool
}

// WithHTTPClient sets the HTTP client for all calls: its transport has the
// proxy, the TLS roots and the dialer. The client is never modified. Redirects
// are not followed, whatever its CheckRedirect says, and its Timeout holds
// besides that of WithTimeout.
//
// Each call over HTTP/1 has a connection of its own, which ends with the
// answer: what a server sends behind an answer over one that is kept, net/http
// prints with the process's own logger, and that can be the webhook's code.
// Connections of HTTP/2 are kept.
func WithHTTPClient(c *http.Client) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("b24pull: WithHTTPClient: the client is nil; leave the option out for one of the Client's own")
		}
		o.http = c
		return nil
	}
}

// WithTimeout bounds each request of a call, and each getting of a token for
// one. The whole call, with its pauses and repeats, is bounded by its context
// and by WithRetry. The time does not run while a request, or a refresh of
// package oauth, waits for its turn among those of a fleet
// (fleet.WithRequests). The default is DefaultTimeout.
func WithTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 {
			return fmt.Errorf("b24pull: WithTimeout: %v is not a positive duration; the default is %v", d, DefaultTimeout)
		}
		o.timeout = d
		return nil
	}
}

// WithUserAgent sets the User-Agent header of all calls, and of what package
// realtime asks the push server with this Client as its source. The default is
// DefaultUserAgent. Application.UserAgent is for the authorization server.
func WithUserAgent(agent string) Option {
	return func(o *options) error {
		if err := useragent.Check(agent); err != nil {
			return fmt.Errorf("b24pull: WithUserAgent: %w", err)
		}
		o.userAgent = agent
		return nil
	}
}

// WithRetry sets how calls are repeated; see Class for which. The default is
// Retry{}.
func WithRetry(r Retry) Option {
	return func(o *options) (err error) {
		o.retry, err = r.withDefaults()
		return err
	}
}

// WithLimiter sets the Limiter that the calls wait for; nil for none, which
// suits a portal on a server of its own. The default is one of the Client's
// own, with DefaultLimitBurst and DefaultLimitRate.
func WithLimiter(l *Limiter) Option {
	return func(o *options) error {
		o.limiter = l
		return nil
	}
}

// WithPlainHTTP lets the portal's address be http on any host, like that of a
// box in the own network without a certificate. The webhook's code or the token
// then goes over the network as it is, with every call: whoever is on the way
// can read it and call as you. Without this option http is taken for a loopback
// host only. A portal that moves is followed to https alone, all the same.
func WithPlainHTTP() Option {
	return func(o *options) error {
		o.plain = true
		return nil
	}
}

// WithMoved has moved called when the portal answers that it has another
// address, before that address is sent anything: a request there has the token
// or the code of the webhook in it. from and to are scheme and host,
// https://portal.bitrix24.com. nil lets the call go on at the new address; once
// that has answered as a portal the Client stays there, see Client.Portal. What
// is stored, like Token.Portal, is the caller's to change.
//
// An error is a veto: the call fails with a *MoveError, and so does every other
// one that meets the same move within a minute, without asking. Then moved is
// called again. A move that was allowed is asked for once. Of concurrent calls
// one asks, and the others wait for what it is told. ctx is the call's, and
// nothing else bounds moved, which must not call the Client. A subscription
// takes a veto as it takes a portal that fails: it goes on as long as its
// channels live, and tries again.
//
// Without WithMoved every move to https is followed.
func WithMoved(moved func(ctx context.Context, from, to string) error) Option {
	return func(o *options) error {
		if moved == nil {
			return errors.New("b24pull: WithMoved: the function is nil; without the option every move is followed")
		}
		o.approveMove = moved
		return nil
	}
}

// New returns a Client for the portal that auth names. It checks auth and the
// options and does no I/O.
func New(auth Auth, opts ...Option) (*Client, error) {
	if auth == nil {
		return nil, errors.New("b24pull: New: the auth is nil; use Webhook or OAuth")
	}
	o := options{timeout: DefaultTimeout, userAgent: DefaultUserAgent, limiter: NewLimiter(DefaultLimitBurst, DefaultLimitRate)}
	o.retry, _ = Retry{}.withDefaults()
	for _, option := range opts {
		if option == nil {
			return nil, errors.New("b24pull: New: an option is nil")
		}
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	at, err := auth.endpoint(o.plain)
	if err != nil {
		return nil, err
	}
	if o.http == nil {
		o.http = &http.Client{Transport: defaultTransport()}
	}
	return &Client{
		auth: auth, base: &portalBase{base: at.base, moves: approvals{asked: o.approveMove}}, secrets: func() redact.Redactor { return at.secrets },
		http: o.http, rest: newREST(o), agent: o.userAgent, timeout: o.timeout, limiter: o.limiter, retry: o.retry,
		pauses: new(pauses),
	}, nil
}

func defaultTransport() http.RoundTripper {
	if t, ok := clonedDefault(); ok {
		dial.Guard(t)
		return t
	}
	return http.DefaultTransport
}

func clonedDefault() (*http.Transport, bool) {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, false
	}
	return t.Clone(), true
}

// newREST hands resty a copy of the HTTP client, since resty changes what it is
// given.
func newREST(o options) *resty.Client {
	own := *o.http
	own.Transport = redact.NewTransport(o.http.Transport)
	return resty.NewWithClient(&own).
		SetLogger(silence{}).
		SetDisableWarn(true).
		SetHeader("User-Agent", o.userAgent).
		SetHeader("Content-Type", "application/json").
		SetHeader("Accept", "application/json").
		SetResponseBodyLimit(answerLimit)
}

// HTTPClient returns the client given with WithHTTPClient, or else the one this
// Client made for itself. Do not change it.
func (c *Client) HTTPClient() *http.Client { return c.http }

// UserAgent returns what the calls call themselves.
func (c *Client) UserAgent() string { return c.agent }

// Portal returns the portal's scheme and host, https://portal.bitrix24.com;
// after a move the new one. It holds no secret.
func (c *Client) Portal() string { return portalOf(c.base.now()) }

// String names the portal and the kind of authorization.
func (c Client) String() string {
	if c.auth == nil {
		return "b24pull.Client(not made by New)"
	}
	return fmt.Sprintf("b24pull.Client(%v)", c.auth)
}

// Format writes String for every verb.
func (c Client) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// silence is resty's logger: resty writes addresses, which hold a webhook's
// code.
type silence struct{}

func (silence) Errorf(string, ...any) {}
func (silence) Warnf(string, ...any)  {}
func (silence) Debugf(string, ...any) {}
