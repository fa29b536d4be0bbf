package realtime

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/enum"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// A Message is one event of the portal, as the push server delivered it.
//
// Params and Extra share memory with other parts of the message and must not be
// changed; Clone gives an independent copy.
type Message struct {
	Module  string          // module_id in lower case: "application", "crm", "im", "pull"
	Command string          // as the portal sent it
	Params  json.RawMessage // nil if the server sent none; PHP writes an empty object as []
	Extra   json.RawMessage // server_time, server_time_unix, server_name and the like; nil if none
	Time    time.Time       // when the server took the message, to the second, UTC; zero if it sent none, or one that cannot be
	Sender  Sender          // who published it
	Channel ChannelType     // which channel it came through; unknown from versions 4 and 5, whose frames do not say
	ID      string          // the server's mid, 26 digits; empty where the server gives none

	Replayed bool // found in the server's history, not received live
	Late     bool // its turn has passed: a message with a greater ID came before it

	Gap *Gap // messages may have been lost before this one; nil otherwise

	acks    *delivery.Acks   // where it is accounted for; nil until delivered
	receipt delivery.Receipt // under which it is
	body    []byte           // as it was published, for the key; nil if it was made by hand
	key     string           // if it has been found out
}

// messageOf makes the message that a user gets.
func messageOf(d *delivery.Message, l *delivery.Acks) Message {
	m := Message{
		Module: d.Module, Command: d.Command, Params: d.Params, Extra: d.Extra, Time: d.Time, ID: d.ID,
		Channel:  ChannelType(d.Channel), // numbered alike
		Replayed: d.Replayed, Late: d.Late, Gap: gapOf(d.Gap),
		acks: l, receipt: d.Receipt(), body: d.Body,
	}
	switch d.Sender.Type {
	case wire.SenderClient:
		m.Sender = Sender{Type: SenderClient, ID: d.Sender.ID}
	case wire.SenderBackend:
		m.Sender = Sender{Type: SenderBackend}
	}
	return m
}

// String is the module, the command and the params on one line, shortened where
// they are long. What does not print is escaped.
func (m Message) String() string {
	return m.name() + " " + quote.JSON(m.Params, quote.TextLimit)
}

// LogValue is String for log/slog.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// name is the module and the command, fit to be printed.
func (m *Message) name() string { return quote.Name(m.Module) + " " + quote.Name(m.Command) }

// Clone returns a copy of m that shares no memory with it.
func (m Message) Clone() Message {
	m.key, m.body = m.Key(), nil
	m.Params = slices.Clone(m.Params)
	m.Extra = slices.Clone(m.Extra)
	return m
}

// Key returns a text that tells m from every other message of its portal: to
// have an effect but once, keep it with the effect and leave out what comes with
// a key that is there. It is the same wherever and however often the message is
// received: live or replayed, over a websocket or by polls, in another process,
// after a restart, with another config. It has at most 59 characters, digits,
// the letters a to f and a hyphen, so that it fits a column of a database or a
// message id of a broker, and it holds no secret. Keys of later releases are the
// same.
//
// The ID alone will not do: versions 1 and 2 of the push server give none, and a
// server that has lost its data gives IDs anew. A key is the place of the
// message on the server, which is its ID, or its time and tag on versions 1 and
// 2, and a hash of what was published (there, of the channel, too). Events of
// the portal bear the time to a fraction of a second (server_time_unix), so that
// no two are alike. Of what clients publish, two messages can have one key if
// they are the same byte for byte and a server has lost its data in between.
//
// On versions 1 and 2 an event that was sent to the private and to the shared
// channel is two messages, with a key each. Keys of different portals can be
// alike: keep the portal beside them. The key of a Message that was made by hand
// is got from its fields.
func (m Message) Key() string {
	if m.key != "" {
		return m.key
	}
	const domain = "b24pull message key 1\n"
	at := m.receipt.Key.Mid
	sum := sha256.New()
	io.WriteString(sum, domain)
	if m.body == nil {
		at, _ = wire.MidFromDigits([]byte(m.ID))
		fmt.Fprintf(sum, "%q %q %q %q %q %d %v %q", m.ID, strings.ToLower(m.Module), m.Command, m.Params, m.Extra, m.Time.Unix(), m.Sender.Type, m.Sender.ID)
	} else {
		if at.IsZero() || at.String() != m.ID { // the place is shared
			sum.Write(binary.LittleEndian.AppendUint32(nil, m.receipt.Key.Sum))
		}
		sum.Write(m.body)
	}
	text := hex.EncodeToString(sum.Sum(nil)[:16])
	if at.IsZero() {
		return text
	}
	return at.String() + "-" + text
}

