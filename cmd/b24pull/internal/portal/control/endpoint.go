package control

import (
	"context"
	"reflect"
)

// endpoint is a thing that can be done to a portal: a route below
// /v1/portals/{name}/, which the OpenAPI file and the page's readers find
// described.
type endpoint struct {
	method string // of HTTP
	name   string // the last part of the path
	does   string
	calls  []string // the methods of pulltest.Portal that it stands for
	in     reflect.Type
	out    reflect.Type
	run    func(ctx context.Context, p *running, body []byte) (any, error)
}

// nothing is a body or a result without fields.
type nothing struct{}

// checker is a body that can be wrong for a portal in ways that tags do not
// tell.
type checker interface{ check(*running) error }

// action is an endpoint for POST.
func action[In, Out any](name, does string, calls []string, run func(context.Context, *running, In) (Out, error)) endpoint {
	return of("POST", name, does, calls, run)
}

// look is an endpoint for GET, whose In comes from the query.
func look[In, Out any](name, does string, calls []string, run func(context.Context, *running, In) (Out, error)) endpoint {
	return of("GET", name, does, calls, run)
}

func of[In, Out any](method, name, does string, calls []string, run func(context.Context, *running, In) (Out, error)) endpoint {
	return endpoint{
		method: method, name: name, does: does, calls: calls,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		run: func(ctx context.Context, p *running, body []byte) (any, error) {
			var in In
			if err := Decode(body, &in); err != nil {
				return nil, err
			}
			if c, ok := any(in).(checker); ok {
				if err := c.check(p); err != nil {
					return nil, err
				}
			}
			var out Out
			var failed error
			if err := attempt(func() { out, failed = run(ctx, p, in) }); err != nil {
				return nil, err
			}
			return out, failure(failed)
		},
	}
}

// simple is an action that has no result.
func simple[In any](name, does string, calls []string, run func(*running, In)) endpoint {
	return action(name, does, calls, func(_ context.Context, p *running, in In) (nothing, error) {
		run(p, in)
		return nothing{}, nil
	})
}

// endpoints are all that there are below a portal's path, but for those that
// need more than a body and a result.
func endpoints() []endpoint {
	var all []endpoint
	all = append(all, lookEndpoints()...)
	all = append(all, messageEndpoints()...)
	all = append(all, serverEndpoints()...)
	all = append(all, channelEndpoints()...)
	all = append(all, faultEndpoints()...)
	all = append(all, applicationEndpoints()...)
	return all
}
