package pulltest

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Service is a set of what a portal serves, for [Portal.Misbehave].
type Service uint8

const (
	REST       Service = 1 << iota // the portal's methods
	WebSockets                     // upgrades at the push server, and the open websockets
	Polls                          // long polls, which are the reads of the history too
	OAuth                          // the authorization server's /oauth/token/
	Publishing                     // what clients send to the push server: POSTs to its /rest/, which meet any fault, and calls of JSON-RPC over an open websocket, which meet Stall, LoseAnswer and RPCError only
)

const services = 5

// Fault is a way to misbehave.
type Fault struct {
	name   string // in events
	kind   faultKind
	status int
	code   string
	delay  time.Duration

	text       string // of a redirect its location, of an error object the object, of a false answer its body
	media      string // of a false answer
	retryAfter string
	timeless   bool
	after      string // of what surrounds an answer, what stands behind it
	times      int    // how many requests meet it; 0: all
}

type faultKind int

const (
	badGateway faultKind = iota
	refused
	restFailure
	stalled
	delayed
	garbled
	garbledFrame
	unanswered
	rpcFailure
)

// named is the fault under a name of its own.
func (f Fault) named(name string) Fault {
	f.name = name
	return f
}

var (
	// BadGateway is a proxy's HTTP 502 with an HTML page.
	BadGateway = Fault{name: "bad_gateway", kind: badGateway}

	// Stall accepts a request and never answers it; it ends when the client
	// gives up, or with a reset when the fault ends. An open websocket stays
	// open, but nothing is written to it any more, no message, ping, pong or
	// close frame; what was to be written is when the fault ends.
	Stall = Fault{name: "stall", kind: stalled}

	// Garble breaks an answer of REST or the authorization server in the
	// middle, and one message of each frame or answer of the push server, whose
	// body then is no JSON: of n messages the one at n/2. In JSON-RPC a batch
	// with such a body is no JSON as a whole.
	Garble = Fault{name: "garble", kind: garbled}

	// GarbleFrame replaces a whole frame or answer by garbage.
	GarbleFrame = Fault{name: "garble_frame", kind: garbledFrame}

	// LoseAnswer does what REST, the authorization server or Publishing is
	// asked, and resets the connection in place of the answer. Subscribers know
	// no such fault.
	LoseAnswer = Fault{name: "lose_answer", kind: unanswered}
)

// Refuse answers with an HTTP status and a line of text.
func Refuse(status int) Fault { return Fault{name: "refuse", kind: refused, status: status} }

// RESTError answers as REST tells an error, such as 503 QUERY_LIMIT_EXCEEDED,
// with a description and the time, or as the authorization server does, without
// a time; a status of 200 can bear an error too.
func RESTError(status int, code string) Fault {
	return Fault{name: "rest_error", kind: restFailure, status: status, code: code}
}

// RPCError answers calls of JSON-RPC with an error of this code, such as -32603
// «Internal error», and does not execute them. It is for [Publishing] of version
// 5, and changes nothing elsewhere.
func RPCError(code int, message string) Fault {
	return Fault{name: "rpc_error", kind: rpcFailure, status: code, text: message}
}

// Delay serves a request only after the time d, or when the fault ends.
func Delay(d time.Duration) Fault { return Fault{name: "delay", kind: delayed, delay: d} }

// Misbehave gives services a fault, in place of the one they had. It meets what
// is asked from now on. What is open already, a websocket or a hanging poll,
// meets Stall, Garble and GarbleFrame only. The zero Fault is BadGateway.
func (p *Portal) Misbehave(s Service, f Fault) {
	if f.name == "" {
		f.name = BadGateway.name
	}
	for i := range services {
		if s&(1<<i) != 0 {
			p.push.hub.faults.set(i, &failure{Fault: f, over: make(chan struct{})})
		}
	}
}

// Behave ends the faults of services.
func (p *Portal) Behave(s Service) {
	for i := range services {
		if s&(1<<i) != 0 {
			p.push.hub.faults.set(i, nil)
		}
	}
}

// failure is a fault at work.
type failure struct {
	Fault
	over  chan struct{} // closed at its end
	met   atomic.Int64  // requests, where they are counted
	cache staleAnswer
}

// faults holds the present failure of each service; nil is none.
type faults [services]atomic.Pointer[failure]

func (f *faults) set(i int, now *failure) {
	if before := f[i].Swap(now); before != nil {
		close(before.over)
	}
}

func (f *faults) of(s Service) *failure {
	for i := range services {
		if s == 1<<i {
			return f[i].Load()
		}
	}
	return nil
}

func (f *faults) is(s Service, kind faultKind) bool {
	now := f.of(s)
	return now != nil && now.kind == kind
}

