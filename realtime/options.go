package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/b24pull/b24pull/internal/enum"
	"github.com/b24pull/b24pull/realtime/internal/shared"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/gorilla/websocket"
)

// An Option changes how a subscription works. Options are given to [Subscribe].
type Option func(*options) error

type options struct {
	httpClient  *http.Client
	dialer      *websocket.Dialer
	header      http.Header
	logger      *slog.Logger
	observer    func(Event)
	backoff     func(attempt int) time.Duration
	transport   Transport
	insecure    bool
	maxMessages int
	maxBytes    int
	settle      time.Duration

	pingInterval time.Duration // of our own pings; 0: none; adaptive: as found out

	cursor       Cursor
	history      bool // start with all that is kept
	store        CursorStore
	saveInterval time.Duration
	policy       func(*HandlerError, int) ErrorAction
	deadLetters  func(context.Context, *HandlerError) error
	workers      int
	key          func(Message) string

	shared shared.Resources // with other subscriptions
}

func init() {
	shared.Option = func(r *shared.Resources) any {
		return Option(func(o *options) error {
			o.shared = *r
			return nil
		})
	}
}

// begun reports whether there is a position to start from, other than now.
func (o *options) begun() bool { return o.history || !o.cursor.IsZero() }

// Bounds of the queue between the connection and the user.
const (
	defaultMaxMessages = 4096
	defaultMaxBytes    = 16 << 20
)

// WithHTTPClient sets the HTTP client that the push server is reached with, by
// polls and by websockets alike: whatever its Transport can do, with proxies,
// dial functions, TLS and cookies, is done for a websocket as for a poll. The
// client is not modified, its Timeout and the ResponseHeaderTimeout of its
// Transport do not count, since polls and websockets last, and redirects are
// not followed. The default is the HTTP client of the source, if it has one, as
// a *b24pull.Client does. An *http.Transport is cloned, once for all
// subscriptions that have it; what RegisterProtocol was given is not in a
// clone. It must not be changed while one of them runs.
//
// A Transport that is no *http.Transport serves polls. It serves websockets if
// it has an *http.Transport make its requests, with their contexts, and returns
// the answer as it is or with a Body that can be written to; otherwise a
// websocket ends the subscription with an error that says so. See [WithDialer].
// MaxResponseHeaderBytes of an *http.Transport is 64 KiB at the most here; any
// other Transport has to bound the headers of answers itself.
func WithHTTPClient(c *http.Client) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("realtime: WithHTTPClient: the client is nil")
		}
		o.httpClient = c
		return nil
	}
}

// WithDialer sets the websocket dialer, in place of the HTTP client. It goes
// its own ways: nothing of the HTTP client is used, neither its proxy nor its
// TLS configuration nor its cookies. It is for a Transport that cannot serve
// websockets, and for settings of the library itself.
func WithDialer(d *websocket.Dialer) Option {
	return func(o *options) error {
		if d == nil {
			return errors.New("realtime: WithDialer: the dialer is nil")
		}
		o.dialer = d
		return nil
	}
}

// WithHeader adds fields to the header of each request to the push server, of
// polls and of websocket handshakes, as a gateway before the server may want
// them. A User-Agent among them replaces that of the source, or
// [b24pull.DefaultUserAgent]. What makes the request what it is, like Host,
// Connection, Accept-Encoding or Sec-WebSocket-Key, is refused. The values are
// taken for secrets and told nowhere.
func WithHeader(header http.Header) Option {
	return func(o *options) (err error) {
		if o.header, err = transport.CheckHeader(header); err != nil {
			return fmt.Errorf("realtime: WithHeader: %w", err)
		}
		return nil
	}
}

// WithLogger has the subscription log: at Error what ends it, at Warn what
// could not be decoded, handled or saved, at Info what breaks a connection and
// what mends it, at Debug the rest. What a server or a handler can cause in any
// number has a line in ten seconds, with its count ([Event]). The default is not
// to log. No secret is ever logged. The error of a handler is yours: it is
// logged in up to 1,024 characters, without the addresses of HTTP calls.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("realtime: WithLogger: the logger is nil")
		}
		o.logger = l
		return nil
	}
}

// WithObserver has observe called for each [Event], in order and one at a time.
// It must return quickly: nothing is received while it runs. Given several
// times, each observer is called, the first one first.
func WithObserver(observe func(Event)) Option {
	return func(o *options) error {
		if observe == nil {
			return errors.New("realtime: WithObserver: the function is nil")
		}
		before := o.observer
		o.observer = func(e Event) {
			before(e)
			observe(e)
		}
		return nil
	}
}

// WithBackoff sets the delay before an attempt to connect, or to renew the
// config. The attempts are counted from 1 and start afresh once a connection
// has lasted. A delay of less than 10 ms is taken for 10 ms. The default is
// that of the portal's own connector: 0.5, 5, 25, 45 and then 60 seconds, each
// plus up to 20 %, so that the subscribers of a server that was down do not
// come back together. Nothing is added to the delays of your function: it
// should spread them itself. After the server's «too many connections» (close
// code 4029) a fixed delay of a minute holds instead. A refusal with the header
// Retry-After, of the push server, of the portal or of a gateway, makes the
// delay at least as long as that says, up to a quarter of an hour plus 20 %; so
// it does with the delay before the history is read again.
func WithBackoff(delay func(attempt int) time.Duration) Option {
	return func(o *options) error {
		if delay == nil {
			return errors.New("realtime: WithBackoff: the function is nil")
		}
		o.backoff = func(attempt int) time.Duration { return max(delay(attempt), minDelay) }
		return nil
	}
}

