package control

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/pulltest"
)

// misbehave is a fault for services.
type misbehave struct {
	affected
	Fault string `json:"fault" required:"true" doc:"Which fault; the others of these fields are its details."`

	Status      int             `json:"status,omitempty" min:"100" max:"599" doc:"HTTP status of refuse, rest_error, error_object, redirect and false_answer."`
	Code        string          `json:"code,omitempty" doc:"Error code of rest_error and error_object, such as QUERY_LIMIT_EXCEEDED."`
	Validation  []validation    `json:"validation,omitempty" doc:"What error_object says of parameters."`
	RPCCode     int             `json:"rpc_code,omitempty" doc:"Error code of rpc_error, such as -32603."`
	Message     string          `json:"message,omitempty" doc:"Text of rpc_error."`
	Location    string          `json:"location,omitempty" doc:"Where redirect leads."`
	ContentType string          `json:"content_type,omitempty" doc:"Of false_answer."`
	Body        string          `json:"body,omitempty" doc:"Of false_answer."`
	Coding      string          `json:"coding,omitempty" doc:"Of compressed: gzip, deflate, raw deflate or any other."`
	Before      string          `json:"before,omitempty" doc:"What surround puts before answers."`
	After       string          `json:"after,omitempty" doc:"What surround puts behind answers."`
	Field       string          `json:"field,omitempty" doc:"The field of a token answer that token_field changes."`
	Value       json.RawMessage `json:"value,omitempty" doc:"The field's value; null or absent: it is left out."`
	Seconds     float64         `json:"seconds,omitempty" min:"0" max:"86400" doc:"Of delay."`

	Times       int    `json:"times,omitempty" min:"0" max:"1000000000" doc:"How many requests meet it; 0 or absent: all until behave."`
	RetryAfter  string `json:"retry_after,omitempty" doc:"The header Retry-After of refusals: seconds, or an HTTP date."`
	WithoutTime bool   `json:"without_time,omitempty" doc:"Leaves the object time out of rest_error."`
}

type validation struct {
	Field   string `json:"field" required:"true"`
	Message string `json:"message" required:"true"`
}

// fault is a fault of pulltest: what its name there is, what it needs, and how
// it is made.
type fault struct {
	goName string
	needs  []string // fields that must be given
	make   func(*misbehave) pulltest.Fault
}

func fixed(goName string, f pulltest.Fault) fault {
	return fault{goName, nil, func(*misbehave) pulltest.Fault { return f }}
}

var faults = map[string]fault{
	"bad_gateway":          fixed("BadGateway", pulltest.BadGateway),
	"stall":                fixed("Stall", pulltest.Stall),
	"garble":               fixed("Garble", pulltest.Garble),
	"garble_frame":         fixed("GarbleFrame", pulltest.GarbleFrame),
	"lose_answer":          fixed("LoseAnswer", pulltest.LoseAnswer),
	"login_page":           fixed("LoginPage", pulltest.LoginPage),
	"web_page":             fixed("WebPage", pulltest.WebPage),
	"login_form":           fixed("LoginForm", pulltest.LoginForm),
	"foreign_json":         fixed("ForeignJSON", pulltest.ForeignJSON),
	"empty_answer":         fixed("EmptyAnswer", pulltest.EmptyAnswer),
	"instant_not_modified": fixed("InstantNotModified", pulltest.InstantNotModified),
	"stale_cache":          fixed("StaleCache", pulltest.StaleCache),
	"byte_order_mark":      fixed("ByteOrderMark", pulltest.ByteOrderMark),
	"php_notice":           fixed("PHPNotice", pulltest.PHPNotice),
	"php_warnings":         fixed("PHPWarnings", pulltest.PHPWarnings),
	"insecure_endpoint":    fixed("InsecureEndpoint", pulltest.InsecureEndpoint),
	"authorization_error":  fixed("AuthorizationError", pulltest.AuthorizationError),
	"refuse": {"Refuse", []string{"status"}, func(m *misbehave) pulltest.Fault {
		return pulltest.Refuse(m.Status)
	}},
	"rest_error": {"RESTError", []string{"status", "code"}, func(m *misbehave) pulltest.Fault {
		return pulltest.RESTError(m.Status, m.Code)
	}},
	"error_object": {"ErrorObject", []string{"status", "code"}, func(m *misbehave) pulltest.Fault {
		var pairs [][2]string
		for _, v := range m.Validation {
			pairs = append(pairs, [2]string{v.Field, v.Message})
		}
		return pulltest.ErrorObject(m.Status, m.Code, pairs...)
	}},
	"rpc_error": {"RPCError", []string{"rpc_code"}, func(m *misbehave) pulltest.Fault {
		return pulltest.RPCError(m.RPCCode, m.Message)
	}},
	"redirect": {"Redirect", []string{"status", "location"}, func(m *misbehave) pulltest.Fault {
		return pulltest.Redirect(m.Status, m.Location)
	}},
	"false_answer": {"FalseAnswer", []string{"status"}, func(m *misbehave) pulltest.Fault {
		return pulltest.FalseAnswer(m.Status, m.ContentType, m.Body)
	}},
	"compressed": {"Compressed", []string{"coding"}, func(m *misbehave) pulltest.Fault {
		return pulltest.Compressed(m.Coding)
	}},
	"surround": {"Surround", nil, func(m *misbehave) pulltest.Fault {
		return pulltest.Surround(m.Before, m.After)
	}},
	"token_field": {"TokenField", []string{"field"}, func(m *misbehave) pulltest.Fault {
		if m.Value == nil || isNull(m.Value) {
			return pulltest.TokenField(m.Field, nil)
		}
		return pulltest.TokenField(m.Field, m.Value)
	}},
	"delay": {"Delay", []string{"seconds"}, func(m *misbehave) pulltest.Fault {
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
	given := map[string]bool{
		"status": m.Status != 0, "code": m.Code != "", "rpc_code": m.RPCCode != 0, "location": m.Location != "",
		"coding": m.Coding != "", "field": m.Field != "", "seconds": m.Seconds != 0,
	}
	for _, name := range kind.needs {
		if !given[name] {
			return pulltest.Fault{}, badField(name, "is missing: the fault %s needs it", m.Fault)
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