// Cursor returns the position of a reader that has handled m and everything
// that was handled before it. Stored together with the effects of m, and given
// to [WithCursor], it makes a new subscription go on right behind m. The Cursor
// of a message that was not delivered by a subscription is zero.
//
// Handlers that run beside each other ([WithParallel]) may store theirs in
// another order than they got them. The one that was stored last counts then:
// if it is an earlier one, what was handled since it was taken comes again.
// Nothing is lost.
func (m Message) Cursor() Cursor {
	if m.acks == nil {
		return Cursor{}
	}
	return Cursor{m.acks.PositionAfter(m.receipt)}
}

// Sender says who published a message. Only a backend's message is the portal's
// own word. A client's comes from another user's browser or application: from
// version 4 of the push server on any of them can publish whatever it likes,
// with any module and command. Versions 1 to 3 name no sender and have no
// clients that publish.
type Sender struct {
	Type SenderType `json:"type"`         // backend or client, if the server said
	ID   string     `json:"id,omitempty"` // public id of the sending client, hex; empty for the backend

	// UserID is whose public id that is; 0 where it is not known. A
	// subscription knows those of its portal's config, which lists users'
	// public channels, and those of [Subscription.AddSenders].
	UserID int64 `json:"user_id,omitempty"`
}

// String is the kind of the sender, the ID if there is one, and the user if he
// is known.
func (s Sender) String() string {
	text := s.Type.String()
	if s.ID != "" {
		text += " " + quote.Name(s.ID)
	}
	if s.UserID != 0 {
		text += fmt.Sprintf(" of user %d", s.UserID)
	}
	return text
}

// LogValue is String for log/slog.
func (s Sender) LogValue() slog.Value { return slog.StringValue(s.String()) }

// SenderType is the kind of a Sender.
type SenderType uint8

const (
	SenderUnknown SenderType = iota // the server did not say
	SenderClient                    // another client of the push server
	SenderBackend                   // the portal
)

var senderTexts = []string{"unknown", "client", "backend"}

// String is the name of the kind in lower case.
func (t SenderType) String() string { return enum.Name(senderTexts, t) }

