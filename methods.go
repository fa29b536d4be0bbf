package b24pull

import (
	"context"
	"encoding/json"
	"fmt"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/php"
	"strconv"
	"strings"
)

const (
	methodApplicationPush = "pull.application.push.add"
	methodWatchExtend     = "pull.watch.extend"
	methodPublicChannel   = "pull.channel.public.get"
	methodPublicChannels  = "pull.channel.public.list"
)

// ApplicationPush is a notification on the phones of some users.
type ApplicationPush struct {
	// UserIDs are the receivers; one at least.
	UserIDs []int64
	// Text is what the notification says.
	Text string
	// Avatar is the address of a picture, "" for none.
	Avatar string
}

// AddApplicationPush sends a push notification from the application (method
// pull.application.push.add, scope pull, OAuth only, with the token of an
// administrator). It is not repeated where the portal may have sent it already; see
// Retry.Effects. Without an error the portal has accepted the notification, which
// says nothing of its delivery.
//
// Errors: ErrText, ErrUserID, and ErrInvalidFormat for what is not UTF-8, for a
// notification that is not acceptable, without a call where that can be told;
// ErrAccess for a user who is no administrator; ErrEmptyAppName; and those of
// GetApplicationConfig.
func (c *Client) AddApplicationPush(ctx context.Context, p ApplicationPush) error {
	params, err := p.parameters()
	if err != nil {
		return fmt.Errorf("b24pull: %s: %w", methodApplicationPush, err)
	}
	return c.call(ctx, request{methodApplicationPush, params, false, accepted})
}

func (p ApplicationPush) parameters() (map[string]any, error) {
	if strings.TrimSpace(p.Text) == "" {
		return nil, fmt.Errorf("the text is empty (%w)", ErrText)
	}
	if len(p.UserIDs) == 0 {
		return nil, fmt.Errorf("the list of users is empty (%w)", ErrUserID)
	}
	params := map[string]any{"USER_ID": userParam(p.UserIDs), "TEXT": p.Text}
	if p.Avatar != "" {
		params["AVATAR"] = p.Avatar
	}
	return params, checkUsers(p.UserIDs)
}

// ExtendWatch has the portal go on sending the events of the tags, which a page of
// it has subscribed to (method pull.watch.extend, scope pull). It returns which tags
// still live, by the tags as they were given: portals compare them without regard
// to case. KeepWatch does it again and again.
//
// Errors are those of GetApplicationConfig.
func (c *Client) ExtendWatch(ctx context.Context, tags ...string) (map[string]bool, error) {
	if len(tags) == 0 {
		return nil, fmt.Errorf("b24pull: %s: no tags (%w)", methodWatchExtend, ErrInvalidFormat)
	}
	var alive map[string]bool
	err := c.call(ctx, request{methodWatchExtend, map[string]any{"TAGS": tags}, true, func(a answer) (err error) {
		alive, err = livingTags(a.raw, tags)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return alive, nil
}

// livingTags reads an object of tags, a list of them, or a list of booleans in
// their order, which is what PHP makes of tags that are numbers. A tag that is
// stored in another letter case is answered in both.
func livingTags(raw json.RawMessage, tags []string) (map[string]bool, error) {
	alive := make(map[string]bool, len(tags))
	asked := make(map[string][]string, len(tags))
	for _, tag := range tags {
		alive[tag] = false
		asked[foldTag(tag)] = append(asked[foldTag(tag)], tag)
	}
	tell := func(answered string, lives bool) {
		for _, tag := range asked[foldTag(answered)] {
			alive[tag] = alive[tag] || lives
		}
	}
	wrong := phpjson.Node{Path: methodWatchExtend}.Wrong("want an object or a list of tags")
	if phpjson.KindOf(raw) == phpjson.KindObject {
		var object php.Map[string, php.Bool]
		if json.Unmarshal(raw, &object) != nil {
			return nil, wrong
		}
		for tag, lives := range object {
			tell(tag, bool(lives))
		}
		return alive, nil
	}
	var list []json.RawMessage
	if !phpjson.Blank(raw) && json.Unmarshal(raw, &list) != nil {
		return nil, wrong
	}
	for i, v := range list {
		var tag string
		var lives php.Bool
		switch {
		case phpjson.KindOf(v) == phpjson.KindString && json.Unmarshal(v, &tag) == nil:
			tell(tag, true)
		case phpjson.KindOf(v) == phpjson.KindBool && len(list) == len(tags) && json.Unmarshal(v, &lives) == nil:
			tell(tags[i], bool(lives))
		default:
			return nil, wrong
		}
	}
	return alive, nil
}

// foldTag is the same for tags that differ in letter case alone.
func foldTag(tag string) string { return strings.ToLower(strings.ToUpper(tag)) }

// GetPublicChannel returns the channel to publish to a user (method
// pull.channel.public.get, scope pull_channel): the application's for the user, or
// else the portal's own. A user without one is ErrInvalidConfig.
//
// Other errors are those of GetApplicationConfig.
func (c *Client) GetPublicChannel(ctx context.Context, userID int64, application bool) (PublicChannel, error) {
	if err := checkUsers([]int64{userID}); err != nil {
		return PublicChannel{}, fmt.Errorf("b24pull: %s: %w", methodPublicChannel, err)
	}
	params := map[string]any{"USER_ID": userID, "APPLICATION": yesNo(application)}
	var channel PublicChannel
	err := c.call(ctx, request{methodPublicChannel, params, true, func(a answer) (err error) {
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

// ListPublicChannels returns the channels to publish to users, by user id (method
// pull.channel.public.list, scope pull_channel). Users without one are left out.
// Errors are those of GetApplicationConfig.
func (c *Client) ListPublicChannels(ctx context.Context, userIDs []int64, application bool) (map[int64]PublicChannel, error) {
	if len(userIDs) == 0 {
		return nil, fmt.Errorf("b24pull: %s: the list of users is empty (%w)", methodPublicChannels, ErrUserID)
	}
	if err := checkUsers(userIDs); err != nil {
		return nil, fmt.Errorf("b24pull: %s: %w", methodPublicChannels, err)
	}
	params := map[string]any{"USERS": userIDs, "APPLICATION": yesNo(application)}
	var channels map[int64]PublicChannel
	err := c.call(ctx, request{methodPublicChannels, params, true, func(a answer) (err error) {
		channels = decodePublicChannels(phpjson.Node{Path: "result", Raw: keyed(a.raw)}.Object(&err))
		return err
	}})
	if err != nil {
		return nil, err
	}
	return channels, nil
}

// keyed gives a list of channels, which PHP may write instead of an object, the user
// ids in them as keys.
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
