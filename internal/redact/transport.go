package redact

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/b24pull/b24pull/internal/dial"
)

type locationKey struct{}

// KeepLocation returns a context whose requests write the Location that a
// Transport takes out of an answer to location. It is a secret.
func KeepLocation(ctx context.Context, location *string) context.Context {
	return context.WithValue(ctx, locationKey{}, location)
}

// A Transport keeps net/http from telling secrets. It changes requests and
// answers only, so that the base may be the user's own.
//
// It takes the Location out of every answer: net/http would follow it, or print
// it in an error.
//
// It has an HTTP/1 connection closed with its first answer: what a server sends
// behind an answer over a connection that is kept, net/http prints with the
// process's own logger, and that can be the address of the call. HTTP/2 says
// which answer each byte belongs to, so those connections are kept.
//
// What a server sends before the request is printed as well, so the connections
// give nothing to net/http before something has been written to them.
type Transport struct {
	base  http.RoundTripper
	http2 atomic.Pointer[string] // scheme and host last reached by HTTP/2

	// single makes the requests that have a connection of their own. It is a
	// copy of the base that keeps none, since requests to switch to a websocket
	// cannot ask for that, and that has servers wait for the request. It is the
	// base itself where that is no *http.Transport.
	single func() http.RoundTripper

	keep func(*http.Request) http.RoundTripper // nil: none
}

// Keep has requests made by the RoundTripper that keep returns for them, if that
// is not nil. Its connections must give nothing to net/http that a server sends
// behind an answer, or before a request, and may be kept for that. It is to be
// called before the first request.
func (t *Transport) Keep(keep func(*http.Request) http.RoundTripper) { t.keep = keep }

// NewTransport returns a Transport over base; nil is http.DefaultTransport.
func NewTransport(base http.RoundTripper) *Transport {
	if base == nil {
		base = http.DefaultTransport
	}
	return &Transport{base: base, single: sync.OnceValue(func() http.RoundTripper {
		own, ok := base.(*http.Transport)
		if !ok {
			return base
		}
		own = own.Clone()
		own.DisableKeepAlives = true
		dial.Guard(own)
		return own
	})}
}

// Another returns a Transport over the same base, which has made no requests
// yet, and shares its connections.
func (t *Transport) Another() *Transport { return &Transport{base: t.base, single: t.single} }

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := t.exchange(req)
	if answer != nil {
		if location, ok := req.Context().Value(locationKey{}).(*string); ok {
			*location = answer.Header.Get("Location")
		}
		answer.Header.Del("Location")
	}
	return answer, err
}

// exchange keeps the connection where the server has been reached by HTTP/2.
func (t *Transport) exchange(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Upgrade") != "" {
		return t.change(req)
	}
	if t.keep != nil {
		if kept := t.keep(req); kept != nil {
			return kept.RoundTrip(req.WithContext(dial.Context(req.Context())))
		}
	}
	host := req.URL.Scheme + "://" + req.URL.Host
	last := t.http2.Load()
	if last == nil || *last != host || req.Body != nil && req.GetBody == nil {
		return t.once(req, host)
	}
	answer, err, refused := t.kept(req)
	if !refused {
		return answer, err
	}
	if answer != nil {
		answer.Body.Close()
	}
	t.http2.CompareAndSwap(last, nil)
	again := *req
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.once(&again, host)
}

// change makes a request to switch to another protocol.
func (t *Transport) change(req *http.Request) (*http.Response, error) {
	single := t.single()
	answer, err := single.RoundTrip(req.WithContext(dial.Context(req.Context())))
	if own, ok := single.(*http.Transport); ok && err != nil {
		own.CloseIdleConnections() // there are none, but a dial that nobody waits for would go on
	}
	return answer, err
}

// once has the connection closed with the answer.
func (t *Transport) once(req *http.Request, host string) (*http.Response, error) {
	var multiplexed atomic.Bool
	own := traced(req, func(info httptrace.GotConnInfo) { multiplexed.Store(isHTTP2(info)) })
	own.Close = true
	single := t.single()
	answer, err := single.RoundTrip(own)
	if multiplexed.Load() {
		t.http2.Store(&host)
	}
	// A dial that nobody waits for any more goes on, and its connection would be
	// kept, to be told about if the server sends anything.
	if single, ok := single.(interface{ CloseIdleConnections() }); ok && err != nil {
		single.CloseIdleConnections()
	}
	return answer, err
}

// kept has the connection kept if it is one of HTTP/2. Any other is closed
// before anything is written to it; refused reports whether the last one was.
func (t *Transport) kept(req *http.Request) (answer *http.Response, err error, refused bool) {
	var closed atomic.Bool
	answer, err = t.base.RoundTrip(traced(req, func(info httptrace.GotConnInfo) {
		closed.Store(!isHTTP2(info))
		if !isHTTP2(info) {
			dial.Abort(info.Conn)
		}
	}))
	return answer, err, closed.Load()
}

// traced is a copy of req that tells which connection it gets.
func traced(req *http.Request, got func(httptrace.GotConnInfo)) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(dial.Context(req.Context()), &httptrace.ClientTrace{GotConn: got}))
}

func isHTTP2(info httptrace.GotConnInfo) bool {
	conn, ok := info.Conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok && conn.ConnectionState().NegotiatedProtocol == "h2"
}
