package pulltest

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// rpcParams are the params of a call, by their names as they are spelled.
type rpcParams map[string]json.RawMessage

func readRPCParams(data json.RawMessage) (rpcParams, *rpcError) {
	var params rpcParams
	if json.Unmarshal(data, &params) != nil || params == nil {
		return nil, rpcInvalidParams
	}
	for name, value := range params {
		if string(value) == "null" {
			delete(params, name)
		}
	}
	return params, nil
}

// read decodes a parameter, if it is there, and reports whether it could.
func (p rpcParams) read(name string, into any) bool {
	value, given := p[name]
	return !given || json.Unmarshal(value, into) == nil
}

// rpcUser is a user's id, a number or a decimal string.
type rpcUser int

func (u *rpcUser) UnmarshalJSON(data []byte) error {
	id, err := strconv.Atoi(strings.Trim(string(data), `"`))
	*u = rpcUser(id)
	return err
}

func (rpcCaller) ping(json.RawMessage) (any, *rpcError) { return "pong", nil }

// listChannels is answered with the private ids of the connection's channels.
func (r rpcCaller) listChannels(json.RawMessage) (any, *rpcError) {
	ids := make([]string, len(r.c.channels))
	for i, channel := range r.c.channels {
		ids[i] = channel.private
	}
	return ids, nil
}

func (r rpcCaller) usersLastSeen(data json.RawMessage) (any, *rpcError) {
	params, failed := readRPCParams(data)
	var users []rpcUser
	if failed != nil || !params.read("userList", &users) || users == nil {
		return nil, rpcInvalidParams
	}
	seen := make(map[string]int)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, user := range users {
		if ago, ok := r.hub.lastSeen(int(user)); ok {
			seen[strconv.Itoa(int(user))] = ago
		}
	}
	return seen, nil
}

func (r rpcCaller) subscribeStatus(data json.RawMessage) (any, *rpcError) {
	return r.watchStatus(data, true)
}

func (r rpcCaller) unsubscribeStatus(data json.RawMessage) (any, *rpcError) {
	return r.watchStatus(data, false)
}

func (r rpcCaller) watchStatus(data json.RawMessage, watch bool) (any, *rpcError) {
	params, failed := readRPCParams(data)
	var user rpcUser
	if failed != nil || !params.read("userId", &user) || user <= 0 {
		return nil, rpcInvalidParams
	}
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if r.c.watched == nil {
		r.c.watched = make(map[int]bool)
	}
	r.c.watched[int(user)] = watch
	return true, nil
}

// rpcMessage is what publish publishes.
type rpcMessage struct {
	receivers []channelKey
	body      json.RawMessage
	expiry    time.Duration
	extras    extras
}

// publish sends a message to users and to public channels. A user has it over
// his public channel of the kind that the publisher's own channel is, the
// application's or the portal's: what version 4 sends to users goes there. Those
// that there are not, or who have no channel, are left out.
func (r rpcCaller) publish(data json.RawMessage) (any, *rpcError) {
	if r.from.publicID == "" {
		return nil, rpcInvalidRequest
	}
	m, failed := r.readMessage(data)
	if failed != nil {
		return nil, failed
	}
	r.hub.publishWith(m.extras, distinct(m.receivers), string(m.body), m.expiry, r.from.sender(), true)
	return true, nil
}

// readMessage checks all of a message.
func (r rpcCaller) readMessage(data json.RawMessage) (m rpcMessage, failed *rpcError) {
	params, failed := readRPCParams(data)
	if failed != nil {
		return m, failed
	}
	var users []rpcUser
	var channels []json.RawMessage
	var own map[string]json.RawMessage
	var body struct {
		Expiry json.RawMessage `json:"expiry"`
	}
	m.body = params["body"]
	ok := params.read("userList", &users) && params.read("channelList", &channels) &&
		json.Unmarshal(m.body, &body) == nil // an object
	if p := params["user_params"]; isObject(p) {
		ok = ok && params.read("user_params", &own)
	} else if p != nil && !isEmptyArray(p) {
		ok = false
	}
	if n := len(users) + len(channels); !ok || n == 0 || n > maxReceivers {
		return m, rpcInvalidParams
	}
	expiry := params["expiry"]
	if expiry == nil {
		expiry = body.Expiry
	}
	if m.expiry, ok = rpcExpiry(expiry); !ok {
		return m, rpcInvalidParams
	}
	m.extras = extras{dictionary: params["dictionary"], own: make(map[channelKey]json.RawMessage)}
	for _, user := range users {
		key, ok := r.book.publicKey(r.from.owner, int(user))
		if !ok {
			continue
		}
		m.receivers = append(m.receivers, key)
		if p := own[strconv.Itoa(int(user))]; p != nil {
			m.extras.own[key] = p
		}
	}
	for _, channel := range channels {
		id, ok := r.signer.publicOf(channel)
		if !ok {
			return m, rpcInvalidParams
		}
		m.receivers = append(m.receivers, channelKey{id, false})
	}
	return m, nil
}

// publicOf reads a public channel, "publicId.signature" or an object of both,
// and reports whether the signature is right.
func (s signer) publicOf(channel json.RawMessage) (id string, ok bool) {
	var text string
	var object struct{ PublicID, Signature string }
	if json.Unmarshal(channel, &text) == nil {
		object.PublicID, object.Signature, _ = strings.Cut(text, ".")
	} else if json.Unmarshal(channel, &object) != nil {
		return "", false
	}
	return object.PublicID, hexID.MatchString(object.PublicID) && s.valid("public:"+object.PublicID, object.Signature)
}

// rpcExpiry reads whole seconds; none is 0.
func rpcExpiry(value json.RawMessage) (expiry time.Duration, ok bool) {
	if value == nil || string(value) == "null" {
		return 0, true
	}
	var seconds float64
	if json.Unmarshal(value, &seconds) != nil || seconds < 0 || seconds != math.Trunc(seconds) {
		return 0, false
	}
	return time.Duration(min(seconds, maxExpiry.Seconds())) * time.Second, true
}

func isObject(value json.RawMessage) bool { return bytes.HasPrefix(value, []byte("{")) }

// isEmptyArray reports whether a value is what PHP makes of an empty object.
func isEmptyArray(value json.RawMessage) bool {
	var list []any
	return json.Unmarshal(value, &list) == nil && list != nil && len(list) == 0
}
