package realtime

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

// webRevision is the revision of the web client's protocol that this package speaks.
const webRevision = "19"

// endpoint is where and as whom to connect: a config boiled down to URLs. They hold channel ids, so an
// endpoint is never printed.
type endpoint struct {
	socket address
	poll   address // asks for no history; after does
}

// newEndpoint checks a config and makes the URLs of it.
func newEndpoint(cfg *b24pull.Config) (endpoint, error) {
	if cfg == nil {
		return endpoint{}, errors.New("realtime: the config source returned no config")
	}
	if v := cfg.Server.Version; v != 4 {
		return endpoint{}, fmt.Errorf("%w: version %d; only version 4 is", ErrUnsupportedServer, v)
	}
	if !cfg.Server.WebSocketEnabled {
		return endpoint{}, fmt.Errorf("%w: its websockets are off", ErrUnsupportedServer)
	}
	query, err := endpointQuery(cfg)
	if err != nil {
		return endpoint{}, err
	}
	socket, err := baseURL("websocket", cfg.Server.WebSocketSecure, cfg.Server.WebSocket, "wss", "ws")
	if err != nil {
		return endpoint{}, err
	}
	poll, err := baseURL("long polling", cfg.Server.LongPollingSecure, cfg.Server.LongPolling, "https", "http")
	if err != nil {
		return endpoint{}, err
	}
	secrets := secretsOf(cfg)
	return endpoint{
		socket: address{withQuery(socket, query), secrets},
		poll:   address{withQuery(poll, query), secrets},
	}, nil
}

// secretsOf are the channel ids, the parts they are made of, and the token.
func secretsOf(cfg *b24pull.Config) redact.Redactor {
	secrets := redact.Redactor(nil).With(string(cfg.JWT))
	for _, c := range []*b24pull.Channel{cfg.Channels.Private, cfg.Channels.Shared} {
		if c == nil {
			continue
		}
		secrets = secrets.With(string(c.ID))
		for _, part := range strings.FieldsFunc(string(c.ID), func(r rune) bool { return r == ':' || r == '.' }) {
			if len(part) >= 8 {
				secrets = secrets.With(part)
			}
		}
	}
	return secrets
}

func endpointQuery(cfg *b24pull.Config) (string, error) {
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
	// the text framing of a version 4 server names no sender: a client could forge control commands
	add("binaryMode", "true")
	add("revision", webRevision)
	return strings.Join(params, "&"), nil
}

// channelIDs joins the ids as they came, private first.
func channelIDs(channels b24pull.Channels) string {
	var ids []string
	for _, c := range []*b24pull.Channel{channels.Private, channels.Shared} {
		if c != nil && c.ID != "" {
			ids = append(ids, string(c.ID))
		}
	}
	return strings.Join(ids, "/")
}

// baseURL chooses the secure URL where there is one. Its path is kept exactly, and so is a query it has.
func baseURL(what, secure, plain, secureScheme, plainScheme string) (string, error) {
	chosen := secure
	if chosen == "" {
		chosen = plain
	}
	if chosen == "" {
		return "", fmt.Errorf("%w: it has no %s URL", b24pull.ErrInvalidConfig, what)
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

// after is the address of a poll that asks for what follows a mid.
func (at address) after(m mid) address {
	at.url = withQuery(at.url, "mid="+m.String())
	return at
}
