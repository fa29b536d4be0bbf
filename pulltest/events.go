package pulltest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
)

var (
	commandPattern = regexp.MustCompile(`^[A-Za-z0-9_:|.-]+$`)
	modulePattern  = regexp.MustCompile(`^[a-z0-9._]+$`)
)

// addEvent is pull.application.event.add.
func (p *Portal) addEvent(call restCall) (any, *restError) {
	if call.webhook {
		return nil, errEventAuth
	}
	command, _ := call.params["COMMAND"].(string)
	if !commandPattern.MatchString(command) {
		return nil, errCommand
	}
	module := "application"
	if given, ok := call.params["MODULE_ID"]; ok {
		if module, _ = given.(string); !modulePattern.MatchString(module) {
			return nil, errModule
		}
	}
	params, err := eventParams(call.params["PARAMS"])
	if err != nil {
		return nil, err
	}
	receivers, err := p.eventReceivers(call.params["USER_ID"])
	if err != nil {
		return nil, err
	}
	for _, keys := range p.audiences(receivers) {
		body, failed := p.eventBody(module, command, params, keys)
		if failed != nil {
			return nil, errParams
		}
		p.push.hub.publish(keys, body, defaultExpiry, backend.sender())
	}
	return true, nil
}

// eventParams takes an object or an array; PHP knows no difference.
func eventParams(value any) (any, *restError) {
	switch v := value.(type) {
	case nil:
		return []any{}, nil
	case map[string]any:
		return phpArray(v), nil
	case []any:
		if len(v) == 0 {
			return v, nil
		}
	}
	return nil, errParams
}

// phpArray makes every empty object an empty array, as PHP does on the way.
func phpArray(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			return []any{}
		}
		for name := range v {
			v[name] = phpArray(v[name])
		}
	case []any:
		for i := range v {
			v[i] = phpArray(v[i])
		}
	}
	return value
}

// audiences are the channels that can hear an event in one body: each its own
// where the body names the channel.
func (p *Portal) audiences(receivers []channelKey) [][]channelKey {
	if !p.opts.dialect.extraChannel {
		return [][]channelKey{receivers}
	}
	return slices.Collect(slices.Chunk(receivers, 1))
}

// eventReceivers are the private channels of the users, or the shared channel
// if none is given.
func (p *Portal) eventReceivers(value any) ([]channelKey, *restError) {
	if value == nil {
		return p.receivers(Shared), nil
	}
	users, err := usersOf(value)
	if err != nil {
		return nil, err
	}
	var keys []channelKey
	for _, user := range users {
		keys = append(keys, p.config.private(ofApplication, user).keys()[0])
	}
	return keys, nil
}

// usersOf takes one user or a list; all must be known.
func usersOf(value any) ([]int, *restError) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var users []int
	for _, u := range list {
		user, ok := integer(u)
		if !ok || !knownUser(user) {
			return nil, errUser
		}
		users = append(users, user)
	}
	return users, nil
}

// integer takes a number or a decimal string, as PHP does.
func integer(value any) (int, bool) {
	switch v := value.(type) {
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}
