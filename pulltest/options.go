package pulltest

import (
	"crypto/tls"
	"math"
	"net/http"
	"time"
)

// Option changes how a [Portal] is made.
type Option func(*options)

type options struct {
	network       *Network
	authServer    *AuthServer // that many portals share; nil: one of the portal's own
	address       string      // for https; "": a loopback port, or portal.example
	plain         string      // address for plain http; "": none
	plainURLs     bool        // what the portal tells of itself is plain
	hostname      string      // what the portal calls itself; "": as its address
	certificate   *tls.Certificate
	pushPath      string // without a trailing slash
	key           string
	seed          string
	version       int
	dialect       *dialect // of the version
	textPing      time.Duration
	tokenLife     time.Duration
	noSockets     bool
	noPolls       bool
	shared        bool
	clientID      string // in shared mode
	pingInterval  time.Duration
	gather        time.Duration
	handover      time.Duration
	hostile       bool // holes are there always, not only where a real server has them
	hold          time.Duration
	channelLife   time.Duration
	configLife    time.Duration
	clock         *clock
	clockShift    time.Duration // at the beginning
	subscribers   int
	publishers    int
	disorder      time.Duration
	webhookConfig bool
	application   Application
	memberID      string
	users         []User
	scopes        []string
	accessLife    time.Duration
	refreshLife   time.Duration
	stringNumbers bool
	limits        limits
	idleTimeout   time.Duration         // of a middle box; 0: there is none
	traffic       int                   // ids a second that others take
	before        []Message             // what is there from before the beginning; nil: nothing
	methods       map[string]methodFunc // of the test's own, by their names in lower case
	middleware    func(http.Handler) http.Handler
	observe       func(Event)
}

// unset stands for an interval that no option has set.
const unset = time.Duration(math.MinInt64)

func newOptions(opts []Option) (*options, error) {
	o := &options{
		pushPath:     "/push",
		key:          "pulltest-secret-key",
		clock:        new(clock),
		version:      4,
		pingInterval: unset,
		textPing:     unset,
		tokenLife:    24 * time.Hour,
		gather:       400 * time.Millisecond,
		handover:     unset,
		hold:         40 * time.Second,
		channelLife:  43205 * time.Second,
		configLife:   24 * time.Hour,
		subscribers:  1,
		publishers:   1,
		application:  Application{Name: "pulltest"},
		memberID:     md5hex(randomID()),
		users:        defaultUsers(),
		scopes:       []string{scopePull, scopeChannels, scopeUser},
		accessLife:   time.Hour,
		refreshLife:  180 * 24 * time.Hour,
	}
	for _, opt := range opts {
		opt(o)
	}
	if err := o.adopt(); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	o.complete()
	return o, nil
}

// complete sets what depends on several options.
func (o *options) complete() {
	o.dialect = dialectOf(o.version)
	o.clock.set(o.clockShift)
	o.application.complete()
	if o.pingInterval == unset {
		o.pingInterval = o.dialect.pingInterval
	}
	if o.handover == unset {
		o.handover = handoverOf(o.dialect, o.subscribers)
	}
	if o.textPing == unset {
		o.textPing = o.dialect.textPing
	}
	if o.dialect.ordered {
		o.disorder = 0
	}
	if o.shared {
		o.clientID = md5hex(randomID())
		if o.seed != "" {
			o.clientID = md5hex(o.seed + " client")
		}
	}
}

// WithNetwork makes the portal listen on a network in memory, as
// https://portal.example, instead of a loopback port. Further portals on the
// same network are portal2.example, portal3.example and so on.
func WithNetwork(n *Network) Option {
	return func(o *options) { o.network = n }
}

// WithPingInterval sets how often the push server pings each websocket, from its
// beginning on; the default is 120 s, and never in versions 1 and 2. With 0 only
// [Portal.Ping] does; a bubble in which all is blocked for good then ends with a
// report of the deadlock, where the timer would keep virtual time running.
func WithPingInterval(d time.Duration) Option {
	return func(o *options) { o.pingInterval = d }
}

// WithGather sets how long the push server gathers messages for a websocket
// after a frame it sent at once; the default is 400 ms. With 0, and always in
// versions 1 and 2, each message is a frame of its own.
func WithGather(d time.Duration) Option {
	return func(o *options) { o.gather = d }
}

// WithHandover sets the time between the history read and the registration of a
// subscriber that sent a mid, or a time, and was sent history; with several
// processes, or [WithHostileTiming], also of one for whom there was none. The
// default is 0.5 ms, with several processes and below version 4 0.4 ms. What is
// published in between is kept but not sent to it.
func WithHandover(d time.Duration) Option {
	return func(o *options) { o.handover = d }
}

// WithLongPollHold sets how long a long poll hangs; the default is 40 s.
func WithLongPollHold(d time.Duration) Option {
	return func(o *options) { o.hold = d }
}

// WithChannelLife sets how long a channel lives; the default is 43,205 s. The
// portal then makes a new one in its place. It must be longer than 0.
func WithChannelLife(d time.Duration) Option {
	return func(o *options) { o.channelLife = d }
}

// WithConfigLife sets how far ahead the exp of a config lies; the default is 24
// h. In version 5 it lies no further ahead than [WithTokenLife] says.
func WithConfigLife(d time.Duration) Option {
	return func(o *options) { o.configLife = d }
}

// WithClockShift puts the clocks of the portal and its push server ahead of
// ours by d, or behind if d is negative: whatever time they tell is off by it.
func WithClockShift(d time.Duration) Option {
	return func(o *options) { o.clockShift = d }
}

// WithWebhookConfig answers pull.application.config.get to an incoming webhook
// too. By default the answer is WRONG_AUTH_TYPE, as from today's portals.
func WithWebhookConfig() Option {
	return func(o *options) { o.webhookConfig = true }
}

// WithKey sets the signature key the portal shares with its push server.
func WithKey(key string) Option {
	return func(o *options) { o.key = key }
}

// WithChannels makes the channel ids the same in every run. The application's
// private channel has the private id md5(seed) and, from version 4 on, the
// public id md5(seed + "public"). By default all ids are random.
func WithChannels(seed string) Option {
	return func(o *options) { o.seed = seed }
}

// WithHandler puts a handler of the test in front of everything the portal
// serves, REST, OAuth and push server, to inject faults that [Portal.Misbehave]
// does not know: it may answer itself, wait, or hijack the connection instead
// of calling next. A handler that waits must give up when the request's context
// is done, or Close does not return.
func WithHandler(middleware func(next http.Handler) http.Handler) Option {
	return func(o *options) { o.middleware = middleware }
}
