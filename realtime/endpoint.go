package realtime

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

// webRevision is the revision of the web client's protocol that this package speaks.
const webRevision = "19"

// endpoint is where and as whom to connect: a config boiled down to URLs. They hold channel ids, so an
// endpoint is never printed.
type endpoint struct {
	dialect  dialect
	server   string  // names the server whose positions they are
	socket   address // no URL: there are no websockets
	poll     address // asks for no history, as after does; no URL: there is no long polling
	channels map[string]ChannelType
}

// newEndpoint checks a config and makes the URLs of it.
func newEndpoint(cfg *b24pull.Config, insecure bool) (endpoint, error) {
	if cfg == nil {
		return endpoint{}, errors.New("realtime: the config source returned no config")
	}
	dialect, err := dialectOf(cfg.Server.Version)
	if err != nil {
		return endpoint{}, err
	}
	query, err := endpointQuery(cfg, dialect)
	if err != nil {
		return endpoint{}, err
	}
	s := &cfg.Server
	socket, err := baseURL("websocket", choose(s.WebSocketSecure, s.WebSocket, insecure), "wss", "ws")
	if err != nil {
		return endpoint{}, err
	}
	poll, err := baseURL("long polling", choose(s.LongPollingSecure, s.LongPolling, insecure), "https", "http")
	if err != nil {
		return endpoint{}, err
	}
	if !s.WebSocketEnabled {
		socket = ""
	}
	switch {
	case socket == "" && poll == "":
		return endpoint{}, fmt.Errorf("%w: it has neither websockets nor long polling", b24pull.ErrInvalidConfig)
	case poll == "" && dialect == dialectTags:
		return endpoint{}, fmt.Errorf("%w: it has no long polling URL, by which a version %d server is read", b24pull.ErrInvalidConfig, s.Version)
	}
	secrets := secretsOf(cfg)
	e := endpoint{dialect: dialect, server: serverOf(cmp.Or(poll, socket), cfg), channels: channelTypes(cfg.Channels)}
	if socket != "" {
		e.socket = address{url: withQuery(socket, query), secrets: secrets, rpc: dialect == dialectRPC}
	}
	if poll != "" {
		e.poll = address{url: withQuery(poll, query), secrets: secrets}
	}
	return e, nil
}

// endpoint makes the endpoint of a config, and refuses one that cannot be used as the user wants.
func (o *options) endpoint(cfg *b24pull.Config) (endpoint, error) {
	ep, err := newEndpoint(cfg, o.insecure)
	if o.transport == TransportAuto && !o.insecure {
		ep.keepSecure()
	}
	switch {
	case err != nil:
		return endpoint{}, err
	case o.transport == TransportWebSocket && ep.socket.url == "":
		return endpoint{}, errNoWebSocket
	case o.transport == TransportLongPolling && ep.poll.url == "":
		return endpoint{}, errNoPolling
	}
	for _, at := range []*address{&ep.socket, &ep.poll} {
		at.secrets = at.secrets.With(headerSecrets(o.header)...)
	}
	return ep, nil
}

// keepSecure does without a URL that is not secure where the other one is. (Versions 1 and 2 can be read by polls only.)
func (e *endpoint) keepSecure() {
	socket, poll := strings.HasPrefix(e.socket.url, "wss:"), strings.HasPrefix(e.poll.url, "https:")
	switch {
	case poll && !socket:
		e.socket.url = ""
	case socket && !poll && e.dialect != dialectTags:
		e.poll.url = ""
	}
}

// serverOf names the server behind a URL; its positions are of one sequence.
func serverOf(base string, cfg *b24pull.Config) string {
	host := base
	if u, err := url.Parse(base); err == nil {
		host = u.Host
	}
	return strings.Join([]string{host, cfg.Server.Hostname, cfg.ClientID}, " ")
}

// same tells whether two endpoints are the same channels on the same server.
func (e *endpoint) same(o *endpoint) bool {
	return e.dialect == o.dialect && e.server == o.server && e.socket.url == o.socket.url && e.poll.url == o.poll.url
}

// after is an address that asks for what follows a position.
func (e *endpoint) after(at address, m mid) address {
	at.url = withQuery(at.url, e.dialect.after(m))
	return at
}

// secretsOf are the channel ids, the parts they are made of, and the token.
func secretsOf(cfg *b24pull.Config) redact.Redactor {
	secrets := redact.Redactor(nil).With(string(cfg.JWT))
	for _, c := range channelsOf(cfg.Channels) {
		secrets = secrets.With(string(c.ID))
		for _, part := range strings.FieldsFunc(string(c.ID), func(r rune) bool { return r == ':' || r == '.' }) {
			if len(part) >= 8 {
				secrets = secrets.With(part)
			}
		}
	}
	return secrets
}

func endpointQuery(cfg *b24pull.Config, d dialect) (string, error) {
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
	params = append(params, d.query()...)
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
func channelTypes(channels b24pull.Channels) map[string]ChannelType {
	types := make(map[string]ChannelType)
	if c := channels.Private; c != nil {
		types[privateID(string(c.ID))] = ChannelPrivate
	}
	if c := channels.Shared; c != nil {
		types[privateID(string(c.ID))] = ChannelShared
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

// choose prefers the secure URL, unless the other one is wanted and there is one.
func choose(secure, plain string, insecure bool) string {
	if secure == "" || insecure && plain != "" {
		return plain
	}
	return secure
}

// baseURL checks a URL. Its path is kept exactly, and so is a query it has. None stays none.
func baseURL(what, chosen, secureScheme, plainScheme string) (string, error) {
	if chosen == "" {
		return "", nil
	}
	u, err := url.Parse(chosen)
	if err != nil || u.Host == "" || (u.Scheme != secureScheme && u.Scheme != plainScheme) {
		return "", fmt.Errorf("%w: its %s URL is not of the form %s://host/path", b24pull.ErrInvalidConfig, what, secureScheme)
	}
	u.Fragment = ""
	return u.String(), nil
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
