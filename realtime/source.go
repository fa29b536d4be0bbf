package realtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/pace"
	"github.com/b24pull/b24pull/internal/underway"
	"github.com/b24pull/b24pull/realtime/internal/config"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A ConfigSource gives the connection data of a push server. A *b24pull.Client
// is one. With cache false it must not return a config that it has returned
// before, unless the portal gives the same one again.
//
// If it has the methods HTTPClient() *http.Client and UserAgent() string as
// well, as a *b24pull.Client has, the push server is asked by the one and under
// the name of the other.
//
// GetApplicationConfig is called from one goroutine at a time and must return
// when its context is done.
type ConfigSource interface {
	GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error)
}

// FromConfig is the source of a config that was obtained elsewhere: from
// another REST client, from a file, in a test. At its end, or when the push
// server no longer takes it, the subscription ends with [ErrConfigExpired].
func FromConfig(cfg *b24pull.Config) ConfigSource {
	if cfg == nil {
		return nil
	}
	return fixedConfig(func() *b24pull.Config { return cfg })
}

// fixedConfig is a function, so that fmt cannot look into it.
type fixedConfig func() *b24pull.Config

func (config fixedConfig) GetApplicationConfig(_ context.Context, cache bool) (*b24pull.Config, error) {
	if !cache {
		return nil, ErrConfigExpired
	}
	return config(), nil
}

// PortalConfig is the source of the channels of the user behind a webhook
// (method pull.config.get): what the portal itself sends to that user's
// browser. Today's portals refuse the application's config to a webhook.
func PortalConfig(c *b24pull.Client) ConfigSource {
	if c == nil {
		return nil
	}
	return portalConfig{c}
}

type portalConfig struct{ client *b24pull.Client }

func (s portalConfig) GetApplicationConfig(ctx context.Context, cache bool) (*b24pull.Config, error) {
	return s.client.GetConfig(ctx, cache)
}

func (s portalConfig) HTTPClient() *http.Client { return s.client.HTTPClient() }

// ListPublicChannels is for publishers: those who use the portal's own channels
// are reached by theirs.
func (s portalConfig) ListPublicChannels(ctx context.Context, users []int64, _ b24pull.ChannelOwner) (map[int64]b24pull.PublicChannel, error) {
	return s.client.ListPublicChannels(ctx, users, b24pull.PortalChannels)
}

// Call is for publishers, too, which ask when users were last seen.
func (s portalConfig) Call(ctx context.Context, method string, params, result any, opts ...b24pull.CallOption) (b24pull.Response, error) {
	return s.client.Call(ctx, method, params, result, opts...)
}

func (s portalConfig) UserAgent() string { return s.client.UserAgent() }

// endpoint is where and as whom to connect: a config boiled down to URLs. They
// hold channel ids, so an endpoint is never printed.
type endpoint struct {
	dialect  wire.Dialect
	server   string            // names the server whose positions they are
	socket   transport.Address // no URL: there are no websockets
	poll     transport.Address // asks for no history, as after does; no URL: there is no long polling
	confirm  transport.Address // where what polls bring is confirmed; no URL: it is not
	channels wire.Channels

	badSocket, badPoll error // why there is no URL although the config has one; nil otherwise
}

// empty reports whether nothing has been decoded into a config.
func empty(cfg *b24pull.Config) bool {
	s := cfg.Server
	return s.Version == 0 && s.WebSocketSecure+s.WebSocket+s.LongPollingSecure+s.LongPolling == "" &&
		cfg.Channels == (b24pull.Channels{}) && cfg.JWT == ""
}

