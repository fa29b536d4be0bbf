package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/realtime"
)

// An Option changes how a [Fleet] or an [Application] works.
type Option func(*options) error

type options struct {
	logger   *slog.Logger
	observer func(Event)
	restart  func(key string, err error, failures int) Restart
	cursors  func(key string) realtime.CursorStore
	each     []realtime.Option
	requests int // at once
	bytes    int // of all queues

	application applicationOptions
}

// applicationOptions are those that a Fleet has no use for.
type applicationOptions struct {
	given    string // the name of one that was given
	hosts    oauth.Hosts
	eventURL string
	ready    func(context.Context, Portal) error
	client   []b24pull.Option
}

func newOptions(opts []Option) (options, error) {
	o := options{
		logger: slog.New(slog.DiscardHandler), observer: func(Event) {},
		restart:  func(_ string, err error, failures int) Restart { return DefaultRestart(err, failures) },
		requests: defaultRequests, bytes: defaultQueueBytes,
	}
	for _, opt := range opts {
		if opt == nil {
			return o, errors.New("fleet: an option is nil")
		}
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// WithLogger has the fleet and its subscriptions log, each line with the key of
// its portal; see [realtime.WithLogger]. No secret is logged; keys are, so a
// key must not be one.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return errors.New("fleet: WithLogger: the logger is nil")
		}
		o.logger = l
		return nil
	}
}

// WithObserver has observe called for each [Event]. Those of one key come in
// order; several goroutines call it at once, one a key. It must return quickly:
// the subscription receives nothing while it runs. It can call the fleet's
// methods: [Fleet.Remove] of the event's own key, and [Fleet.Shutdown], do not
// wait then; Remove of another key does. If it panics, that is logged, and
// nothing else comes of it.
func WithObserver(observe func(Event)) Option {
	return func(o *options) error {
		if observe == nil {
			return errors.New("fleet: WithObserver: the function is nil")
		}
		o.observer = observe
		return nil
	}
}

// WithCursors gives each key the store of its cursor: a [CursorFolder] has one,
// as a database may. It is called once for each time that a key is added, and
// the store is used by one subscription at a time. The default keeps cursors in
// memory while their key is there, so that a subscription that is begun again
// goes on where it was.
//
// A cursor that does not fit any more, as after a portal has moved or its push
// server was replaced, is given up: the subscription is begun without it, with
// all that the server keeps ([realtime.WithHistory]), and an Event of kind
// [KindCursorDropped] tells. What was handled of that comes again then.
func WithCursors(cursors func(key string) realtime.CursorStore) Option {
	return func(o *options) error {
		if cursors == nil {
			return errors.New("fleet: WithCursors: the function is nil")
		}
		o.cursors = cursors
		return nil
	}
}

// WithSubscription gives options to all subscriptions, before those of
// [Fleet.Add]. [WithCursors] takes the place of [realtime.WithCursor] and
// [realtime.WithCursorStore], which are refused here and by Add: a run that was
// begun again with them would go back to where the first one began, or all keys
// share one cursor. [realtime.WithHistory] can be given: a key without a cursor
// begins with all that is kept.
func WithSubscription(opts ...realtime.Option) Option {
	return func(o *options) error {
		for _, opt := range opts {
			if opt == nil {
				return errors.New("fleet: WithSubscription: an option is nil")
			}
		}
		o.each = append(o.each, opts...)
		if err := refuseCursors(realtime.PortalConfig(new(b24pull.Client)), o.each); err != nil {
			return fmt.Errorf("fleet: WithSubscription: %w", err)
		}
		return nil
	}
}

// refuseCursors refuses options that say where a subscription begins. Only
// realtime knows what an option does: it takes one place to begin and no more.
// What is wrong otherwise is not said here.
func refuseCursors(source realtime.ConfigSource, opts []realtime.Option) error {
	if _, err := realtime.Subscribe(source, opts...); err != nil {
		return nil
	}
	var somewhere realtime.Cursor
	if err := somewhere.UnmarshalText([]byte("1.AAAAAAAAAAAAAAAAAQEAAAA6G0Q9")); err != nil {
		return err
	}
	for _, one := range []struct {
		name  string
		other realtime.Option // which the one does not go with
	}{
		{"WithCursorStore", realtime.WithCursor(somewhere)},
		{"WithCursor", realtime.WithCursorStore(new(realtime.MemoryStore))},
	} {
		if _, err := realtime.Subscribe(source, append(slices.Clone(opts), one.other)...); err != nil {
			return fmt.Errorf("realtime.%s is not for a fleet, whose runs begin where the one before has ended; give fleet.WithCursors, a store for each key", one.name)
		}
	}
	return nil
}

// Bounds of a fleet.
const (
	defaultRequests   = 128
	defaultQueueBytes = 256 << 20
	queueShare        = 16 << 10 // of each subscription, beside these
)

