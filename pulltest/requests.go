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

// decodeBatch reads a RequestBatch. All of it must be well formed, though a
// server executes the first request only.
func decodeBatch(b []byte) ([]request, error) {
	var batch []request
	err := eachField(b, func(field protowire.Number, value []byte, _ uint64) error {
		if field != 1 {
			return nil
		}
		r, err := decodeRequest(value)
		batch = append(batch, r)
		return err
	})
	return batch, err
}

func decodeRequest(b []byte) (request, error) {
	var r request
	err := eachField(b, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case incomingMessages:
			r.kind = field
			return eachField(value, func(f protowire.Number, v []byte, _ uint64) error {
				if f != 1 {
					return nil
				}
				m, err := decodeIncoming(v)
				r.messages = append(r.messages, m)
				return err
			})
		case channelStats:
			r.kind = field
			return eachField(value, func(f protowire.Number, v []byte, _ uint64) error {
				if f != 1 {
					return nil
				}
				c, err := decodeReceiver(v)
				r.channels = append(r.channels, c)
				return err
			})
		case serverStats:
			r.kind = field
		}
		return nil
	})
	return r, err
}

func decodeIncoming(b []byte) (incoming, error) {
	var m incoming
	err := eachField(b, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case 1:
			r, err := decodeReceiver(value)
			m.receivers = append(m.receivers, r)
			return err
		case 3:
			m.body = string(value)
		case 4:
			m.expiry = time.Duration(uint32(number)) * time.Second
		}
		return nil
	})
	return m, err
}

func decodeReceiver(b []byte) (receiver, error) {
	var r receiver
	err := eachField(b, func(field protowire.Number, value []byte, number uint64) error {
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

// eachField calls f with the bytes or the number of each field of a message.
func eachField(b []byte, f func(field protowire.Number, value []byte, number uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errRequest
		}
		b = b[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return errRequest
		}
		b = b[n:]
		if err := f(field, value, number); err != nil {
			return err
		}
	}
	return nil
}
