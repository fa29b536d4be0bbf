package b24pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/b24pull/b24pull/internal/phpjson"
	"regexp"
)

// Answer is what an answer has beside its result.
type Answer struct {
	// Time is what the answer tells about time.
	Time Time
	// Total is the number of items of a list method, Next the value of its parameter
	// start for the next page.
	Total, Next int64
	// HasNext reports whether there is a next page: Next can be 0 then.
	HasNext bool
}

// CallOption changes one Call.
type CallOption func(*request)

// Read says that calling the method twice does no harm: the call is repeated also
// where the portal may have carried it out.
func Read() CallOption { return func(q *request) { q.read = true } }

var methodForm = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

// Call calls any method; its name is in lower case, like crm.deal.list. params marshals to
// a JSON object; nil, or a map or pointer that is nil, is an empty one. The answer's result is decoded into result
// by encoding/json; nil leaves it. Int, Bool, Map and List take what PHP makes of
// values.
//
// Strings of params, and keys, have to be valid UTF-8, and raw JSON what PHP takes:
// an escape that is half of a surrogate pair, or nesting deeper than 512, makes PHP
// read no parameter at all. Such params are ErrInvalidFormat without a call, and the
// error names the place.
//
// Errors: an *APIError, a *TokenError, those of encoding/json, which can quote the
// portal's values, or the network's.
func (c *Client) Call(ctx context.Context, method string, params, result any, opts ...CallOption) (Answer, error) {
	var answered Answer
	if !methodForm.MatchString(method) {
		return answered, errors.New("b24pull: Call: want a method's name in lower case, like crm.deal.list")
	}
	q := request{method: method}
	for _, option := range opts {
		option(&q)
	}
	q.take = func(a answer) error {
		answered = a.beside()
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(a.raw, result); err != nil {
			return fmt.Errorf("b24pull: %s: the result: %w", method, a.known.Error(err))
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

// paramsObject is the JSON object that a user's params marshal to; nil for nil, and for a map or
// pointer that is nil.
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
func (a answer) beside() Answer {
	var ignored error
	o := phpjson.Node{Raw: a.body}.Object(&ignored)
	answer := Answer{Time: a.time(), Total: o.Number("total")}
	var unreadable error
	o.Err = &unreadable
	answer.Next = o.Number("next")
	answer.HasNext = unreadable == nil && !o.At("next").Absent()
	return answer
}
