package realtime

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

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
}

// messageOf makes the message that a user gets.
func messageOf(d *delivery.Message, l *delivery.Acks) Message {
	m := Message{
		Module: d.Module, Command: d.Command, Params: d.Params, Extra: d.Extra, Time: d.Time, ID: d.ID,
		Channel:  ChannelType(d.Channel), // numbered alike
		Replayed: d.Replayed, Late: d.Late, Gap: gapOf(d.Gap),
		acks: l, receipt: d.Receipt(),
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
	m.Params = slices.Clone(m.Params)
	m.Extra = slices.Clone(m.Extra)
	return m
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
	Type SenderType // backend or client, if the server said
	ID   string     // public id of the sending client, hex; empty for the backend

	// UserID is whose public id that is; 0 where it is not known. A
	// subscription knows those of its portal's config, which lists users'
	// public channels, and those of [Subscription.AddSenders].
	UserID int64
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

// String is the name of the kind in lower case.
func (t SenderType) String() string { return wire.SenderType(t).String() }

// ChannelType is the kind of channel that a message came through.
type ChannelType uint8

const (
	ChannelUnknown ChannelType = iota // the server did not say, or named a channel that is not in the config
	ChannelPrivate                    // the user's own, or the application's for one user
	ChannelShared                     // everybody's on the portal, or all who use the application
)

// String is the name of the kind in lower case: the name of the channel in the
// portal's config.
func (t ChannelType) String() string { return wire.Channel(t).String() }

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
