package realtime

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// webRevision is the revision of the web client's protocol that this package
// speaks.
const webRevision = "19"

// endpoint is where and as whom to connect: a config boiled down to URLs. They
// hold channel ids, so an endpoint is never printed.
type endpoint struct {
	dialect  wire.Dialect
	server   string            // names the server whose positions they are
	socket   transport.Address // no URL: there are no websockets
	poll     transport.Address // asks for no history, as after does; no URL: there is no long polling
	channels map[string]wire.Channel

	badSocket, badPoll error // why there is no URL although the config has one; nil otherwise
}

// newEndpoint checks a config and makes the URLs of it.
func newEndpoint(cfg *b24pull.Config, insecure bool) (endpoint, error) {
	if cfg == nil {
		return endpoint{}, errors.New("realtime: the config source returned no config")
	}
	dialect, ok := wire.DialectOf(cfg.Server.Version)
	if !ok {
		return endpoint{}, fmt.Errorf("%w: its version is %d", ErrUnsupportedServer, cfg.Server.Version)
	}
	if err := checkLengths(cfg); err != nil {
		return endpoint{}, err
	}
	query, err := endpointQuery(cfg, dialect)
	if err != nil {
		return endpoint{}, err
	}
	s := &cfg.Server
	socket, badSocket := baseURL(insecure, named{"websocket_secure", s.WebSocketSecure}, named{"websocket", s.WebSocket}, "wss", "ws")
	poll, badPoll := baseURL(insecure, named{"long_polling_secure", s.LongPollingSecure}, named{"long_polling", s.LongPolling}, "https", "http")
	if !s.WebSocketEnabled {
		socket, badSocket = "", nil
	}
	switch {
	case socket == "" && poll == "":
		return endpoint{}, because(fmt.Errorf("%w: it has neither websockets nor long polling", b24pull.ErrInvalidConfig), badSocket, badPoll)
	case poll == "" && dialect == wire.DialectTags:
		return endpoint{}, because(fmt.Errorf("%w: it has no long polling URL, by which a version %d server is read", b24pull.ErrInvalidConfig, s.Version), badPoll)
	}
	secrets := secretsOf(cfg)
	e := endpoint{
		dialect: dialect, server: serverOf(cmp.Or(poll, socket), cfg), channels: channelTypes(cfg.Channels),
		badSocket: badSocket, badPoll: badPoll,
	}
	if socket != "" {
		e.socket = transport.Address{URL: withQuery(socket, query), Secrets: secrets, RPC: dialect == wire.DialectRPC}
	}
	if poll != "" {
		e.poll = transport.Address{URL: withQuery(poll, query), Secrets: secrets, Tags: dialect == wire.DialectTags}
	}
	return e, nil
}

// maxIdentifier is how many bytes a name, an id, a token or an address in a
// config may have, as where configs are decoded: a source can have made its
// own.
const maxIdentifier = 4096

// checkLengths refuses a config of which a part is too long for an address, and
// to be looked for in all that is printed.
func checkLengths(cfg *b24pull.Config) error {
	s := &cfg.Server
	parts := []named{
		{"jwt", string(cfg.JWT)}, {"clientId", cfg.ClientID}, {"hostname", s.Hostname},
		{"websocket_secure", s.WebSocketSecure}, {"websocket", s.WebSocket},
		{"long_polling_secure", s.LongPollingSecure}, {"long_polling", s.LongPolling},
		{"publish_secure", s.PublishSecure}, {"publish", s.Publish},
	}
	for name, c := range map[string]*b24pull.Channel{"private": cfg.Channels.Private, "shared": cfg.Channels.Shared} {
		if c != nil {
			parts = append(parts, named{"id of the " + name + " channel", string(c.ID)}, named{"public_id of the " + name + " channel", string(c.PublicID)})
		}
	}
	for _, p := range parts {
		if len(p.value) > maxIdentifier {
			return fmt.Errorf("%w: its %s has %d bytes; want %d at most", b24pull.ErrInvalidConfig, p.name, len(p.value), maxIdentifier)
		}
	}
	return nil
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
		return endpoint{}, fmt.Errorf("%w: WithTransport wants a websocket; %w", b24pull.ErrInvalidConfig, ep.badSocket)
	case o.transport == TransportLongPolling && ep.badPoll != nil:
		return endpoint{}, fmt.Errorf("%w: WithTransport wants long polling; %w", b24pull.ErrInvalidConfig, ep.badPoll)
	case o.transport == TransportWebSocket && ep.socket.URL == "":
		return endpoint{}, errNoWebSocket
	case o.transport == TransportLongPolling && ep.poll.URL == "":
		return endpoint{}, errNoPolling
	}
	for _, at := range []*transport.Address{&ep.socket, &ep.poll} {
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
	for id := range e.channels {
		if _, common := o.channels[id]; common && id != "" {
			return true
		}
	}
	return e.server == o.server
}