// MarshalText gives the text of String.
func (t SenderType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (t *SenderType) UnmarshalText(text []byte) error {
	if err := enum.Parse(senderTexts, text, t); err != nil {
		return fmt.Errorf("realtime: type of a sender: %w", err)
	}
	return nil
}

// ChannelType is the kind of channel that a message came through.
type ChannelType uint8

const (
	ChannelUnknown ChannelType = iota // the server did not say, or named a channel that is not in the config
	ChannelPrivate                    // the user's own, or the application's for one user
	ChannelShared                     // everybody's on the portal, or all who use the application
)

var channelTexts = []string{"unknown", "private", "shared"}

// String is the name of the kind in lower case: the name of the channel in the
// portal's config.
func (t ChannelType) String() string { return enum.Name(channelTexts, t) }

// MarshalText gives the text of String.
func (t ChannelType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (t *ChannelType) UnmarshalText(text []byte) error {
	if err := enum.Parse(channelTexts, text, t); err != nil {
		return fmt.Errorf("realtime: type of a channel: %w", err)
	}
	return nil
}

// messageJSON is the JSON form of a Message.
type messageJSON struct {
	Key      string          `json:"key"`
	ID       string          `json:"id,omitempty"`
	Time     time.Time       `json:"time,omitzero"`
	Module   string          `json:"module"`
	Command  string          `json:"command"`
	Params   json.RawMessage `json:"params,omitempty"`
	Extra    json.RawMessage `json:"extra,omitempty"`
	Channel  ChannelType     `json:"channel,omitempty"`
	Sender   Sender          `json:"sender"`
	Replayed bool            `json:"replayed"`
	Late     bool            `json:"late"`
	Gap      *Gap            `json:"gap,omitempty"`
}

// MarshalJSON gives the form in which messages are logged, kept and passed on;
// b24pull listen -json prints it:
//
//	{
//	  "key": "17954211000000000000000042-1f0c8e1d6a2b93c47b5a0e9d8c7f6a5b",
//	  "id": "17954211000000000000000042",
//	  "time": "2026-11-23T09:05:00Z",
//	  "module": "crm",
//	  "command": "order.changed",
//	  "params": {"id": 7},
//	  "extra": {"server_time_unix": 1795424700.5},
//	  "channel": "private",
//	  "sender": {"type": "client", "id": "0123456789abcdef0123456789abcdef", "user_id": 1},
//	  "replayed": false,
//	  "late": false,
//	  "gap": {"reason": "paused", "count": 1, "error": "…"}
//	}
//
// The key is that of [Message.Key]. Of the others, id, time, params, extra,
// channel, gap, and what a sender has beside its type, are left out where there
// are none. The enumerations are their texts. It is one line, and whatever does
// not print is escaped in it. Params or extra that are no JSON, as a server can
// send, are a string that holds them.
func (m Message) MarshalJSON() ([]byte, error) {
	line, err := json.Marshal(messageJSON{
		Key: m.Key(), ID: m.ID, Time: m.Time, Module: m.Module, Command: m.Command, Params: validJSON(m.Params), Extra: validJSON(m.Extra),
		Channel: m.Channel, Sender: m.Sender, Replayed: m.Replayed, Late: m.Late, Gap: m.Gap,
	})
	if err != nil {
		return nil, err
	}
	return []byte(quote.JSON(line, len(line))), nil
}

// validJSON is a value as JSON.
func validJSON(value json.RawMessage) json.RawMessage {
	if len(value) == 0 || json.Valid(value) {
		return value
	}
	text, _ := json.Marshal(string(value)) // a string has no error
	return text
}

// UnmarshalJSON takes what MarshalJSON gives, and leaves m as it was if it is
// something else. An object that lacks what is always there (key, module,
// command, sender with its type, replayed, late) is refused, further fields are
// passed over, and null changes nothing, as encoding/json has it. The message
// has the key of the one that it was made of, but
// the [Cursor] and the place in a subscription of none: it cannot be given to
// [Subscription.Commit].
func (m *Message) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var j messageJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("realtime: message: %w", quote.Error(err))
	}
	if lacking := lacks(data); len(lacking) > 0 {
		return fmt.Errorf("realtime: message: the JSON has no %s, which a Message always has: want what MarshalJSON gave", strings.Join(lacking, ", "))
	}
	*m = Message{
		Module: j.Module, Command: j.Command, Params: j.Params, Extra: j.Extra, Time: j.Time, Sender: j.Sender, Channel: j.Channel, ID: j.ID,
		Replayed: j.Replayed, Late: j.Late, Gap: j.Gap, key: j.Key,
	}
	return nil
}

// lacks names what the JSON of a message has not, of what it always has.
func lacks(data []byte) (names []string) {
	var has struct {
		Key             string
		Module, Command *string
		Sender          *struct{ Type *SenderType }
		Replayed, Late  *bool
	}
	if json.Unmarshal(data, &has) != nil {
		return []string{"readable fields"}
	}
	for _, field := range []struct {
		name string
		has  bool
	}{
		{"key", has.Key != ""}, {"module", has.Module != nil}, {"command", has.Command != nil},
		{"sender", has.Sender != nil && has.Sender.Type != nil}, {"replayed", has.Replayed != nil}, {"late", has.Late != nil},
	} {
		if !field.has {
			names = append(names, field.name)
		}
	}
	return names
}

// Decode decodes the params of m into a value of type T with encoding/json.
// Absent params, and the [] that PHP writes for an empty object, decode to the
// zero T unless T can take them as they are. The error is a [*ParamsError].
func Decode[T any](m Message) (T, error) {
	var v T
	if len(m.Params) == 0 {
		return v, nil
	}
	err := json.Unmarshal(m.Params, &v)
	if err == nil {
		return v, nil
	}
	var zero T
	if wire.IsEmptyArray(m.Params) {
		return zero, nil
	}
	return zero, &ParamsError{Module: m.Module, Command: m.Command, Type: reflect.TypeFor[T]().String(), Err: err}
}
