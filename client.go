package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/redact"
)

const (
	// DefaultTimeout bounds a call where WithTimeout does not say otherwise.
	DefaultTimeout = 30 * time.Second

	defaultUserAgent = "b24pull (https://github.com/b24pull/b24pull)"
	answerLimit      = 8 << 20
)

// Client calls the REST methods of a portal. It is safe for concurrent use and
// prints without its secrets. Make one with New.
type Client struct {
	auth    Auth
	base    *url.URL
	portal  string
	secrets func() redact.Redactor // a function, which fmt prints as an address
	http    *http.Client
	rest    *resty.Client
	timeout time.Duration
}

// Option changes a Client that New makes.
type Option func(*options) error

type options struct {
	http      *http.Client
	timeout   time.Duration
	userAgent string
}

// WithHTTPClient sets the HTTP client for all calls: its transport has the proxy,
// the TLS roots and the dialer. The client is never modified. Redirects are not
// followed, whatever its CheckRedirect says, and its Timeout holds besides that of
// WithTimeout.
func WithHTTPClient(c *http.Client) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("b24pull: WithHTTPClient: the client is nil")
		}
		o.http = c
		return nil
	}
}

// WithTimeout bounds each call, getting a token included. The default is
// DefaultTimeout.
func WithTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 {
			return fmt.Errorf("b24pull: WithTimeout: %v is not a positive duration", d)
		}
		o.timeout = d
		return nil
	}
}

// WithUserAgent sets the User-Agent header of all calls.
func WithUserAgent(agent string) Option {
	return func(o *options) error {
		if agent == "" || strings.ContainsFunc(agent, func(c rune) bool { return c < ' ' || c > '~' }) {
			return errors.New("b24pull: WithUserAgent: want printable ASCII")
		}
		o.userAgent = agent
		return nil
	}
}

// New returns a Client for the portal that auth names. It checks auth and the
// options and does no I/O.
func New(auth Auth, opts ...Option) (*Client, error) {
	if auth == nil {
		return nil, errors.New("b24pull: New: the auth is nil; use Webhook or OAuth")
	}
	at, err := auth.endpoint()
	if err != nil {
		return nil, err
	}
	o := options{timeout: DefaultTimeout, userAgent: defaultUserAgent}
	for _, option := range opts {
		if option == nil {
			return nil, errors.New("b24pull: New: an option is nil")
		}
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	if o.http == nil {
		o.http = &http.Client{Transport: defaultTransport()}
	}
	return &Client{
		auth: auth, base: at.base, portal: at.portal, secrets: func() redact.Redactor { return at.secrets },
		http: o.http, rest: newREST(o), timeout: o.timeout,
	}, nil
}

func defaultTransport() http.RoundTripper {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return http.DefaultTransport
}

// newREST hands resty a copy of the HTTP client, since resty changes what it is
// given.
func newREST(o options) *resty.Client {
	own := *o.http
	own.Transport = redact.NoRedirect{Base: o.http.Transport}
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

// Portal returns the portal's scheme and host, https://portal.bitrix24.com. It
// holds no secret.
func (c *Client) Portal() string { return c.portal }

// String names the portal and the kind of authorization.
func (c Client) String() string {
	if c.auth == nil {
		return "b24pull.Client(not made by New)"
	}
	return fmt.Sprintf("b24pull.Client(%v)", c.auth)
}

// Format writes String for every verb.
func (c Client) Format(f fmt.State, verb rune) { writeRedacted(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// call is the one path to the portal. params may be nil and is not modified. take
// gets an answer that has a result.
func (c *Client) call(ctx context.Context, method string, params map[string]any, take func(answer) error) error {
	if c == nil || c.rest == nil {
		return errors.New("b24pull: the Client was not made by New")
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.exchange(limited, method, params, take)
	if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("b24pull: %s: no answer within %v: %w", method, c.timeout, context.DeadlineExceeded)
	}
	return err
}

// exchange posts, and posts once more with another token if the portal refused
// the first as expired.
func (c *Client) exchange(ctx context.Context, method string, params map[string]any, take func(answer) error) error {
	token, err := c.auth.token(ctx)
	known := withToken(c.secrets(), token)
	if err != nil {
		return tokenError(known, err)
	}
	a, err := c.post(ctx, method, params, token, known)
	if token != nil && errors.Is(err, ErrExpiredToken) {
		next, refreshErr := c.auth.refused(ctx, token)
		known = withToken(known, next)
		switch {
		case refreshErr != nil:
			return tokenError(known, refreshErr)
		case next != nil && next.AccessToken != token.AccessToken:
			a, err = c.post(ctx, method, params, next, known)
		}
	}
	if err != nil {
		return err
	}
	return take(a)
}

func withToken(known redact.Redactor, token *oauth2.Token) redact.Redactor {
	if token == nil {
		return known
	}
	return known.With(token.AccessToken, token.RefreshToken)
}

// post sends one request and returns the answer, if it has a result.
func (c *Client) post(ctx context.Context, method string, params map[string]any, token *oauth2.Token, known redact.Redactor) (answer, error) {
	body := maps.Clone(params)
	if body == nil {
		body = map[string]any{}
	}
	if token != nil {
		body["auth"] = token.AccessToken
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("b24pull: %s: the parameters: %w", method, known.Error(err))
	}
	resp, err := c.rest.R().SetContext(ctx).SetBody(payload).Post(c.base.String() + method)
	a := answer{method: method, known: known}
	if resp != nil && resp.RawResponse != nil {
		a.status, a.contentType, a.body = resp.StatusCode(), resp.Header().Get("Content-Type"), resp.Body()
		a.received, a.took = resp.ReceivedAt(), resp.Time()
	}
	switch {
	case redirected(a.status):
		return answer{}, a.fail("the portal answered with a redirect; it may have moved")
	case errors.Is(err, resty.ErrResponseBodyTooLarge):
		return answer{}, a.fail(fmt.Sprintf("the answer is larger than %d MiB", answerLimit>>20))
	case err != nil:
		return answer{}, fmt.Errorf("b24pull: %s: %w", method, known.Error(err))
	}
	a.raw, err = a.result()
	if e, ok := err.(*APIError); ok && e.Code == "" && ctx.Err() != nil {
		// Half an answer, since the end of the context cut the connection.
		return answer{}, fmt.Errorf("b24pull: %s: %w", method, ctx.Err())
	}
	return a, err
}

// silence is resty's logger: resty writes addresses, which hold a webhook's
// code.
type silence struct{}

func (silence) Errorf(string, ...any) {}
func (silence) Warnf(string, ...any)  {}
func (silence) Debugf(string, ...any) {}
