package control

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/pulltest"
)

// misbehave is a fault for services.
type misbehave struct {
	affected
	Fault string `json:"fault" required:"true" doc:"Which fault; the others of these fields are its details."`

	Status      int             `json:"status,omitempty" min:"100" max:"599" doc:"HTTP status of refuse, rest_error, error_object, redirect and false_answer."`
	Code        string          `json:"code,omitempty" min:"1" doc:"Error code of rest_error and error_object, such as QUERY_LIMIT_EXCEEDED."`
	Validation  []validation    `json:"validation,omitempty" doc:"What error_object says of parameters."`
	RPCCode     int             `json:"rpc_code,omitempty" doc:"Error code of rpc_error, such as -32603."`
	Message     string          `json:"message,omitempty" doc:"Text of rpc_error."`
	Location    string          `json:"location,omitempty" min:"1" doc:"Where redirect leads."`
	ContentType string          `json:"content_type,omitempty" doc:"Of false_answer."`
	Body        string          `json:"body,omitempty" doc:"Of false_answer."`
	Coding      string          `json:"coding,omitempty" min:"1" doc:"Of compressed: gzip, deflate, raw deflate or any other."`
	Before      string          `json:"before,omitempty" doc:"What surround puts before answers."`
	After       string          `json:"after,omitempty" doc:"What surround puts behind answers."`
	Field       string          `json:"field,omitempty" min:"1" doc:"The field of a token answer that token_field changes."`
	Value       json.RawMessage `json:"value,omitempty" doc:"The field's value; null or absent: it is left out."`
	Seconds     float64         `json:"seconds,omitempty" min:"0" max:"86400" doc:"Of delay."`

	Times       int    `json:"times,omitempty" min:"0" max:"1000000000" doc:"How many requests meet it; 0 or absent: all until behave."`
	RetryAfter  string `json:"retry_after,omitempty" doc:"The header Retry-After of refusals: seconds, or an HTTP date."`
	WithoutTime bool   `json:"without_time,omitempty" doc:"Leaves the object time out of rest_error."`

	given map[string]bool // names of the fields that are there
}

func (m *misbehave) record(names map[string]bool) { m.given = names }

type validation struct {
	Field   string `json:"field" required:"true"`
	Message string `json:"message" required:"true"`
}

// fault is a fault of pulltest: what its name there is, the fields that it
// needs and the others that it uses, the services to which it means something
// (all if nil), and how it is made.
type fault struct {
	goName   string
	needs    []string
	uses     []string
	services []string
	make     func(*misbehave) pulltest.Fault
}

// listed are fields or services.
func listed(names ...string) []string { return names }

func fixed(goName string, f pulltest.Fault, uses, services []string) fault {
	return fault{goName, nil, uses, services, func(*misbehave) pulltest.Fault { return f }}
}

var (
	again     = []string{"retry_after"}
	answering = []string{"rest", "oauth", "polls"} // what PHP answers, or could
	breaking  = []string{"rest", "websockets", "polls", "oauth"}
)

