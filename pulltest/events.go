package pulltest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
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
	receivers, err := p.eventReceivers(call)
	if err != nil {
		return nil, err
	}
	if e := (event{module, command, params, receivers}); call.events != nil {
		call.events.add(e)
	} else {
		p.sendOrDrop(e)
	}
	return true, nil
}

// event is what an application has a portal send.
type event struct {
	module, command string
	params          any
	receivers       []channelKey
}

// events are those of a batch, each once, however often it came, with all its
// receivers.
type events struct {
	list  []*event
	known map[string]*event
}

func (e *events) add(one event) {
	if !validText(one.params) {
		e.list = append(e.list, &one) // to be dropped
		return
	}
	text, err := json.Marshal([]any{one.module, one.command, one.params})
	if err != nil {
		panic("pulltest: " + err.Error())
	}
	if same := e.known[string(text)]; same != nil {
		same.receivers = distinct(append(same.receivers, one.receivers...))
		return
	}
	e.list, e.known[string(text)] = append(e.list, &one), &one
}

// sendOrDrop sends an event, as after the answer: whoever asked for it has it
// either way.
func (p *Portal) sendOrDrop(e event) {
	if !p.sendEvent(e) {
		p.push.hub.count(func(s *Stats) { s.DroppedEvents++ })
	}
}

// sendEvent publishes an event, and reports whether it could be.
func (p *Portal) sendEvent(e event) bool {
	if len(e.receivers) == 0 || !validText(e.params) {
		return false
	}
	for _, keys := range p.audiences(e.receivers) {
		body, err := p.eventBody(e.module, e.command, e.params, keys, p.opts.clock.now())
		if err != nil || len(body) > maxRequest {
			return false
		}
		p.push.hub.publishWith(extras{}, keys, body, defaultExpiry, backend.sender(), true)
	}
	return true
}

// validText reports whether all strings of a value are valid UTF-8, keys too.
func validText(value any) bool {
	switch v := value.(type) {
	case string:
		return utf8.ValidString(v)
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !validText(item) })
	case map[string]any:
		for name, item := range v {
			if !utf8.ValidString(name) || !validText(item) {
				return false
			}
		}
	}
	return true
}

// eventParams takes an object or an array; PHP knows no difference.
func eventParams(value any) (any, *restError) {
	switch v := value.(type) {
	case nil:
		return []any{}, nil
	case map[string]any:
		return phpArray(v), nil
	case []any:
		return phpArray(v), nil
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
// if none is given. A user who is no administrator may name himself, and PHP
// compares that with his id as a string: a number or a list is another thing.
func (p *Portal) eventReceivers(call restCall) ([]channelKey, *restError) {
	value := call.params["USER_ID"]
	switch {
	case value == nil:
		return p.receivers(Shared), nil
	case !p.opts.isAdministrator(call.user) && value != strconv.Itoa(call.user):
		return nil, errUser
	}
	users, err := usersOf(value)
	if err != nil {
		return nil, err
	}
	var keys []channelKey
	for _, user := range users {
		if p.users.active(user) {
			keys = append(keys, p.config.private(ofApplication, user).keys()[0])
		}
	}
	return keys, nil
}

// usersOf takes one id or a list of them, and leaves out repeats.
func usersOf(value any) ([]int, *restError) {
	list, ok := listOf(value)
	if !ok {
		list = []any{value}
	}
	var users []int
	for _, u := range list {
		user, ok := integer(u)
		if !ok {
			return nil, errUser
		}
		if !slices.Contains(users, user) {
			users = append(users, user)
		}
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
