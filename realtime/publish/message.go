package publish

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

// MaxExpiry is the longest that a push server keeps a message.
const MaxExpiry = 24 * time.Hour

// A Message is what a client of a push server publishes to others.
type Message struct {
	// Users are the receivers by user id, Channels those by public channel,
	// from [b24pull.Client.ListPublicChannels] or a config. There has to be one
	// at least, of either kind; one that is named twice gets the message once.
	// On version 5, where the push server looks users up, that holds for each
	// of the two lists.
	Users    []int64
	Channels []b24pull.PublicChannel

	// Module and Command say what the message is: "application" and "typing",
	// say. Receivers compare the module without regard to case.
	Module, Command string

	// Params is the message's data. It must marshal to a JSON object; nil, or a
	// map or pointer that is nil, is an empty one.
	Params any

	// Expiry is how long the push server keeps the message for receivers that
	// are not connected, up to [MaxExpiry], in whole seconds: what is between
	// is rounded up. With 0 only those get it who are connected.
	Expiry time.Duration
}

// String names the module and the command and counts the receivers.
func (m Message) String() string {
	return fmt.Sprintf("%s %s to %d", quote.Name(m.Module), quote.Name(m.Command), len(m.Users)+len(m.Channels))
}

// Format writes String for every verb: channels and params are not for a log.
func (m Message) Format(f fmt.State, verb rune) { redact.Format(f, verb, m.String()) }

// LogValue is String for log/slog.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Bounds of a push server.
const (
	maxMessages  = 100     // in a request
	maxReceivers = 100     // of a message
	maxRequest   = 1 << 20 // bytes
)

// leastReceiver is less than a request needs beside a message's body.
const leastReceiver = 32

// A checked is a message that may be sent.
type checked struct {
	users    []int64
	channels []b24pull.PublicChannel
	message  body
	body     json.RawMessage // the message
	expiry   uint32          // seconds
}

// check looks at a message. Its errors name what is wrong.
func (m *Message) check() (checked, error) {
	c := checked{
		users: unique(m.Users, func(u int64) int64 { return u }), channels: unique(m.Channels, channelOf),
		expiry: uint32((m.Expiry + time.Second - 1) / time.Second),
	}
	if len(c.users)+len(c.channels) == 0 {
		return c, errors.New("it has no receivers; name some in Users or Channels")
	}
	for _, u := range c.users {
		if u <= 0 {
			return c, fmt.Errorf("user %d: want a positive id", u)
		}
	}
	for _, name := range []struct{ what, name string }{{"Module", m.Module}, {"Command", m.Command}} {
		switch {
		case name.name == "":
			return c, fmt.Errorf("its %s is empty", name.what)
		case len(name.name) > maxName:
			return c, fmt.Errorf("its %s has %d bytes; want %d at most", name.what, len(name.name), maxName)
		case !utf8.ValidString(name.name):
			return c, fmt.Errorf("its %s is not valid UTF-8", name.what)
		}
	}
	if m.Expiry < 0 || m.Expiry > MaxExpiry {
		return c, fmt.Errorf("its Expiry is %v; a push server keeps a message for a day at most, and 0 is not to keep it", m.Expiry)
	}
	params, err := m.params()
	if err != nil {
		return c, err
	}
	c.message = body{strings.ToLower(m.Module), m.Command, params}
	c.body, err = json.Marshal(c.message)
	if err == nil && len(c.body)+leastReceiver > maxRequest {
		err = errTooLong(len(c.body))
	}
	return c, err
}

// maxName is how many bytes a module or command may have.
const maxName = 255

func errTooLong(size int) error {
	return fmt.Errorf("it has %d bytes as it is sent; a push server takes 1 MiB with all that goes with it", size)
}

// body is a message as its receivers read it.
type body struct {
	Module  string          `json:"module_id"`
	Command string          `json:"command"`
	Params  json.RawMessage `json:"params"`
}

// params are the params of a message as JSON, which must be an object.
func (m *Message) params() (json.RawMessage, error) {
	data, err := phpjson.Encode(m.Params)
	var bad *phpjson.EncodeError
	switch {
	case errors.As(err, &bad):
		problem, _, _ := strings.Cut(bad.Problem, ";")
		return nil, fmt.Errorf("its Params%s: %s", dotted(bad.Path), problem)
	case err != nil:
		return nil, fmt.Errorf("its Params: %w", quote.Error(err))
	}
	switch kind := phpjson.KindOf(data); kind {
	case phpjson.KindObject:
		return data, nil
	case phpjson.KindNull:
		return json.RawMessage("{}"), nil
	default:
		return nil, fmt.Errorf("its Params: want what marshals to an object, got %s", kind)
	}
}

// dotted is a path to be put behind a name.
func dotted(path string) string {
	if path == "" || strings.HasPrefix(path, "[") {
		return path
	}
	return "." + path
}

// unique leaves out what is in a list a second time.
func unique[T any, K comparable](list []T, key func(T) K) []T {
	seen := make(map[K]bool, len(list))
	var each []T
	for _, v := range list {
		if k := key(v); !seen[k] {
			seen[k] = true
			each = append(each, v)
		}
	}
	return each
}

// channelOf is what tells a public channel from others.
func channelOf(c b24pull.PublicChannel) string {
	id, _, _ := strings.Cut(string(c.PublicID), ".")
	return strings.ToLower(cmp.Or(id, fmt.Sprint(c.UserID)))
}