// after is an address that asks for what follows a position.
func (e *endpoint) after(at transport.Address, m wire.Mid) transport.Address {
	at.URL = withQuery(at.URL, e.dialect.After(m))
	return at
}

// secretsOf are the token, the channel ids, and what the server's addresses
// have of users and queries.
func secretsOf(cfg *b24pull.Config) redact.Redactor {
	secrets := []string{string(cfg.JWT)}
	for _, c := range channelsOf(cfg.Channels) {
		secrets = append(secrets, string(c.ID), string(c.PublicID))
	}
	s := &cfg.Server
	for _, at := range []string{s.WebSocketSecure, s.WebSocket, s.LongPollingSecure, s.LongPolling, s.PublishSecure, s.Publish} {
		secrets = append(secrets, secretsIn(at)...)
	}
	return redact.Redactor{}.With(secrets...)
}

// secretsIn are the user, the password and the values of the query of an
// address. A value of a few characters is a switch or a number.
func secretsIn(address string) []string {
	const minValue = 4
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	password, _ := u.User.Password()
	secrets := []string{u.User.Username(), password}
	for pair := range strings.FieldsFuncSeq(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, named := strings.Cut(pair, "=")
		if !named {
			value = name
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		if len(value) >= minValue {
			secrets = append(secrets, value)
		}
	}
	return secrets
}

func endpointQuery(cfg *b24pull.Config, d wire.Dialect) (string, error) {
	var params []string
	add := func(name, value string) { params = append(params, name+"="+url.QueryEscape(value)) }

	if cfg.JWT != "" {
		add("token", string(cfg.JWT))
	} else {
		ids := channelIDs(cfg.Channels)
		if ids == "" {
			return "", fmt.Errorf("%w: it has neither a private nor a shared channel", b24pull.ErrInvalidConfig)
		}
		add("CHANNEL_ID", ids)
	}
	if cfg.ClientID != "" {
		add("clientId", cfg.ClientID)
	}
	params = append(params, d.Query()...)
	add("revision", webRevision)
	return strings.Join(params, "&"), nil
}

// channelsOf are the channels there are, private first.
func channelsOf(channels b24pull.Channels) []*b24pull.Channel {
	return slices.DeleteFunc([]*b24pull.Channel{channels.Private, channels.Shared}, func(c *b24pull.Channel) bool { return c == nil })
}

// channelIDs joins the ids as they came, private first.
func channelIDs(channels b24pull.Channels) string {
	var ids []string
	for _, c := range channelsOf(channels) {
		if c.ID != "" {
			ids = append(ids, string(c.ID))
		}
	}
	return strings.Join(ids, "/")
}

// channelTypes names the channels by what frames call them: their private ids.
func channelTypes(channels b24pull.Channels) map[string]wire.Channel {
	types := make(map[string]wire.Channel)
	if c := channels.Private; c != nil {
		types[privateID(string(c.ID))] = wire.ChannelPrivate
	}
	if c := channels.Shared; c != nil {
		types[privateID(string(c.ID))] = wire.ChannelShared
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

// named is a value and its name in the config.
type named struct{ name, value string }

// baseURL is the first of two URLs that can be used, the secure one unless the
// other is wanted; "" if there is none. Its path is kept exactly, and so is a
// query it has. The error tells what is wrong with those that cannot be used.
func baseURL(insecure bool, secure, plain named, schemes ...string) (string, error) {
	candidates := []named{secure, plain}
	if insecure {
		slices.Reverse(candidates)
	}
	var problems []error
	for _, c := range candidates {
		if c.value == "" {
			continue
		}
		u, err := addr.Parse(c.value, schemes...)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.name, err))
			continue
		}
		u.Fragment = ""
		return u.String(), nil
	}
	return "", because(nil, problems...)
}

// because adds causes to an error, as far as there are any.
func because(err error, causes ...error) error {
	for _, cause := range causes {
		switch {
		case cause == nil:
		case err == nil:
			err = cause
		default:
			err = fmt.Errorf("%w; %w", err, cause)
		}
	}
	return err
}

func withQuery(base, query string) string {
	switch {
	case !strings.Contains(base, "?"):
		return base + "?" + query
	case strings.HasSuffix(base, "?"), strings.HasSuffix(base, "&"):
		return base + query
	default:
		return base + "&" + query
	}
}
