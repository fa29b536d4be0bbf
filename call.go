package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"time"

	"github.com/go-resty/resty/v2"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/gate"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/retryafter"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/b24pull/b24pull/internal/underway"
)

// A request is a call to be made.
type request struct {
	method     string
	params     map[string]any // may be nil; not modified
	idempotent bool           // calling twice does no harm
	take       func(response) error
}

// call is the one path to the portal. It repeats what may be repeated.
func (c *Client) call(ctx context.Context, q request) error {
	if c == nil || c.rest == nil {
		return errors.New("b24pull: the Client was not made by New")
	}
	if _, err := encode(q.params); err != nil {
		return fmt.Errorf("b24pull: %s: the parameters: %w", q.method, c.secrets().Error(err))
	}
	so := attempts{idempotent: q.idempotent}
	for {
		err := c.exchange(ctx, q)
		if err == nil || ctx.Err() != nil {
			return err
		}
		so.took(err)
		pause, again := c.retry.pause(so, err)
		if ClassOf(err) == ClassPaused && c.pauses.knows(q.method) {
			pause, _ = c.pauses.left(q.method)
		}
		if !again {
			return err
		}
		underway.Fails(ctx, err, pause)
		gate.Pause(ctx)
		if !sleep.Within(ctx, pause) {
			if ctx.Err() != nil {
				return fmt.Errorf("%w; then %w", err, ctx.Err())
			}
			return err
		}
	}
}

// exchange posts, and posts once more with another token if the portal does not
// know the first, or has refused it as expired.
func (c *Client) exchange(ctx context.Context, q request) error {
	if err := c.turn(ctx, q); err != nil {
		return err
	}
	var token *oauth2.Token
	err := c.tokenWithin(ctx, func(ctx context.Context) (err error) {
		token, err = c.auth.token(ctx)
		return err
	})
	known := withToken(c.secrets(), token)
	if err != nil {
		return tokenError(known, err)
	}
	a, err := c.send(ctx, q, token, known)
	for _, other := range []struct {
		after error
		token func(context.Context, *oauth2.Token) (*oauth2.Token, error)
	}{{ErrNoAuth, c.auth.unknown}, {ErrExpiredToken, c.auth.refused}} {
		// The error of a veto may be one of these as well, and is no answer to
		// this call.
		refused, ok := err.(*APIError)
		if token == nil || !ok || !refused.Is(other.after) {
			continue
		}
		var next *oauth2.Token
		failed := c.tokenWithin(ctx, func(ctx context.Context) (err error) {
			next, err = other.token(ctx, token)
			return err
		})
		known = withToken(known, next)
		switch {
		case errors.Is(failed, ErrTokenRejected):
			return fmt.Errorf("%w (%w)", err, failed)
		case failed != nil:
			return tokenError(known, failed)
		case next == nil || next.AccessToken == token.AccessToken:
			refused.unrefreshed = other.after == ErrExpiredToken
			return err
		}
		if err := c.turn(ctx, q); err != nil {
			return err
		}
		token = next
		a, err = c.send(ctx, q, token, known)
		if errors.Is(err, other.after) && errors.Is(err, ErrExpiredToken) {
			c.auth.rejected(token)
		}
	}
	if err != nil {
		return err
	}
	return q.take(a)
}

// turn waits for the limiter. A method that is paused, before or meanwhile, is
// refused as the portal would.
func (c *Client) turn(ctx context.Context, q request) error {
	if _, err := c.pauses.left(q.method); err != nil {
		return err
	}
	underway.Waits(ctx, "its turn by the Limiter")
	if err := c.limiter.wait(ctx); err != nil {
		return fmt.Errorf("b24pull: %s: %w", q.method, err)
	}
	_, err := c.pauses.left(q.method)
	return err
}

func withToken(known redact.Redactor, token *oauth2.Token) redact.Redactor {
	if token == nil {
		return known
	}
	return known.With(token.AccessToken, token.RefreshToken)
}

