package b24pull

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/internal/phpjson"
)

const (
	methodApplicationConfig = "pull.application.config.get"
	methodConfig            = "pull.config.get"
	methodApplicationEvent  = "pull.application.event.add"
	methodApplicationPush   = "pull.application.push.add"
	methodWatchExtend       = "pull.watch.extend"
	methodPublicChannel     = "pull.channel.public.get"
	methodPublicChannels    = "pull.channel.public.list"
)

// GetApplicationConfig returns the push server and the channels of the
// application (method pull.application.config.get, scope pull). With cache the
// portal may answer with channels it has given before; without, it looks anew.
// The parameter REOPEN is left to the portal, for which it is Y; Call gives
// another value, and decodes into a Config all but its ClockShift:
//
//	params := map[string]string{"CACHE": "N", "REOPEN": "N"}
//	_, err := client.Call(ctx, "pull.application.config.get", params, &cfg, b24pull.Idempotent())
//
// Errors: an *APIError, like ErrServerNotConfigured, or ErrWrongAuthType over a
// webhook; a *TokenError; ErrInvalidConfig; or the network's.
func (c *Client) GetApplicationConfig(ctx context.Context, cache bool) (*Config, error) {
	return c.config(ctx, methodApplicationConfig, cache)
}

// GetConfig returns the push server and the channels of the user behind a
// webhook (method pull.config.get, scope pull_channel). Over OAuth the portal
// answers ErrWrongAuthType. cache, REOPEN and errors are those of
// GetApplicationConfig.
func (c *Client) GetConfig(ctx context.Context, cache bool) (*Config, error) {
	return c.config(ctx, methodConfig, cache)
}

func (c *Client) config(ctx context.Context, method string, cache bool) (*Config, error) {
	cfg := new(Config)
	if err := c.call(ctx, request{method, map[string]any{"CACHE": yesNo(cache)}, true, cfg.take}); err != nil {
		return nil, err
	}
	return cfg, nil
}

// take decodes the config in an answer.
func (c *Config) take(a response) error {
	if err := c.UnmarshalJSON(a.raw); err != nil {
		return err
	}
	c.shift = a.shift(c.ServerTime)
	return nil
}

func yesNo(b bool) string {
	if b {
		return "Y"
	}
	return "N"
}

// ApplicationEvent is a message that an application sends to itself: to all who
// listen to its channels, or to some users.
type ApplicationEvent struct {
	// Command names the event; letters, digits and _ : | . -
	Command string
	// Params is the event's data. It must marshal to a JSON object; nil, or a
	// map or pointer that is nil, is an empty one.
	Params any
	// Module is the module_id of the message; lower case letters, digits, dots
	// and underscores. The portal takes "" for "application".
	Module string
	// UserIDs are the receivers. nil sends to everybody on the application's
	// shared channel; a list that is empty but not nil is an error, so that a
	// list that was filtered down to nobody does not reach everybody. A user
	// who is no administrator of the portal may name himself alone.
	UserIDs []int64
}

var (
	commandForm = regexp.MustCompile(`^[A-Za-z0-9_:|.-]+$`)
	moduleForm  = regexp.MustCompile(`^[a-z0-9._]+$`)
)

// AddApplicationEvent sends an event to the application's own channels (method
// pull.application.event.add, scope pull, OAuth only). It is not repeated where
// the portal may have sent the event already, as on a broken connection; see
// Retry.Effects.
//
// Without an error the portal has accepted the event, which says nothing of its
// delivery: it answers before it sends. It drops in silence what is for nobody
// or for an inactive user, and what is no valid Unicode or larger than 1 MiB.
// The last two are refused here: the size counted is that of the JSON of
// module, command and params as PHP writes it, with Unicode as it is and
// slashes escaped, and 512 bytes for what the portal adds.
//
// Errors: ErrCommand, ErrModuleID, ErrParams and ErrUserID for an event that is
// not acceptable, without a call where that can be told; from the portal
// ErrUserID means that the token's user is no administrator; and those of
// GetApplicationConfig.
func (c *Client) AddApplicationEvent(ctx context.Context, e ApplicationEvent) error {
	params, err := e.parameters()
	if err != nil {
		return fmt.Errorf("b24pull: %s: %w", methodApplicationEvent, err)
	}
	return c.call(ctx, request{methodApplicationEvent, params, false, accepted})
}

func (e ApplicationEvent) parameters() (map[string]any, error) {
	if !commandForm.MatchString(e.Command) {
		return nil, before(ErrCommand, "command %q: want letters, digits and _ : | . -", e.Command)
	}
	params := map[string]any{"COMMAND": e.Command, "PARAMS": json.RawMessage("{}")}
	data, err := paramsObject(e.Params)
	switch {
	case err != nil:
		return nil, before(ErrParams, "params: %w", err)
	case data != nil:
		params["PARAMS"] = data
	}
	if e.Module != "" {
		if !moduleForm.MatchString(e.Module) {
			return nil, before(ErrModuleID, "module %q: want lower case letters, digits, dots and underscores", e.Module)
		}
		params["MODULE_ID"] = e.Module
	}
	if size := e.size(params["PARAMS"].(json.RawMessage)); size > eventLimit {
		return nil, before(ErrParams, "params: the event is of %d bytes as the portal writes it, and the portal drops one of more than 1 MiB", size)
	}
	if e.UserIDs == nil {
		return params, nil
	}
	if len(e.UserIDs) == 0 {
		return nil, before(ErrUserID, "the list of users is empty: nil sends to everybody")
	}
	params["USER_ID"] = userParam(e.UserIDs)
	return params, checkUsers(e.UserIDs)
}

const (
	// eventLimit is the largest message of a portal: what a push server takes.
	eventLimit = 1 << 20
	// eventExtra is more than the extra object takes that a portal adds: its
	// time, its name and two revisions.
	eventExtra = 512
)

// size is that of the message which the portal makes of the event.
func (e ApplicationEvent) size(params json.RawMessage) int {
	const frame = `{"module_id":"","command":"","params":,"extra":}`
	written, _, _ := phpjson.ScanText(params)
	return len(frame) + len(cmp.Or(e.Module, "application")) + len(e.Command) + written + eventExtra
}

// userParam is USER_ID. A user who is no administrator may name himself, and
// PHP compares that with his id as a string: so one id is a string.
func userParam(ids []int64) any {
	each := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(each) == 1 {
		return strconv.FormatInt(each[0], 10)
	}
	return each
}

func checkUsers(ids []int64) error {
	for _, id := range ids {
		if id <= 0 {
			return before(ErrUserID, "user %d: want a positive id", id)
		}
	}
	return nil
}

// accepted wants the result true.
func accepted(a response) error {
	if !bytes.Equal(bytes.TrimSpace(a.raw), []byte("true")) {
		return fmt.Errorf("b24pull: %s: want the result true, got %s", a.method, phpjson.KindOf(a.raw))
	}
	return nil
}

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
// administrator). It is not repeated where the portal may have sent it already;
// see Retry.Effects. Without an error the portal has accepted the notification,
// which says nothing of its delivery.
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
		return nil, before(ErrText, "the text is empty")
	}
	if len(p.UserIDs) == 0 {
		return nil, before(ErrUserID, "the list of users is empty")
	}
	params := map[string]any{"USER_ID": userParam(p.UserIDs), "TEXT": p.Text}
	if p.Avatar != "" {
		params["AVATAR"] = p.Avatar
	}
	return params, checkUsers(p.UserIDs)
}