// WithRequests bounds how many requests the subscriptions of a fleet have under
// way at once, to all hosts together and so to each: calls of portals for
// configs, refreshes of tokens by package oauth, handshakes of websockets, TLS
// included, and reads of the history. The default is 128. So a start, and the
// return of a network, are spread however many portals there are: what is
// beyond the bound waits, for as long as it takes, in turns of the three kinds,
// of hosts, and of who came first. That is no failure: no timeout of this module
// runs meanwhile, neither a Client's ([b24pull.WithTimeout]) nor that of a
// refresh, a handshake, a poll or a read, also where several wait for one
// refresh. The token's lock is taken when the refresh has its turn, so that
// other processes do not wait for that.
//
// A request that has no answer within 5 seconds does not count any more, and
// has another one begin; it ends by its own timeout. Hosts that hang so take up
// half of the places at the most from then on, an eighth while others wait. A
// poll, or a read of a history that has nothing new, hangs by its nature, and
// counts until the server has had it for 100 ms; so a server that takes longer
// for its answers may have more of them at once. What handlers call does not
// count.
//
// Of a ConfigSource that is no [b24pull.Client] a question for the config
// counts as one request, as long as that is under way or until a Client that it
// calls waits for its next try.
func WithRequests(n int) Option {
	return func(o *options) error {
		if n < 1 {
			return fmt.Errorf("fleet: WithRequests: %d is not a number of requests that can be under way; give 1 or more", n)
		}
		o.requests = n
		return nil
	}
}

// WithQueueBytes bounds what the queues of all subscriptions take together, of
// messages that have come and that no handler has taken yet: what
// [realtime.Stats] has in QueuedBytes, and 256 bytes for each of them. The
// default is 256 MiB. Each subscription has 16 KiB of its own beside that, so
// that none has to wait for another's handlers; and one message that is larger,
// in an empty queue. What is beyond its share a subscription takes out of the
// budget, and no more than is left then, so one whose handler is stuck leaves
// half for the others. Where there is no room, a subscription pauses as one does
// whose own queue is full (16 MiB, or 4,096 messages): nothing is lost, and it
// goes on when half of what it may have is free.
func WithQueueBytes(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("fleet: WithQueueBytes: %d is no number of bytes; give 0 or more, like 64<<20", n)
		}
		o.bytes = n
		return nil
	}
}

// WithRestart decides what becomes of a subscription that has ended, and not by
// Remove or Shutdown: with an error, which is [realtime.ErrClosed] where you
// have closed or drained it yourself ([Fleet.Subscription]). failures counts the
// runs that have failed one after the other, from 1 on; a run that has lasted
// for ten minutes begins the count anew. The default is [DefaultRestart], which
// a policy can call for what it does not decide.
func WithRestart(policy func(key string, err error, failures int) Restart) Option {
	return func(o *options) error {
		if policy == nil {
			return errors.New("fleet: WithRestart: the function is nil")
		}
		o.restart = policy
		return nil
	}
}

// WithPortals names hosts of portals outside the Bitrix24 cloud, like
// portal.example, *.company.example or portal.example:8443: an Application
// follows a portal to them when it moves, and sends users there to authorize
// it. What is neither named nor in the cloud may be anybody's.
func WithPortals(hosts ...string) Option {
	return func(o *options) (err error) {
		o.application.given = "WithPortals"
		if o.application.hosts, err = oauth.ParseHosts(hosts...); err != nil {
			return fmt.Errorf("fleet: WithPortals: %w", err)
		}
		return nil
	}
}

// WithEventURL has an Application bind the event ONAPPUNINSTALL of each portal
// to this address, where it is not bound yet: a portal does not tell of its own
// accord that it has uninstalled the application. It leads to
// [Application.Callback].
func WithEventURL(address string) Option {
	return func(o *options) error {
		o.application.given = "WithEventURL"
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return errors.New("fleet: WithEventURL: want https://HOST/PATH, where the portal posts its events")
		}
		o.application.eventURL = address
		return nil
	}
}

// WithReady has an Application call f beside each subscription once no event
// of the portal can be missed any more: what f has the portal send arrives. Its
// context ends with the subscription. An error, or a panic, which is a
// [*PanicError], is logged and told by an Event of kind [KindReadyFailed], and
// does no more.
func WithReady(f func(ctx context.Context, p Portal) error) Option {
	return func(o *options) error {
		o.application.given = "WithReady"
		if f == nil {
			return errors.New("fleet: WithReady: the function is nil")
		}
		o.application.ready = f
		return nil
	}
}

// WithClient gives options to the [b24pull.Client] that an Application makes of
// each portal: a limiter, say. Its HTTP client is that of the
// [oauth.Application] unless one is given; [b24pull.WithMoved] is the
// Application's own.
func WithClient(opts ...b24pull.Option) Option {
	return func(o *options) error {
		o.application.given = "WithClient"
		for _, opt := range opts {
			if opt == nil {
				return errors.New("fleet: WithClient: an option is nil")
			}
		}
		o.application.client = append(o.application.client, opts...)
		return nil
	}
}

// Restart is what becomes of a subscription that has ended: [After] and
// [Wait]. The zero Restart is Wait's.
type Restart struct {
	again bool
	delay time.Duration
}

// After has a subscription begun again after a delay.
func After(delay time.Duration) Restart { return Restart{again: true, delay: max(delay, 0)} }

// Wait has a subscription wait until [Fleet.Restart] is called for its key, or,
// of an [Application], until the portal's next callback.
func Wait() Restart { return Restart{} }