// unstalled waits while the service is stalled. It reports false if gone came
// first.
func (f *faults) unstalled(s Service, gone <-chan struct{}) bool {
	for {
		now := f.of(s)
		if now == nil || now.kind != stalled {
			return true
		}
		select {
		case <-now.over:
		case <-gone:
			return false
		}
	}
}

// garble breaks one of the messages if the service is to do so.
func (f *faults) garble(s Service, messages []*message) []*message {
	if len(messages) == 0 || !f.is(s, garbled) {
		return messages
	}
	messages = slices.Clone(messages)
	i := len(messages) / 2
	if !messages[i].answer {
		messages[i] = messages[i].broken()
	}
	return messages
}

// garbage is no JSON, no frame of text and no protobuf.
const garbage = "\x07garbage\x07"

func (f *faults) garbleFrame(s Service, frame []byte) []byte {
	if f.is(s, garbledFrame) {
		return []byte(garbage)
	}
	return frame
}

// misbehaving puts the faults in front of what the portal serves.
func (p *Portal) misbehaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service := p.serviceOf(r)
		f := p.push.hub.faults.of(service)
		if f == nil || f.kind == rpcFailure || f.past() {
			next.ServeHTTP(w, r)
			return
		}
		f.announce(w.Header())
		met := &noteOf(r).event
		met.Fault = f.name
		switch f.kind {
		case redirected:
			f.answerRedirect(w, r)
			return
		case objectFailure:
			f.answerObject(w)
			return
		case badGateway:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n")
			return
		case refused:
			writeText(w, f.status, http.StatusText(f.status))
			return
		case restFailure:
			met.Reason = f.code
			p.fail(w, service, &restError{f.status, f.code, describeError(f.code)}, f.timeless)
			return
		case stalled:
			// net/http sees a client leave only after its body
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				p.pause(r.Context(), f, nil)
			}
			reset(w, r)
			return
		case delayed:
			timer := time.NewTimer(f.delay)
			defer timer.Stop()
			p.pause(r.Context(), f, timer.C)
			next.ServeHTTP(w, r)
			return
		case garbled, garbledFrame:
			if service == REST || service == OAuth {
				w = &garbler{w, f.kind}
			}
			if service != Publishing {
				next.ServeHTTP(w, r)
				return
			}
		case surrounded, oddField, insecureEndpoint:
			if service == OAuth || f.kind == surrounded && (service == REST || service == Polls) {
				f.dress(w, r, service, next)
				return
			}
		case falsified:
			f.falsify(w)
			return
		case compressed, stale:
			if service == Polls {
				f.alter(w, r, next)
				return
			}
		case unanswered:
			if service == REST || service == OAuth || service == Publishing {
				next.ServeHTTP(forgetful{make(http.Header)}, r)
				reset(w, r)
				return
			}
		}
		met.Fault = "" // this service does not know it
		next.ServeHTTP(w, r)
	})
}

func (p *Portal) fail(w http.ResponseWriter, service Service, err *restError, timeless bool) {
	if service == OAuth {
		answerOAuth(w, nil, err)
		return
	}
	now := p.opts.clock.now()
	answer := answerOf(nil, err, false)
	if !timeless {
		answer["time"] = timeOf(now, now, operating{})
	}
	writeAnswer(w, err, answer)
}

// pause waits for the end of the fault, the client or the portal, or for the
// timer.
func (p *Portal) pause(ctx context.Context, f *failure, timer <-chan time.Time) {
	select {
	case <-f.over:
	case <-timer:
	case <-ctx.Done():
	case <-p.quit:
	}
}

func (p *Portal) serviceOf(r *http.Request) Service {
	path, push := p.pushRequest(r)
	switch {
	case !push && strings.HasPrefix(r.URL.Path, "/rest/"):
		return REST
	case !push && r.URL.Path == tokenPath:
		return OAuth
	case upgrades(r):
		return WebSockets
	case push && r.Method == http.MethodPost && strings.HasPrefix(path, "/rest/"):
		return Publishing
	case push && r.Method == http.MethodGet && strings.HasPrefix(path, "/sub"):
		return Polls
	}
	return 0
}

// forgetful takes an answer that nobody gets.
type forgetful struct{ header http.Header }

func (f forgetful) Header() http.Header            { return f.header }
func (forgetful) WriteHeader(int)                  {}
func (forgetful) Write(answer []byte) (int, error) { return len(answer), nil }

// garbler breaks each write, which is a whole answer of REST or OAuth.
type garbler struct {
	http.ResponseWriter
	kind faultKind
}

func (g *garbler) Write(answer []byte) (int, error) {
	broken := answer[:len(answer)/2]
	if g.kind == garbledFrame {
		broken = []byte(garbage)
	}
	if _, err := g.ResponseWriter.Write(broken); err != nil {
		return 0, err
	}
	return len(answer), nil
}