// newEndpoint checks a config and makes the URLs of it.
func newEndpoint(cfg *b24pull.Config, insecure bool) (endpoint, error) {
	if cfg == nil {
		return endpoint{}, &unusableError{errors.New("realtime: the config source returned no config and no error; it has to return one of them")}
	}
	if empty(cfg) {
		return endpoint{}, &unusableError{fmt.Errorf("%w: the config is empty; decode an answer of pull.application.config.get or pull.config.get into it, by json.Unmarshal", b24pull.ErrInvalidConfig)}
	}
	dialect, ok := wire.DialectOf(cfg.Server.Version)
	if !ok {
		return endpoint{}, fmt.Errorf("%w: its version is %d", ErrUnsupportedServer, cfg.Server.Version)
	}
	if err := config.CheckLengths(cfg); err != nil {
		return endpoint{}, err
	}
	query, err := config.Query(cfg, dialect)
	if err != nil {
		return endpoint{}, err
	}
	s := &cfg.Server
	socket, badSocket := config.Base(insecure, "websocket", s.WebSocketSecure, s.WebSocket, "wss", "ws")
	poll, badPoll := config.Base(insecure, "long_polling", s.LongPollingSecure, s.LongPolling, "https", "http")
	if !s.WebSocketEnabled {
		socket, badSocket = "", nil
	}
	switch {
	case socket == "" && poll == "":
		return endpoint{}, &unusableError{config.Because(fmt.Errorf("%w: it has neither websockets nor long polling, which an administrator sets in the portal's Push & Pull settings", b24pull.ErrInvalidConfig), badSocket, badPoll)}
	case poll == "" && dialect == wire.DialectTags:
		return endpoint{}, &unusableError{config.Because(fmt.Errorf("%w: it has no long polling URL, by which a version %d server is read", b24pull.ErrInvalidConfig, s.Version), badPoll)}
	}
	secrets := config.Secrets(cfg)
	e := endpoint{
		dialect: dialect, server: serverOf(cmp.Or(poll, socket), cfg), channels: channelTypes(cfg.Channels),
		badSocket: badSocket, badPoll: badPoll,
	}
	if socket != "" {
		e.socket = transport.Address{URL: config.WithQuery(socket, query), Secrets: secrets, RPC: dialect == wire.DialectRPC}
	}
	if poll != "" {
		e.poll = transport.Address{URL: config.WithQuery(poll, query), Secrets: secrets, Tags: dialect == wire.DialectTags}
	}
	if poll != "" && dialect == wire.DialectRPC {
		// an address that cannot be used is none: nothing depends on it
		publish, _ := config.Base(insecure, "publish", s.PublishSecure, s.Publish, "https", "http")
		if publish != "" && (insecure || strings.HasPrefix(publish, "https:") || strings.HasPrefix(poll, "http:")) {
			e.confirm = transport.Address{URL: config.WithQuery(publish, query), Secrets: secrets}
		}
	}
	return e, nil
}

// endpoint makes the endpoint of a config, and refuses one that cannot be used
// as the user wants.
func (o *options) endpoint(cfg *b24pull.Config) (endpoint, error) {
	ep, err := newEndpoint(cfg, o.insecure)
	if o.transport == TransportAuto && !o.insecure {
		ep.keepSecure()
	}
	switch {
	case err != nil:
		return endpoint{}, err
	case o.transport == TransportWebSocket && ep.badSocket != nil:
		return endpoint{}, &unusableError{fmt.Errorf("%w: WithTransport wants a websocket; %w", b24pull.ErrInvalidConfig, ep.badSocket)}
	case o.transport == TransportLongPolling && ep.badPoll != nil:
		return endpoint{}, &unusableError{fmt.Errorf("%w: WithTransport wants long polling; %w", b24pull.ErrInvalidConfig, ep.badPoll)}
	case o.transport == TransportWebSocket && ep.socket.URL == "":
		return endpoint{}, errNoWebSocket
	case o.transport == TransportLongPolling && ep.poll.URL == "":
		return endpoint{}, errNoPolling
	}
	for _, at := range []*transport.Address{&ep.socket, &ep.poll, &ep.confirm} {
		at.Secrets = at.Secrets.With(transport.HeaderSecrets(o.header)...)
	}
	return ep, nil
}

// keepSecure does without a URL that is not secure where the other one is.
// (Versions 1 and 2 can be read by polls only.)
func (e *endpoint) keepSecure() {
	socket, poll := strings.HasPrefix(e.socket.URL, "wss:"), strings.HasPrefix(e.poll.URL, "https:")
	switch {
	case poll && !socket:
		e.socket.URL = ""
	case socket && !poll && e.dialect != wire.DialectTags:
		e.poll.URL = ""
	}
}

