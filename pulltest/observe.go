package pulltest

import (
	"sync"
	"time"
)

// EventKind is what an [Event] is about.
type EventKind string

const (
	Subscribed   EventKind = "subscribed"   // a websocket or a long poll was let in
	Unsubscribed EventKind = "unsubscribed" // it has ended
	Published    EventKind = "published"    // a message got its id
	Delivered    EventKind = "delivered"    // a message was handed to a connection to be sent
	Pinged       EventKind = "ping"         // of the push server, or of a client
	Ponged       EventKind = "pong"         // of a client
	Requested    EventKind = "request"      // an HTTP request has been answered, or was not
)

// Event is one thing that happened on a portal. Its JSON leaves out what is
// empty.
//
// No secret of the portal is in it: in place of webhook codes, tokens, client
// secrets, channel ids and signatures stands «…», in the bodies of messages too,
// and in place of what looks like a signature of theirs.
type Event struct {
	Time time.Time `json:"time"` // by the clock of this program, whatever the portal's says
	Kind EventKind `json:"kind"`

	// Of all kinds but Requested; of Published only User, and only if it is a
	// client's.
	Subscriber int    `json:"subscriber,omitempty"` // number of the connection, from 1
	Transport  string `json:"transport,omitempty"`  // "websocket" or "poll"
	User       int    `json:"user,omitempty"`       // whose channels; 0 if that is not known

	// Of Subscribed: the mid to go on after, or in versions 1 and 2 time and
	// tag, "2006-01-02T15:04:05Z 1".
	Position string `json:"position,omitempty"`

	// Of Subscribed: what it listens to, named as in Targets.
	Channels []string `json:"channels,omitempty"`

	// Of Published and Delivered. Versions 1 and 2 send no mid to anyone.
	Mid string `json:"mid,omitempty"`

	// Of Published. Targets are channels: "private 1", the application's of
	// user 1, "shared", "user private 1" and "user shared" for those of
	// pull.config.get; behind it " public", for the public id, and " old", for a
	// channel that another one has replaced; "unknown".
	Targets []string `json:"targets,omitempty"`
	Module  string   `json:"module,omitempty"`  // module_id of the body
	Command string   `json:"command,omitempty"` // of the body
	Body    string   `json:"body,omitempty"`    // as a rule JSON
	Kept    bool     `json:"kept,omitempty"`    // for the history

	// Of Published: a client has published it. Of Pinged: a client pings.
	Client bool `json:"client,omitempty"`

	// Of Delivered: it comes from the history, not live.
	History bool `json:"history,omitempty"`

	// Of Requested. Service is "rest", "oauth", "websocket", "poll", "publish"
	// (a client's POST), "push" (what the portal asks of its push server) or
	// "other"; Path is without the query; Status is 0 if there was no answer, and
	// the request for a websocket ends with its 101. Fault is the fault of
	// [Portal.Misbehave] that it has met: "bad_gateway", "refuse", "stall",
	// "delay", "garble", "garble_frame", "lose_answer", "rest_error",
	// "error_object", "rpc_error", "authorization_error", "token_field",
	// "insecure_endpoint", "redirect", "login_page", "web_page", "login_form",
	// "foreign_json", "empty_answer", "false_answer", "instant_not_modified",
	// "stale_cache", "compressed", "byte_order_mark", "php_notice",
	// "php_warnings" or "surround". The control API of b24pull portal takes the
	// same names.
	Service    string        `json:"service,omitempty"`
	HTTPMethod string        `json:"http_method,omitempty"`
	Path       string        `json:"path,omitempty"`
	Method     string        `json:"method,omitempty"` // of REST, in lower case
	Status     int           `json:"status,omitempty"`
	Duration   time.Duration `json:"duration_ns,omitempty"`
	Fault      string        `json:"fault,omitempty"`

	// Reason says why. Of Unsubscribed: "client closed", "answered" and
	// "timeout" of polls, "cut", "close frame", "evicted", "ping timeout",
	// "idle", "too slow", "protocol error", "lost answer", "restart", "reset",
	// "portal closed", "upgrade failed". Of Requested: the code of a REST or
	// OAuth error. Of Pinged and Ponged: "text" for the bare text of version 5.
	Reason string `json:"reason,omitempty"`

	// Of Unsubscribed: the code of the close frame that came or was sent.
	Code int `json:"code,omitempty"`
}

// WithObserver has f told what happens on the portal, one event after another
// in the order in which it happened, from one goroutine. It is called a moment
// later, without any lock held, so that it may call the portal, but for Close,
// which waits until f has been told everything. It must not block: what
// happens meanwhile waits in memory.
func WithObserver(f func(Event)) Option {
	return func(o *options) { o.observe = f }
}

// observer passes events on; nil: nobody looks on.
type observer struct {
	see func(Event)

	mu    sync.Mutex
	queue []Event
	ended bool
	wake  chan struct{}
	done  chan struct{} // closed when all has been told
}

func newObserver(see func(Event)) *observer {
	if see == nil {
		return nil
	}
	o := &observer{see: see, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run()
	return o
}

// add tells of an event, now. It never blocks.
func (o *observer) add(e Event) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e.Time = time.Now()
	o.queue = append(o.queue, e)
	o.signal()
}

func (o *observer) run() {
	defer close(o.done)
	for {
		queue, ended := o.take()
		for _, e := range queue {
			o.see(e)
		}
		switch {
		case len(queue) > 0:
		case ended:
			return
		default:
			<-o.wake
		}
	}
}

func (o *observer) take() (queue []Event, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, o.queue = o.queue, nil
	return queue, o.ended
}

// end waits until everything has been told.
func (o *observer) end() {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.ended = true
	o.signal()
	o.mu.Unlock()
	<-o.done
}

func (o *observer) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