var faults = map[string]fault{
	"bad_gateway":          fixed("BadGateway", pulltest.BadGateway, again, nil),
	"stall":                fixed("Stall", pulltest.Stall, nil, nil),
	"garble":               fixed("Garble", pulltest.Garble, nil, breaking),
	"garble_frame":         fixed("GarbleFrame", pulltest.GarbleFrame, nil, breaking),
	"lose_answer":          fixed("LoseAnswer", pulltest.LoseAnswer, nil, listed("rest", "oauth", "publishing")),
	"login_page":           fixed("LoginPage", pulltest.LoginPage, again, nil),
	"web_page":             fixed("WebPage", pulltest.WebPage, nil, nil),
	"login_form":           fixed("LoginForm", pulltest.LoginForm, nil, nil),
	"foreign_json":         fixed("ForeignJSON", pulltest.ForeignJSON, nil, nil),
	"empty_answer":         fixed("EmptyAnswer", pulltest.EmptyAnswer, nil, nil),
	"instant_not_modified": fixed("InstantNotModified", pulltest.InstantNotModified, nil, nil),
	"stale_cache":          fixed("StaleCache", pulltest.StaleCache, nil, listed("polls")),
	"byte_order_mark":      fixed("ByteOrderMark", pulltest.ByteOrderMark, nil, answering),
	"php_notice":           fixed("PHPNotice", pulltest.PHPNotice, nil, answering),
	"php_warnings":         fixed("PHPWarnings", pulltest.PHPWarnings, nil, answering),
	"insecure_endpoint":    fixed("InsecureEndpoint", pulltest.InsecureEndpoint, nil, listed("oauth")),
	"authorization_error":  fixed("AuthorizationError", pulltest.AuthorizationError, again, nil),
	"refuse": {"Refuse", listed("status"), again, nil, func(m *misbehave) pulltest.Fault {
		return pulltest.Refuse(m.Status)
	}},
	"rest_error": {"RESTError", listed("status", "code"), listed("retry_after", "without_time"), nil, func(m *misbehave) pulltest.Fault {
		return pulltest.RESTError(m.Status, m.Code)
	}},
	"error_object": {"ErrorObject", listed("status", "code"), listed("validation", "retry_after"), nil, func(m *misbehave) pulltest.Fault {
		var pairs [][2]string
		for _, v := range m.Validation {
			pairs = append(pairs, [2]string{v.Field, v.Message})
		}
		return pulltest.ErrorObject(m.Status, m.Code, pairs...)
	}},
	"rpc_error": {"RPCError", listed("rpc_code"), listed("message"), listed("publishing"), func(m *misbehave) pulltest.Fault {
		return pulltest.RPCError(m.RPCCode, m.Message)
	}},
	"redirect": {"Redirect", listed("status", "location"), again, nil, func(m *misbehave) pulltest.Fault {
		return pulltest.Redirect(m.Status, m.Location)
	}},
	"false_answer": {"FalseAnswer", listed("status"), listed("content_type", "body"), nil, func(m *misbehave) pulltest.Fault {
		return pulltest.FalseAnswer(m.Status, m.ContentType, m.Body)
	}},
	"compressed": {"Compressed", listed("coding"), nil, listed("polls"), func(m *misbehave) pulltest.Fault {
		return pulltest.Compressed(m.Coding)
	}},
	"surround": {"Surround", nil, listed("before", "after"), answering, func(m *misbehave) pulltest.Fault {
		return pulltest.Surround(m.Before, m.After)
	}},
	"token_field": {"TokenField", listed("field"), listed("value"), listed("oauth"), func(m *misbehave) pulltest.Fault {
		if m.Value == nil || isNull(m.Value) {
			return pulltest.TokenField(m.Field, nil)
		}
		return pulltest.TokenField(m.Field, m.Value)
	}},
	"delay": {"Delay", listed("seconds"), nil, nil, func(m *misbehave) pulltest.Fault {
		return pulltest.Delay(seconds(m.Seconds))
	}},
}

func faultNames() []string { return slices.Sorted(maps.Keys(faults)) }

// fault is the fault that is meant.
func (m *misbehave) fault() (pulltest.Fault, error) {
	kind, known := faults[m.Fault]
	if !known {
		return pulltest.Fault{}, badField("fault", "%q is none of %s", short(m.Fault), strings.Join(faultNames(), ", "))
	}
	uses := slices.Concat(kind.needs, kind.uses, []string{"times"})
	for _, name := range fieldNames(reflect.TypeFor[misbehave]()) {
		if m.given[name] && name != "fault" && name != "services" && !slices.Contains(uses, name) {
			return pulltest.Fault{}, badField(name, "the fault %s does not use it; it uses: %s", m.Fault, strings.Join(uses, ", "))
		}
	}
	for _, name := range kind.needs {
		if !m.given[name] {
			return pulltest.Fault{}, badField(name, "is missing: the fault %s needs it", m.Fault)
		}
	}
	if kind.services != nil {
		for _, name := range m.Services {
			if !slices.Contains(kind.services, name) {
				return pulltest.Fault{}, badField("services", "the fault %s means nothing to %s; it is for: %s", m.Fault, name, strings.Join(kind.services, ", "))
			}
		}
		if m.Services == nil {
			m.Services = kind.services
		}
	}
	f := kind.make(m).Times(m.Times)
	if m.RetryAfter != "" {
		f = f.WithRetryAfter(m.RetryAfter)
	}
	if m.WithoutTime {
		f = f.WithoutTime()
	}
	return f, nil
}

func faultEndpoints() []endpoint {
	return []endpoint{
		action("misbehave", "Has services fail, hang, talk nonsense, lose their answers or answer with a page, until behave.",
			[]string{"Misbehave"},
			func(_ context.Context, p *running, in misbehave) (nothing, error) {
				if in.Fault == "rpc_error" && p.spec.version() < 5 {
					return nothing{}, badField("fault", "rpc_error is for version 5 of the push server, and this is %d", p.spec.version())
				}
				f, err := in.fault()
				if err == nil {
					p.Misbehave(in.set(), f)
				}
				return nothing{}, err
			}),
		simple("behave", "Ends the faults of services.", []string{"Behave"},
			func(p *running, in affected) { p.Behave(in.set()) }),
	}
}