// serverOf names the server behind a URL; its positions are of one sequence.
func serverOf(base string, cfg *b24pull.Config) string {
	host := base
	if u, err := url.Parse(base); err == nil {
		host = strings.ToLower(addr.ASCIIHost(u))
	}
	return host + " " + portalOf(cfg)
}

// portalOf names the portal of a config: to a push server of the cloud by the
// id that it has there, which it keeps when it is renamed.
func portalOf(cfg *b24pull.Config) string { return cmp.Or(cfg.ClientID, cfg.Server.Hostname) }

// same reports whether two endpoints are the same channels at the same
// addresses.
func (e *endpoint) same(o *endpoint) bool {
	return e.continues(o) && e.socket.URL == o.socket.URL && e.poll.URL == o.poll.URL
}

// continues reports whether the positions of two endpoints are of one sequence:
// they are of the same server, or of one channel. A portal that is renamed, and
// its push server with it, has the channels that it had, and their ids are
// nobody else's. Should the server have been replaced, the messages tell, whose
// ids begin anew.
func (e *endpoint) continues(o *endpoint) bool {
	if e.dialect != o.dialect {
		return false
	}
	for _, c := range e.channels {
		if c.ID != "" && o.channels.Of([]byte(c.ID)) != wire.ChannelUnknown {
			return true
		}
	}
	return e.server == o.server
}

// after is an address that asks for what follows a position.
func (e *endpoint) after(at transport.Address, m wire.Mid) transport.Address {
	at.URL = config.WithQuery(at.URL, e.dialect.After(m))
	return at
}

// channelTypes names the channels by what frames call them: their private ids.
func channelTypes(channels b24pull.Channels) (types wire.Channels) {
	if c := channels.Private; c != nil {
		types = append(types, wire.NamedChannel{ID: privateID(string(c.ID)), Channel: wire.ChannelPrivate})
	}
	if c := channels.Shared; c != nil {
		types = append(types, wire.NamedChannel{ID: privateID(string(c.ID)), Channel: wire.ChannelShared})
	}
	return types
}

// privateID is the first part of private[:public].signature.
func privateID(id string) string {
	if i := strings.IndexAny(id, ":."); i >= 0 {
		return id[:i]
	}
	return id
}

// lastErrors is what went wrong last, and what the source does meanwhile.
type lastErrors struct {
	asking underway.Call // the source

	mu        sync.Mutex
	connected bool
	connect   error // on the way to a connection; nil if there is one
	replaying error // as the history was to be read; nil if it was
}

func (t *lastErrors) connecting(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connected, t.connect = err == nil, err
}

func (t *lastErrors) noteReplay(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replaying = err
}

// unconnected is why there is no connection.
func (t *lastErrors) unconnected() error {
	asking := t.asking.Err()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.connected {
		return nil
	}
	return cmp.Or(asking, t.connect)
}

// unready is why a subscription is not ready.
func (t *lastErrors) unready() error {
	last := t.unconnected()
	t.mu.Lock()
	defer t.mu.Unlock()
	return cmp.Or(last, t.replaying)
}

// toldEvery is how often the log has a line of a source that is asked in vain.
const toldEvery = 10 * time.Second

// toldFailures bounds the lines of calls that the source repeats.
var toldFailures = pace.Pace{Burst: 4, Every: toldEvery}

// watchSource has the log say how the source is getting on, until asked is
// closed.
func (l *loop) watchSource(asked <-chan struct{}) {
	l.lastErrors.asking.Wait("the config source")
	l.tasks.Go(func() {
		ticker := time.NewTicker(toldEvery)
		defer ticker.Stop()
		for {
			select {
			case <-asked:
				return
			case <-ticker.C:
			}
			if from, waited := l.lastErrors.asking.Waiting(); waited >= toldEvery/2 {
				l.log.Info("no answer yet to the question for the config", "from", from, "waited", waited.Round(time.Millisecond))
			}
		}
	})
}

// logRepeats has the log say what the source repeats.
func (l *loop) logRepeats() {
	often := toldFailures
	l.lastErrors.asking.Failed = func(err error, again time.Duration) {
		if now := time.Now(); !often.Next().After(now) {
			often.Note(now)
			l.log.Info("the question for the config failed and is repeated", "delay", again, "err", err)
		}
	}
}
