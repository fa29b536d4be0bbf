// Package config has what of a portal's config both who listens and who
// publishes need: its addresses, the query that names its channels, and what of
// it is secret.
package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// MaxIdentifier is how many bytes a name, an id, a token or an address in a
// config may have, as where configs are decoded: a source can have made its
// own.
const MaxIdentifier = 4096

// CheckLengths refuses a config of which a part is too long for an address, and
// to be looked for in all that is printed.
func CheckLengths(cfg *b24pull.Config) error {
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
		if len(p.value) > MaxIdentifier {
			return fmt.Errorf("%w: its %s has %d bytes; want %d at most", b24pull.ErrInvalidConfig, p.name, len(p.value), MaxIdentifier)
		}
	}
	return nil
}

// Secrets are the token, the channel ids, and what the server's addresses
// have of users and queries.
func Secrets(cfg *b24pull.Config) redact.Redactor {
	secrets := []string{string(cfg.JWT)}
	for _, c := range Channels(cfg.Channels) {
		secrets = append(secrets, string(c.ID), string(c.PublicID))
	}
	s := &cfg.Server
	for _, at := range []string{s.WebSocketSecure, s.WebSocket, s.LongPollingSecure, s.LongPolling, s.PublishSecure, s.Publish} {
		if at != "" {
			secrets = append(secrets, secretsIn(at)...)
		}
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

// Channels are those there are, private first.
func Channels(channels b24pull.Channels) []*b24pull.Channel {
	return slices.DeleteFunc([]*b24pull.Channel{channels.Private, channels.Shared}, func(c *b24pull.Channel) bool { return c == nil })
}

// webRevision is the revision of the web client's protocol that this package
// speaks.
const webRevision = "19"

// Query names the channels of a config, and says in which dialect their
// messages are to come.
func Query(cfg *b24pull.Config, d wire.Dialect) (string, error) {
	var params []string
	add := func(name, value string) { params = append(params, name+"="+url.QueryEscape(value)) }

	if cfg.JWT != "" {
		add("token", string(cfg.JWT))
	} else {
		ids := channelIDs(cfg)
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

// channelIDs joins the ids as they came, private first.
func channelIDs(cfg *b24pull.Config) string {
	var ids []string
	for _, c := range Channels(cfg.Channels) {
		if c.ID != "" {
			ids = append(ids, string(c.ID))
		}
	}
	return strings.Join(ids, "/")
}

// named is a value and its name in the config.
type named struct{ name, value string }

// Base is the first of a server's two URLs for something that can be used, the
// secure one unless the other is wanted; "" if there is none. Its path is kept
// exactly, and so is a query it has. The error tells what is wrong with those
// that cannot be used.
func Base(insecure bool, name, secure, plain string, schemes ...string) (string, error) {
	candidates := []named{{name + "_secure", secure}, {name, plain}}
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
	return "", Because(nil, problems...)
}

// Because adds causes to an error, as far as there are any.
func Because(err error, causes ...error) error {
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

// WithQuery is an address with more of a query.
func WithQuery(base, query string) string {
	switch {
	case !strings.Contains(base, "?"):
		return base + "?" + query
	case strings.HasSuffix(base, "?"), strings.HasSuffix(base, "&"):
		return base + query
	default:
		return base + "&" + query
	}
}