// send posts, and follows a portal that has moved.
func (c *Client) send(ctx context.Context, q request, token *oauth2.Token, known redact.Redactor) (a response, err error) {
	start := c.base.now()
	at := start
	for range maxMoves + 1 {
		asked := at
		place, late := gate.Enter(ctx, gate.REST, asked.Host, func() { underway.Waits(ctx, turnAmongRequests) })
		if late != nil {
			return response{}, fmt.Errorf("b24pull: %s: %w", q.method, late)
		}
		host := func() string { return known.Text(addr.HostPort(asked)) } // takes time, and is seldom wanted
		underway.WaitsFor(ctx, host)
		err = c.limited(ctx, q.method, host, func(ctx context.Context) (err error) {
			defer place.End(ctx) // also where a RoundTripper panics
			a, err = c.post(place.Context(ctx), at, q, token, known)
			return err
		})
		if errors.Is(err, ErrQueryLimit) {
			c.limiter.full()
		}
		c.pauses.note(q.method, a, err)
		next, has, refused := a.elsewhere(at)
		if refused != nil {
			return response{}, refused
		}
		if !has {
			if at != start && answered(err) {
				c.base.move(start, at)
			}
			return a, err
		}
		if err := c.follow(ctx, at, next, a); err != nil {
			return response{}, err
		}
		at = next
	}
	return response{}, a.fail("the portal answers with one redirect after another, the last one to " + known.Line(portalOf(at), descriptionLimit))
}

// post sends one request and returns the answer; without an error it has a
// result.
func (c *Client) post(ctx context.Context, base *url.URL, q request, token *oauth2.Token, known redact.Redactor) (response, error) {
	body := maps.Clone(q.params)
	if body == nil {
		body = map[string]any{}
	}
	if token != nil {
		body["auth"] = addr.Trim(token.AccessToken)
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return response{}, fmt.Errorf("b24pull: %s: the parameters: %w", q.method, known.Error(err))
	}
	a := response{method: q.method, redactor: known, portal: base}
	var trace netfail.Trace
	resp, err := c.rest.R().SetContext(redact.KeepLocation(trace.Watch(ctx), &a.location)).SetBody(payload).Post(base.String() + q.method)
	if resp != nil && resp.RawResponse != nil {
		a.status, a.contentType, a.body = resp.StatusCode(), resp.Header().Get("Content-Type"), resp.Body()
		a.received, a.took = resp.ReceivedAt(), resp.Time()
		a.retryAfter = retryafter.Wait(resp.Header(), time.Now())
	}
	switch {
	case netfail.Redirected(a.status):
		return a, a.fail("the portal answered with " + a.lead(base))
	case errors.Is(err, resty.ErrResponseBodyTooLarge):
		return response{}, a.fail(fmt.Sprintf("the answer is larger than %d MiB", answerLimit>>20))
	case err != nil:
		clean := known.Error(err)
		return response{}, &netfail.Error{Text: "b24pull: " + q.method + ": " + netfail.Explain(known.Text(addr.HostPort(base)), clean), Err: clean, Sent: trace.Sent()}
	}
	a.body = phpjson.Find(a.body, isEnvelope)
	a.raw, err = a.result()
	if e, ok := err.(*APIError); ok && e.Code == "" && ctx.Err() != nil {
		// Half an answer, since the end of the context cut the connection.
		return response{}, &netfail.Error{Text: fmt.Sprintf("b24pull: %s: %v", q.method, ctx.Err()), Err: ctx.Err(), Sent: netfail.Sent}
	}
	return a, err
}

// Response is what an answer has beside its result.
type Response struct {
	// Timing is what the answer tells about time.
	Timing Timing
	// Total is the number of items of a list method, Next the value of its
	// parameter start for the next page.
	Total, Next int64
	// HasNext reports whether there is a next page: Next can be 0 then.
	HasNext bool
}

// CallOption changes one Call.
type CallOption func(*request)

// Idempotent says that calling the method twice does no harm: the call is
// repeated also where the portal may have carried it out.
func Idempotent() CallOption { return func(q *request) { q.idempotent = true } }

