package pulltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// Call is a call of a REST method that a test has written itself; see
// [WithMethod].
type Call struct {
	Method  string // in lower case
	User    int    // who calls: whose token or webhook it is
	Webhook bool   // by the incoming webhook, not by a token of the application

	// Params are the parameters, by their names in upper case, as PHP has them:
	// of JSON strings, bools, json.Number, nil, []any and map[string]any, of a
	// form strings, and lists and maps of names such as FIELDS[TITLE]. The names
	// within a parameter stand as they came. The access token is left out.
	Params map[string]any
}

// Int is a parameter that is a whole number, or the decimal text of one, as forms
// and batches have it. The name is not case sensitive. It reports false if the
// parameter is missing or anything else.
func (c Call) Int(name string) (n int, ok bool) { return integer(c.Params[strings.ToUpper(name)]) }

// MethodError is an error answer of a method of [WithMethod].
type MethodError struct {
	Status      int    // of HTTP; 0 is 400
	Code        string // error in the answer; empty as some methods of portals have it
	Description string // error_description
}

func (e *MethodError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status(), e.Code, e.Description)
}

func (e *MethodError) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// errorCore is the code of an error that a portal has no other for.
const errorCore = "ERROR_CORE"

// maxResult is how long the JSON of a method's result may be.
const maxResult = 16 << 20

// WithMethod gives the portal a REST method that f carries out, one that it does
// not have or in place of its own, alone and within a batch. Its name is not case
// sensitive. Whoever may call REST at all may call it.
//
// The result is what [Portal.Answer] takes: anything that can be marshalled to
// JSON, a json.RawMessage as it is, or a [List], of which the page is answered
// that was asked for. An error that is a [*MethodError] is answered as it says,
// any other with status 400 and the code ERROR_CORE; its text is the description,
// so it must hold no secret. A result that is no JSON, or longer than 16 MiB, is
// answered with status 500.
//
// f is called by several goroutines at once, and may publish to the portal. Its
// context ends when the caller leaves and when the portal is closed; f must
// return then, and not call Close itself, which waits for it. If it panics that is
// printed, and the caller gets no answer. [Portal.Reset] leaves the method in
// place, and [Portal.Answer] comes before it.
func WithMethod(name string, f func(ctx context.Context, c Call) (result any, err error)) Option {
	return func(o *options) {
		o.methods = maps.Clone(o.methods)
		if o.methods == nil {
			o.methods = make(map[string]methodFunc)
		}
		o.methods[strings.ToLower(name)] = f
	}
}

// methodFunc is what carries out a method of the test's own.
type methodFunc func(context.Context, Call) (any, error)

var methodName = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

func (o *options) checkMethods() error {
	for name, f := range o.methods {
		switch {
		case !methodName.MatchString(name) || strings.HasSuffix(name, ".json"):
			return fmt.Errorf("pulltest: WithMethod(%q): not a method's name; give one like crm.deal.get", name)
		case name == methodBatch:
			return errors.New("pulltest: WithMethod(\"batch\"): the portal carries out batches; give it the methods that are in them")
		case f == nil:
			return fmt.Errorf("pulltest: WithMethod(%q): there is no function", name)
		}
	}
	return nil
}

// method is the method of the portal's REST that f carries out.
func (f methodFunc) method(name string) method {
	return method{scopeBase, func(_ *Portal, call restCall) (any, *restError) {
		params := maps.Clone(call.params)
		delete(params, "AUTH")
		result, err := f(call.ctx, Call{Method: name, User: call.user, Webhook: call.webhook, Params: params})
		if err != nil {
			return nil, refusalOf(err)
		}
		answer, err := answerFrom(result)
		if data, isJSON := answer.(json.RawMessage); err == nil && isJSON && len(data) > maxResult {
			err = fmt.Errorf("it is longer than %d bytes", maxResult)
		}
		if err != nil {
			return nil, &restError{http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", fmt.Sprintf("pulltest: the result of %s: %v", name, err)}
		}
		return answerTo(answer, call), nil
	}}
}

// refusalOf is the answer to an error of a method.
func refusalOf(err error) *restError {
	e := &MethodError{Code: errorCore, Description: err.Error()}
	errors.As(err, &e)
	if status := e.status(); status < 200 || status > 599 {
		return &restError{http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", fmt.Sprintf("pulltest: a MethodError has the status %d", status)}
	}
	return &restError{e.status(), e.Code, e.Description}
}