// WithCursor starts behind a position that an earlier subscription to the same
// portal has given, instead of now. The zero Cursor starts now. If the channels
// have been replaced since, what came over the old ones at their end is lost,
// and a [Gap] says so.
func WithCursor(c Cursor) Option {
	return func(o *options) error {
		o.cursor = c
		return nil
	}
}

// WithHistory starts with all that the server still keeps, instead of now. A
// cursor, where there is one, wins.
func WithHistory() Option {
	return func(o *options) error {
		o.history = true
		return nil
	}
}

// WithCursorStore starts where the store's cursor says, and keeps it up to
// date: what has been handled, and saved, does not come again. An empty store
// starts now, or where [WithHistory] says. A store that does not load, or does
// not save what it has loaded, ends the run before its first message; one that
// fails later is tried again.
func WithCursorStore(s CursorStore) Option {
	return func(o *options) error {
		if s == nil {
			return errors.New("realtime: WithCursorStore: the store is nil")
		}
		o.store = s
		return nil
	}
}

// WithSaveInterval sets how often the cursor is saved while messages are
// handled; the default is a second. What was handled since the last save comes
// again after the process was killed. It is saved at the end of a run, and by
// [Subscription.Commit], too. 0 saves after each message that it can keep up
// with.
func WithSaveInterval(d time.Duration) Option {
	return func(o *options) error {
		if d < 0 {
			return fmt.Errorf("realtime: WithSaveInterval: %v is negative", d)
		}
		o.saveInterval = d
		return nil
	}
}

// WithSettleTime sets the longest that a publish may take on the push server
// from its id to the store; the default, 5 seconds, is generous: it takes
// milliseconds. Only if this holds is nothing lost. A longer time makes each
// read longer by what is published in it.
func WithSettleTime(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 || d > time.Minute {
			return fmt.Errorf("realtime: WithSettleTime: %v is not between 0 and a minute", d)
		}
		o.settle = d
		return nil
	}
}

// WithParallel has Run call its handler for up to n messages at a time.
// Messages with the same key are handled in order, one after the other; a nil
// key is the message's module and command. key is called by one goroutine.
//
// Up to 16 n messages are taken from the queue, from the oldest that is not
// handled on: behind a handler that is stuck, or is tried again for ever, the
// others come to a stop, and then the queue fills. So the cursor stays small.
// It does not pass a message that is not handled, whatever came after it, and
// what was handled after it does not come again.
//
// A panic of a handler goes on from Run as a [*HandlerPanic], which has the
// handler's stack, a panic of key as it is, both when the other handlers have
// returned. A handler that calls [runtime.Goexit] ends Run with a
// [*HandlerError].
//
// [Subscription.Messages] is not affected.
func WithParallel(n int, key func(Message) string) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("realtime: WithParallel: %d is not a number of handlers", n)
		}
		if key == nil {
			key = func(m Message) string { return m.Module + " " + m.Command }
		}
		o.workers, o.key = n, key
		return nil
	}
}

// Transport is how messages arrive.
type Transport uint8

const (
	// TransportAuto is the default: a websocket, or long polling where the
	// server has no websockets or they have failed five times in a row; then
	// websockets are tried again every 10 to 30 minutes.
	TransportAuto Transport = iota
	// TransportWebSocket is a websocket and nothing else. The history is still
	// read by polls, if the server has them.
	TransportWebSocket
	// TransportLongPolling is long polling and nothing else.
	TransportLongPolling
)

var transports = []string{"auto", "websocket", "long polling"}

// String is the name of the transport in lower case.
func (t Transport) String() string { return enum.Name(transports, t) }

// MarshalText gives the text of String.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// WithTransport says how messages are to arrive. If the server does not offer
// that, the subscription ends with [ErrUnsupportedServer].
func WithTransport(t Transport) Option {
	return func(o *options) error {
		if t > TransportLongPolling {
			return fmt.Errorf("realtime: WithTransport: there is no transport %d", t)
		}
		o.transport = t
		return nil
	}
}

// WithInsecureURLs takes a server's ws and http addresses where it has them, in
// place of wss and https. By default they are taken only where there is nothing
// else. Channel ids and messages then cross the network in the clear.
func WithInsecureURLs() Option {
	return func(o *options) error {
		o.insecure = true
		return nil
	}
}

// WithPingInterval has a websocket pinged that often, so that no middle box
// takes it for idle; d is a second at least. 0 sends no such pings. The default
// adapts: when connections break off three times in a row after the same time
// of silence, of both sides or of ours, which is 4 seconds or more, pings keep
// the silence at two thirds of it from then on; after a day it is tried whether
// they are still needed. nginx, as it comes, ends what is silent for 60
// seconds. Independent of this, the server is pinged where that is part of the
// rule that loses nothing: after each of its own pings, and when none has come
// for 150 seconds.
//
// A ping that is not answered within 20 seconds ends the connection, and
// another one is opened. Long polling has no pings; polls that are cut while
// idle, at the same age again and again, are repeated at once where the server
// still answers replays.
func WithPingInterval(d time.Duration) Option {
	return func(o *options) error {
		if d != 0 && d < time.Second {
			return fmt.Errorf("realtime: WithPingInterval: %v is neither 0 nor a second or more, like 30*time.Second", d)
		}
		o.pingInterval = d
		return nil
	}
}
