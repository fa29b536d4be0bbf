package b24pull

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/php"
)

// ChannelOwner says whose channels are meant: a user of a portal has some of
// each application's, and some of the portal's own.
type ChannelOwner int

const (
	// ApplicationChannels are those of the application that calls: its clients
	// listen to them, see GetApplicationConfig.
	ApplicationChannels ChannelOwner = iota
	// PortalChannels are the portal's own: its pages and the Bitrix24 clients
	// listen to them, see GetConfig.
	PortalChannels
)

// String is "application" or "portal".
func (o ChannelOwner) String() string {
	switch o {
	case ApplicationChannels:
		return "application"
	case PortalChannels:
		return "portal"
	}
	return fmt.Sprintf("ChannelOwner(%d)", int(o))
}

// MarshalText is String for encoding/json and log/slog.
func (o ChannelOwner) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// check refuses what is none of the two.
func (o ChannelOwner) check() error {
	if o != ApplicationChannels && o != PortalChannels {
		return before(ErrInvalidFormat, "%v: want ApplicationChannels or PortalChannels", o)
	}
	return nil
}

// GetPublicChannel returns the channel to publish to a user (method
// pull.channel.public.get, scope pull_channel): the application's for the user,
// or the portal's own. A user without one is ErrInvalidConfig.
//
// Other errors are those of GetApplicationConfig.
func (c *Client) GetPublicChannel(ctx context.Context, userID int64, owner ChannelOwner) (PublicChannel, error) {
	if err := cmp.Or(checkUsers([]int64{userID}), owner.check()); err != nil {
		return PublicChannel{}, fmt.Errorf("b24pull: %s: %w", methodPublicChannel, err)
	}
	params := map[string]any{"USER_ID": userID, "APPLICATION": yesNo(owner == ApplicationChannels)}
	var channel PublicChannel
	err := c.call(ctx, request{methodPublicChannel, params, true, func(a response) (err error) {
		o := phpjson.Node{Path: "result", Raw: a.raw}.Object(&err)
		channel = decodePublicChannel(o, userID)
		if channel.PublicID == "" {
			o.Fail(o.At("public_id").Wrong("missing"))
		}
		return err
	}})
	if err != nil {
		return PublicChannel{}, err
	}
	return channel, nil
}

// ListPublicChannels returns the channels to publish to users, by user id
// (method pull.channel.public.list, scope pull_channel). Users without one are
// left out. Errors are those of GetApplicationConfig. There are public channels
// from version 4 of the push server on; below, portals answer SERVER_ERROR
// ([ErrServerNotConfigured]).
func (c *Client) ListPublicChannels(ctx context.Context, userIDs []int64, owner ChannelOwner) (map[int64]PublicChannel, error) {
	if len(userIDs) == 0 {
		return nil, before(ErrUserID, "b24pull: %s: the list of users is empty", methodPublicChannels)
	}
	if err := cmp.Or(checkUsers(userIDs), owner.check()); err != nil {
		return nil, fmt.Errorf("b24pull: %s: %w", methodPublicChannels, err)
	}
	params := map[string]any{"USERS": userIDs, "APPLICATION": yesNo(owner == ApplicationChannels)}
	var channels map[int64]PublicChannel
	err := c.call(ctx, request{methodPublicChannels, params, true, func(a response) (err error) {
		channels = decodePublicChannels(phpjson.Node{Path: "result", Raw: keyed(a.raw)}.Object(&err))
		return err
	}})
	if err != nil {
		return nil, err
	}
	return channels, nil
}

// keyed gives a list of channels, which PHP may write instead of an object, the
// user ids in them as keys.
func keyed(raw json.RawMessage) json.RawMessage {
	var list []struct {
		UserID php.Int `json:"user_id"`
	}
	var values []json.RawMessage
	if phpjson.KindOf(raw) != phpjson.KindArray || json.Unmarshal(raw, &list) != nil || json.Unmarshal(raw, &values) != nil {
		return raw
	}
	object := make(map[string]json.RawMessage, len(list))
	for i, v := range values {
		object[strconv.FormatInt(int64(list[i].UserID), 10)] = v
	}
	data, err := json.Marshal(object)
	if err != nil || len(object) < len(list) || object["0"] != nil {
		return raw
	}
	return data
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
