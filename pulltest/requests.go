package pulltest

import (
	"encoding/hex"
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// errRequest is what any undecodable request comes to.
var errRequest = errors.New("wrong request data")

// Kinds of requests a RequestBatch holds: the field numbers of its oneof.
const (
	incomingMessages protowire.Number = 1
	channelStats     protowire.Number = 2
	serverStats      protowire.Number = 3
)

// request is one Request of a RequestBatch.
type request struct {
	kind     protowire.Number
	messages []incoming
	channels []receiver
}

type incoming struct {
	receivers []receiver
	body      string
	expiry    time.Duration
	kind      string // «im» and such, for statistics only
}

// receiver is a Receiver or a ChannelId: both have the same fields.
type receiver struct {
	id        []byte
	private   bool
	signature []byte
}

func (r receiver) key() channelKey {
	return channelKey{hex.EncodeToString(r.id), r.private}
}

// shape is the wire type of each field that a message knows. A server reads a
// field by what it knows of it, so that another type breaks the whole.
type shape map[protowire.Number]protowire.Type

var (
	listShape     = shape{1: protowire.BytesType} // a batch, and each kind of request
	requestShape  = shape{incomingMessages: protowire.BytesType, channelStats: protowire.BytesType, serverStats: protowire.BytesType}
	messageShape  = shape{1: protowire.BytesType, 2: protowire.BytesType, 3: protowire.BytesType, 4: protowire.VarintType, 5: protowire.BytesType}
	receiverShape = shape{1: protowire.BytesType, 2: protowire.VarintType, 3: protowire.BytesType}
	senderShape   = shape{1: protowire.VarintType, 2: protowire.BytesType}
)

// decodeBatch reads a RequestBatch. All of it must be well formed, though a
// server executes the first request only.
func decodeBatch(b []byte) ([]request, error) {
	var batch []request
	err := eachField(b, listShape, func(_ protowire.Number, value []byte, _ uint64) error {
		r, err := decodeRequest(value)
		batch = append(batch, r)
		return err
	})
	return batch, err
}

// decodeRequest reads a Request, of whose commands the last one counts.
func decodeRequest(b []byte) (request, error) {
	var r request
	err := eachField(b, requestShape, func(field protowire.Number, value []byte, _ uint64) error {
		r = request{kind: field}
		if field == serverStats {
			return nil
		}
		return eachField(value, listShape, func(_ protowire.Number, v []byte, _ uint64) (err error) {
			if field == incomingMessages {
				var m incoming
				m, err = decodeIncoming(v)
				r.messages = append(r.messages, m)
				return err
			}
			var c receiver
			c, err = decodeReceiver(v)
			r.channels = append(r.channels, c)
			return err
		})
	})
	return r, err
}

// decodeIncoming reads an IncomingMessage. A client's word of who it is counts
// for nothing. Text that is no UTF-8 is made some.
func decodeIncoming(b []byte) (incoming, error) {
	var m incoming
	err := eachField(b, messageShape, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case 1:
			r, err := decodeReceiver(value)
			m.receivers = append(m.receivers, r)
			return err
		case 2:
			return eachField(value, senderShape, func(protowire.Number, []byte, uint64) error { return nil })
		case 3:
			m.body = text(value)
		case 4:
			m.expiry = time.Duration(uint32(number)) * time.Second
		case 5:
			m.kind = text(value)
		}
		return nil
	})
	return m, err
}

func decodeReceiver(b []byte) (receiver, error) {
	var r receiver
	err := eachField(b, receiverShape, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case 1:
			r.id = value
		case 2:
			r.private = protowire.DecodeBool(number)
		case 3:
			r.signature = value
		}
		return nil
	})
	return r, err
}

// eachField calls f with the bytes or the number of each field that a message
// knows, and skips the others, the impossible field 0 too.
func eachField(b []byte, known shape, f func(field protowire.Number, value []byte, number uint64) error) error {
	for len(b) > 0 {
		tag, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errRequest
		}
		b = b[n:]
		field, kind := protowire.Number(tag>>3), protowire.Type(tag&7)
		want, isKnown := known[field]
		if isKnown && kind != want {
			return errRequest
		}
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(max(field, 1), kind, b)
		}
		if n < 0 {
			return errRequest
		}
		b = b[n:]
		if !isKnown {
			continue
		}
		if err := f(field, value, number); err != nil {
			return err
		}
	}
	return nil
}
