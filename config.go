package b24pull

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/redact"
)

func decodeConfig(o, server phpjson.Object) Config {
	api, channels := o.Object("api"), o.Object("channels")
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

// UnmarshalJSON decodes a config from the result of pull.application.config.get
// or pull.config.get, from a whole answer with such a result, or from what Raw
// returned. It takes what portals are known to send: [] for an empty object,
// booleans as "Y", 1 or "1", integers as strings, times as RFC 3339 or Unix
// seconds. Anything else is an error that is ErrInvalidConfig and names the
// place, and so is a config that cannot be used: without a server, a channel or
// an address, or with an id, a jwt or another name of more than 4096 bytes. An
// address that is none is no error where there is another one; what public
// channels there are is looked at by PublicChannels. c is changed only without
// an error.
func (c *Config) UnmarshalJSON(data []byte) error {
	root, err := phpjson.Root("config", data)
	if err != nil {
		return otherThanConfig(root, err)
	}
	o := root.Object(&err)
	if problem := otherThanFields(o.Fields); problem != "" {
		return root.Wrong(problem)
	}
	if o.Fields["server"] == nil && phpjson.KindOf(o.Fields["result"]) == phpjson.KindObject {
		root.Raw = o.Fields["result"]
		o = root.Object(&err)
		if problem := otherThanFields(o.Fields); problem != "" {
			return root.Wrong(problem)
		}
	}
	server := o.Object("server")
	decoded := decodeConfig(o, server)
	if err == nil {
		err = decoded.check(server)
	}
	if err != nil {
		return err
	}
	raw := slices.Clone(root.Raw)
	decoded.raw = &raw
	*c = decoded
	return nil
}

// otherThanConfig completes the error of a text that is no JSON.
func otherThanConfig(root phpjson.Node, err error) error {
	switch text := strings.TrimSpace(string(root.Raw)); {
	case text == "":
		return root.Wrong("it is empty; want the answer of pull.application.config.get or pull.config.get")
	case strings.HasPrefix(text, "<"):
		return root.Wrong("want JSON, got a page")
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return root.Wrong("want JSON, got what begins as such and is cut off or damaged")
	}
	return err
}

// otherThanFields says what an object is that is no config, "" if it may be
// one.
func otherThanFields(fields map[string]json.RawMessage) string {
	code, failed := fields["error"]
	switch {
	case fields["server"] != nil:
		return ""
	case failed && !(fields["result"] != nil && blank(code)):
		told, _, _ := phpjson.ErrorParts(code)
		name := redact.Redactor{}.Code(phpjson.Node{Raw: told}.Scalar(), knownCode)
		return strings.TrimSpace("it holds the portal's error "+name) + " in place of a config"
	case fields["access_token"] != nil:
		return "this is a token, not a config"
	case fields["result"] != nil && phpjson.KindOf(fields["result"]) != phpjson.KindObject:
		return "its result is " + string(phpjson.KindOf(fields["result"])) + "; want the answer of pull.application.config.get or pull.config.get"
	}
	return ""
}

// UnmarshalJSON decodes a channel as it stands in a config, or as new_channel
// in the command channel_expire, and takes what Config.UnmarshalJSON takes.
// Anything else is an error that is ErrInvalidConfig, and so is a channel
// without an id. c is changed only without an error.
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

// check reports whether the config can be used.
func (c *Config) check(server phpjson.Object) error {
	s := &c.Server
	switch {
	case len(server.Fields) == 0:
		return phpjson.Node{Path: "config.server"}.Wrong("missing")
	case !c.Channels.usable() && c.JWT == "":
		return phpjson.Node{Path: "config.channels"}.Wrong("neither a shared nor a private channel with an id, and no jwt")
	case s.Version < 0:
		return phpjson.Node{Path: "config.server.version"}.Wrong("want a version, got a negative number")
	}
	return checkAddresses(server)
}

func (c Channels) usable() bool {
	return c.Shared != nil && c.Shared.ID != "" || c.Private != nil && c.Private.ID != ""
}

// webSocket reports whether a server has an address for websockets.
func webSocket(server phpjson.Object) bool {
	return address(server, sockets, "websocket") != "" || address(server, sockets, "websocket_secure") != ""
}

// The schemes of addresses.
var (
	sockets = []string{"wss", "ws"}
	polls   = []string{"https", "http"}
)

// address returns the first of the named fields that is an address, or else the
// first string, as it came.
func address(o phpjson.Object, schemes []string, names ...string) string {
	found := ""
	for _, name := range names {
		text, err := usable(o, name, schemes)
		if err == nil {
			return text
		}
		found = cmp.Or(found, text)
	}
	return found
}

// usable reads a field, and tells why it is no address if it is none.
func usable(o phpjson.Object, name string, schemes []string) (string, error) {
	n := o.At(name)
	kind, text, ok := phpjson.KindOf(n.Raw), "", false
	if kind == phpjson.KindString {
		text, ok = phpjson.Text(n.Raw)
	}
	if !ok {
		return "", errors.New("it is " + string(kind) + "; want " + schemes[0] + "://host/path")
	}
	if len(text) > phpjson.MaxIdentifier {
		return "", fmt.Errorf("it has %d bytes; want %d at most", len(text), phpjson.MaxIdentifier)
	}
	_, err := addr.Parse(text, schemes...)
	return text, err
}

// checkAddresses wants one address that can be used. Its error tells why the
// others cannot, and does not repeat them.
func checkAddresses(server phpjson.Object) error {
	var problems []string
	for _, kind := range []struct {
		schemes, names []string
	}{
		{sockets, []string{"websocket_secure", "websocket"}},
		{polls, []string{"long_polling_secure", "long_pooling_secure", "long_polling", "long_pooling"}},
	} {
		for _, name := range kind.names {
			_, err := usable(server, name, kind.schemes)
			switch n := server.At(name); {
			case err == nil:
				return nil
			case !n.Empty():
				problems = append(problems, name+": "+err.Error())
			}
		}
	}
	if problems == nil {
		return phpjson.Node{Path: server.Path}.Wrong("no address, neither for websockets nor for long polling")
	}
	return phpjson.Node{Path: server.Path}.Wrong("no address that can be used: " + strings.Join(problems, "; "))
}