var methodForm = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

func checkMethod(name string) error {
	if !methodForm.MatchString(name) {
		return errors.New("want a method's name in lower case, like crm.deal.list")
	}
	return nil
}

// Call calls any method; its name is in lower case, like crm.deal.list. params
// marshals to a JSON object; nil, or a map or pointer that is nil, is an empty
// one. The answer's result is decoded into result by encoding/json, which has to
// be a pointer, or else the call is not made; nil leaves it. The types of package php take what PHP makes of values.
//
// Strings of params, and keys, have to be valid UTF-8, and raw JSON what PHP
// takes: an escape that is half of a surrogate pair, or nesting deeper than
// 512, makes PHP read no parameter at all. Such params are ErrInvalidFormat
// without a call, and the error names the place.
//
// Errors: an *APIError, a *TokenError, those of encoding/json, which can quote
// the portal's values, or the network's.
func (c *Client) Call(ctx context.Context, method string, params, result any, opts ...CallOption) (Response, error) {
	var answered Response
	if err := checkMethod(method); err != nil {
		return answered, fmt.Errorf("b24pull: Call: %w", err)
	}
	if v := reflect.ValueOf(result); result != nil && (v.Kind() != reflect.Pointer || v.IsNil()) {
		return answered, fmt.Errorf("b24pull: %s: the result: want a pointer that is not nil: %w; the call was not made", method, &json.InvalidUnmarshalError{Type: v.Type()})
	}
	q := request{method: method}
	for _, option := range opts {
		option(&q)
	}
	q.take = func(a response) error {
		answered = a.beside()
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(a.raw, result); err != nil {
			return fmt.Errorf("b24pull: %s: the result: %w", method, a.redactor.Error(err))
		}
		return nil
	}
	var err error
	if q.params, err = callParams(params); err != nil {
		return answered, fmt.Errorf("b24pull: %s: the parameters: %w", method, err)
	}
	err = c.call(ctx, q)
	return answered, err
}

// paramsObject is the JSON object that a user's params marshal to; nil for nil,
// and for a map or pointer that is nil.
func paramsObject(params any) (json.RawMessage, error) {
	data, err := encode(params)
	if err != nil {
		return nil, err
	}
	switch kind := phpjson.KindOf(data); kind {
	case phpjson.KindNull:
		return nil, nil
	case phpjson.KindObject:
		return data, nil
	default:
		return nil, fmt.Errorf("want what marshals to an object, got %s", kind)
	}
}

func callParams(params any) (map[string]any, error) {
	data, err := paramsObject(params)
	if err != nil || data == nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	all := make(map[string]any, len(fields))
	for name, value := range fields {
		all[name] = value
	}
	return all, nil
}

// beside reads what stands beside the result.
func (a response) beside() Response {
	var ignored error
	o := phpjson.Node{Raw: a.body}.Object(&ignored)
	answer := Response{Timing: a.timing(), Total: o.Number("total")}
	var unreadable error
	o.Err = &unreadable
	answer.Next = o.Number("next")
	answer.HasNext = unreadable == nil && !o.At("next").Absent()
	return answer
}

// encode marshals parameters, and refuses those that PHP would not read.
func encode(params any) (json.RawMessage, error) {
	data, err := phpjson.Encode(params)
	var unreadable *phpjson.EncodeError
	if errors.As(err, &unreadable) {
		return nil, &formatError{unreadable}
	}
	return data, err
}

// An earlyError says before a call what the portal would answer it with: it is
// that one's sentinel.
type earlyError struct {
	error
	sentinel error
}

func before(sentinel error, format string, args ...any) error {
	return &earlyError{fmt.Errorf(format, args...), sentinel}
}

func (e *earlyError) Is(target error) bool { return target == e.sentinel }
func (e *earlyError) Unwrap() error        { return e.error }

// A formatError is ErrInvalidFormat before a call.
type formatError struct{ *phpjson.EncodeError }

func (e *formatError) Is(target error) bool { return target == ErrInvalidFormat }
