package b24pull

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

// Config is what pull.application.config.get and pull.config.get answer: the
// push server, and the channels to listen to. Times are in UTC, and zero where the
// answer has none. What the answer does not have stays zero.
//
// A Config prints and marshals without its secrets; Raw has what to save.
type Config struct {
	// Server is the push server.
	Server Server
	// API are the revisions of the push client that the portal expects.
	API API
	// Channels are the channels to subscribe to.
	Channels Channels
	// ClientID names the portal to a push server that serves many (mode "shared",
	// the cloud's); "" with a server of its own. It may stand beside server or in
	// it.
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

// Server is the push server of a portal. Addresses are as they came: they may be
// unencrypted although an encrypted twin exists, may lack a trailing slash, and may
// have a query. One of them at least can be used; others may be no addresses.
type Server struct {
	// Version is the server's generation, 1 to 5 or later; it decides the
	// protocol.
	Version int
	// Enabled tells whether the portal uses the server (server_enabled).
	Enabled bool
	// Mode is "personal" for a server of the portal's own and "shared" for the
	// cloud's.
	Mode string
	// Hostname is the portal's name, as the server knows it.
	Hostname string
	// LongPolling and LongPollingSecure are the http and https addresses for long
	// polling (long_polling, long_polling_secure; also spelt long_pooling by
	// portals).
	LongPolling, LongPollingSecure string
	// WebSocketEnabled tells whether websockets may be used (websocket_enabled); a
	// config that does not say so has them if it has an address for them.
	WebSocketEnabled bool
	// WebSocket and WebSocketSecure are the ws and wss addresses.
	WebSocket, WebSocketSecure string
	// PublishEnabled tells whether clients may publish.
	PublishEnabled bool
	// Publish and PublishSecure are the http and https addresses for publishing.
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

// PublicChannels decodes the channels to publish to that the config holds, by user
// id: the users' own, also in an application's config. Servers older than version 4
// have none, nor has a Config that was not decoded. A portal can name very many, so
// a Config does not keep them decoded: call it once. An error is ErrInvalidConfig.
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

// ClockShift returns how far the portal's clock was ahead of this machine's when a
// Client fetched the config; behind, it is negative. It is zero where the portal
// did not tell its time, where the difference was less than the call took or than
// two seconds, and for a config that no Client fetched.
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

// Format writes String for every verb: an address can hold a secret in its query.
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

// UnmarshalJSON decodes a config from the result of pull.application.config.get or
// pull.config.get, from a whole answer with such a result, or from what Raw
// returned. It takes what portals are known to send: [] for an empty object,
// booleans as "Y", 1 or "1", integers as strings, times as RFC 3339 or Unix
// seconds. Anything else is an error that is ErrInvalidConfig and names the place,
// and so is a config that cannot be used: without a server, a channel or an
// address, or with an id, a jwt or another name of more than 4096 bytes. An address
// that is none is no error where there is another one; what public channels there
// are is looked at by PublicChannels. c is changed only without an error.
func (c *Config) UnmarshalJSON(data []byte) error {
	root, err := phpjson.Root("config", data)
	if err != nil {
		return err
	}
	o := root.Object(&err)
	if o.Fields["server"] == nil && phpjson.KindOf(o.Fields["result"]) == phpjson.KindObject {
		root.Raw = o.Fields["result"]
		o = root.Object(&err)
	}
	decoded := decodeConfig(o)
	if err == nil {
		err = decoded.check(o)
	}
	if err != nil {
		return err
	}
	raw := json.RawMessage(slices.Clone(root.Raw))
	decoded.raw = &raw
	*c = decoded
	return nil
}

// UnmarshalJSON decodes a channel as it stands in a config, or as new_channel in the
// command channel_expire, and takes what Config.UnmarshalJSON takes. Anything else
// is an error that is ErrInvalidConfig, and so is a channel without an id. c is
// changed only without an error.
func (c *Channel) UnmarshalJSON(data []byte) error {
	root, err := phpjson.Root("channel", data)
	if err != nil {
		return err
	}
	o := root.Object(&err)
	decoded := decodeChannel(o)
	if decoded == nil {
		o.Fail(o.At("id").Wrong("missing"))
	}
	if err != nil {
		return err
	}
	*c = *decoded
	return nil
}

func decodeConfig(o phpjson.Object) Config {
	server, api, channels := o.Object("server"), o.Object("api"), o.Object("channels")
	return Config{
		Server:   decodeServer(server),
		API:      API{RevisionWeb: api.Small("revision_web"), RevisionMobile: api.Small("revision_mobile")},
		Channels: Channels{Shared: decodeChannel(channels.Object("shared")), Private: decodeChannel(channels.Object("private"))},
		ClientID: cmp.Or(o.Short("clientId", o.TextOrNumber("clientId")), server.Short("clientId", server.TextOrNumber("clientId"))),
		JWT:      Secret(o.Identifier("jwt")),
		Expires:  o.Moment("exp"), ServerTime: o.Moment("serverTime"),
	}
}

func decodeServer(o phpjson.Object) Server {
	return Server{
		Version:           o.Small("version"),
		Enabled:           o.Flag("server_enabled"),
		Mode:              o.Identifier("mode"),
		Hostname:          o.Identifier("hostname"),
		LongPolling:       address(o, polls, "long_polling", "long_pooling"),
		LongPollingSecure: address(o, polls, "long_polling_secure", "long_pooling_secure"),
		WebSocketEnabled:  o.Flag("websocket_enabled") || o.At("websocket_enabled").Empty() && webSocket(o),
		WebSocket:         address(o, sockets, "websocket"),
		WebSocketSecure:   address(o, sockets, "websocket_secure"),
		PublishEnabled:    o.Flag("publish_enabled"),
		Publish:           address(o, polls, "publish"),
		PublishSecure:     address(o, polls, "publish_secure"),
		ConfigTimestamp:   o.Moment("config_timestamp"),
	}
}

func decodeChannel(o phpjson.Object) *Channel {
	if len(o.Fields) == 0 {
		return nil
	}
	if id := o.At("id"); id.Empty() {
		o.Fail(id.Wrong("missing"))
	}
	return &Channel{
		ID: Secret(o.Identifier("id")), PublicID: Secret(o.Identifier("public_id")),
		Start: o.Moment("start"), End: o.Moment("end"), Type: o.Identifier("type"),
	}
}

// publicChannels also takes the false of servers older than version 4.
func publicChannels(o phpjson.Object) phpjson.Object {
	if n := o.At("publicChannels"); string(n.Raw) == "false" {
		return phpjson.Object{Err: o.Err}
	}
	return o.Object("publicChannels")
}

func decodePublicChannel(o phpjson.Object, userID int64) PublicChannel {
	return PublicChannel{
		UserID: cmp.Or(o.Number("user_id"), userID), PublicID: Secret(o.Identifier("public_id")), Signature: Secret(o.Identifier("signature")),
		Start: o.Moment("start"), End: o.Moment("end"),
	}
}

// decodePublicChannels decodes an object of channels by user id.
func decodePublicChannels(list phpjson.Object) map[int64]PublicChannel {
	if len(list.Fields) == 0 {
		return nil
	}
	channels := make(map[int64]PublicChannel, len(list.Fields))
	for _, key := range slices.Sorted(maps.Keys(list.Fields)) {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			list.Fail(phpjson.Node{Path: list.Path}.Wrong("a key is not a user id"))
			continue
		}
		channels[id] = decodePublicChannel(list.Object(key), id)
	}
	return channels
}

// check tells whether the config can be used.
func (c *Config) check(o phpjson.Object) error {
	s := &c.Server
	switch {
	case len(o.Object("server").Fields) == 0:
		return phpjson.Node{Path: "config.server"}.Wrong("missing")
	case !c.Channels.usable() && c.JWT == "":
		return phpjson.Node{Path: "config.channels"}.Wrong("neither a shared nor a private channel with an id, and no jwt")
	case s.Version < 0:
		return phpjson.Node{Path: "config.server.version"}.Wrong("want a version, got a negative number")
	}
	return checkAddresses(o.Object("server"))
}

func (c Channels) usable() bool {
	return c.Shared != nil && c.Shared.ID != "" || c.Private != nil && c.Private.ID != ""
}
