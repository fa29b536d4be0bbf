package b24pull

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

// Config is what pull.application.config.get and pull.config.get answer: the
// push server, and the channels to listen to. Times are in UTC, and zero where
// the answer has none. What the answer does not have stays zero.
//
// A Config prints and marshals without its secrets; Raw has what to save.
type Config struct {
	// Server is the push server.
	Server Server
	// API are the revisions of the push client that the portal expects.
	API API
	// Channels are the channels to subscribe to.
	Channels Channels
	// ClientID names the portal to a push server that serves many (mode
	// "shared", the cloud's); "" with a server of its own. It may stand beside
	// server or in it.
	ClientID string
	// JWT replaces the channel ids in an address, from server version 5 on.
	JWT Secret
	// Expires is when the config must be fetched anew (exp).
	Expires time.Time
	// ServerTime is the portal's clock when it answered, for the clock's shift.
	ServerTime time.Time

	raw   *json.RawMessage // a pointer: fmt prints an address where it cannot call Format
	shift time.Duration
}

// Server is the push server of a portal. Addresses are as they came: they may
// be unencrypted although an encrypted twin exists, may lack a trailing slash,
// and may have a query. One of them at least can be used; others may be no
// addresses.
type Server struct {
	// Version is the server's generation, 1 to 5 or later; it decides the
	// protocol.
	Version int
	// Enabled reports whether the portal uses the server (server_enabled).
	Enabled bool
	// Mode is "personal" for a server of the portal's own and "shared" for the
	// cloud's.
	Mode string
	// Hostname is the portal's name, as the server knows it.
	Hostname string
	// LongPolling and LongPollingSecure are the http and https addresses for
	// long polling (long_polling, long_polling_secure; also spelt long_pooling
	// by portals).
	LongPolling, LongPollingSecure string
	// WebSocketEnabled reports whether websockets may be used
	// (websocket_enabled); a config that does not say so has them if it has an
	// address for them.
	WebSocketEnabled bool
	// WebSocket and WebSocketSecure are the ws and wss addresses.
	WebSocket, WebSocketSecure string
	// PublishEnabled reports whether clients may publish.
	PublishEnabled bool
	// Publish and PublishSecure are the http and https addresses for
	// publishing.
	Publish, PublishSecure string
	// ConfigTimestamp is when the server's settings last changed
	// (config_timestamp).
	ConfigTimestamp time.Time
}

// API are revisions of the push client.
type API struct {
	// RevisionWeb is the revision of web clients (revision_web).
	RevisionWeb int
	// RevisionMobile is the revision of mobile clients (revision_mobile).
	RevisionMobile int
}

// Channels are the channels of a config; nil where there is none.
type Channels struct {
	// Shared is the channel of all users.
	Shared *Channel
	// Private is the channel of the user, or of the application for the user.
	Private *Channel
}

// Channel is a channel to subscribe to. It lives for about 12 hours.
type Channel struct {
	// ID subscribes to the channel: opaque, to be passed on as it came.
	ID Secret
	// PublicID is what others publish to; "" where there is none.
	PublicID Secret
	// Start and End bound the channel's life.
	Start, End time.Time
	// Type is "private" or "shared", in an application also its client id.
	Type string
}

// PublicChannel is another user's channel, to publish to.
type PublicChannel struct {
	// UserID is the user whose channel it is.
	UserID int64
	// PublicID names the channel.
	PublicID Secret
	// Signature is the server's signature of PublicID.
	Signature Secret
	// Start and End bound the channel's life.
	Start, End time.Time
}

// Raw returns a copy of the result object as it came, nil if the Config was not
// decoded. It has the fields not known here, can be saved and loaded again with
// UnmarshalJSON, and holds secrets.
func (c *Config) Raw() json.RawMessage {
	if c == nil || c.raw == nil {
		return nil
	}
	return slices.Clone(*c.raw)
}

// PublicChannels decodes the channels to publish to that the config holds, by
// user id: the users' own, also in an application's config. Servers older than
// version 4 have none, nor has a Config that was not decoded. A portal can name
// very many, so a Config does not keep them decoded: call it once. An error is
// ErrInvalidConfig.
func (c *Config) PublicChannels() (map[int64]PublicChannel, error) {
	if c == nil || c.raw == nil {
		return nil, nil
	}
	var err error
	channels := decodePublicChannels(publicChannels(phpjson.Node{Path: "config", Raw: *c.raw}.Object(&err)))
	if err != nil {
		return nil, err
	}
	return channels, nil
}

// ClockShift returns how far the portal's clock was ahead of this machine's
// when a Client fetched the config; behind, it is negative. It is zero where
// the portal did not tell its time, where the difference was less than the call
// took or than two seconds, and for a config that no Client fetched.
func (c *Config) ClockShift() time.Duration {
	if c == nil {
		return 0
	}
	return c.shift
}

// String describes the config without secrets.
func (c Config) String() string {
	parts := []string{c.Server.String(), "channels " + c.Channels.String()}
	if c.JWT != "" {
		parts = append(parts, "jwt "+mask)
	}
	if !c.Expires.IsZero() {
		parts = append(parts, "expires "+c.Expires.Format(time.RFC3339))
	}
	return "b24pull.Config(" + strings.Join(parts, ", ") + ")"
}

// Format writes String for every verb.
func (c Config) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String names the channels there are and their ends.
func (c Channels) String() string {
	var parts []string
	for _, ch := range []struct {
		name string
		*Channel
	}{{"private", c.Private}, {"shared", c.Shared}} {
		if ch.Channel != nil {
			if !ch.End.IsZero() {
				ch.name += " until " + ch.End.Format(time.RFC3339)
			}
			parts = append(parts, ch.name)
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// String names the channel's type and its end.
func (c Channel) String() string {
	text := "b24pull.Channel(" + cmp.Or(quote.Name(c.Type), "of no type")
	if !c.End.IsZero() {
		text += " until " + c.End.Format(time.RFC3339)
	}
	return text + ")"
}

// Format writes String for every verb.
func (c Channel) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Channel) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format writes String for every verb.
func (c Channels) Format(f fmt.State, verb rune) { redact.Format(f, verb, c.String()) }

// LogValue is String for log/slog.
func (c Channels) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String describes the server; addresses without their queries.
func (s Server) String() string {
	text := fmt.Sprintf("server version %d", s.Version)
	if s.Mode != "" {
		text += " " + quote.Name(s.Mode)
	}
	for _, address := range []string{cmp.Or(s.WebSocketSecure, s.WebSocket), cmp.Or(s.LongPollingSecure, s.LongPolling)} {
		if address != "" {
			text += " " + redactURL(address)
		}
	}
	return text
}

// Format writes String for every verb: an address can hold a secret in its
// query.
func (s Server) Format(f fmt.State, verb rune) { redact.Format(f, verb, s.String()) }

// LogValue is String for log/slog.
func (s Server) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the server with the queries of its addresses redacted.
func (s Server) MarshalJSON() ([]byte, error) {
	type plain Server
	for _, address := range s.addresses() {
		*address = redactURL(*address)
	}
	return json.Marshal(plain(s))
}

func (s *Server) addresses() []*string {
	return []*string{&s.LongPolling, &s.LongPollingSecure, &s.WebSocket, &s.WebSocketSecure, &s.Publish, &s.PublishSecure}
}
