package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// rpcCodec reads the JSON-RPC frames of servers from version 5 on: one object
// or an array of them. A frame in the text framing is read as that.
type rpcCodec struct {
	text     textCodec
	answered func(Answer) // told of answers to calls of ours; may be nil
}

func newRPCCodec(answered func(Answer)) Codec { return &rpcCodec{answered: answered} }

var rpcPing = []byte("ping")

// IncomingMethod is the method of the calls that bring messages.
var IncomingMethod = []byte("incoming.message")

func (c *rpcCodec) Decode(frame io.Reader, yield func(Record, error) bool) error {
	in := &c.text.in
	in.reset(frame)
	if !in.begin() {
		return in.end()
	}
	switch b := in.window()[0]; {
	case b == '[':
		in.take(1)
		return c.batch(yield)
	case b == '{':
		return c.single(yield)
	case in.has(0, startMark):
		return c.text.messages(yield)
	case in.has(0, rpcPing):
		in.take(len(rpcPing))
		return c.over()
	default:
		return fmt.Errorf("%w: it is no JSON-RPC", ErrFrame)
	}
}

// over is the error of a frame after what must be all of it.
func (c *rpcCodec) over() error {
	if c.text.in.space() {
		return fmt.Errorf("%w: it goes on behind its end", ErrFrame)
	}
	return c.text.in.end()
}

func (c *rpcCodec) single(yield func(Record, error) bool) error {
	in := &c.text.in
	var k skimmer
	if in.skim(&k); k.open() {
		return in.cut()
	}
	if !c.element(&k, yield) {
		return nil
	}
	in.take(k.at)
	return c.over()
}

// batch reads an array from behind its opening bracket.
func (c *rpcCodec) batch(yield func(Record, error) bool) error {
	in := &c.text.in
	if in.space() && in.window()[0] == ']' {
		in.take(1)
		return c.over()
	}
	for {
		var k skimmer
		if !in.skim(&k) {
			return in.cut()
		}
		if !c.element(&k, yield) {
			return nil
		}
		last := in.window()[k.at] == ']'
		in.take(k.at + 1)
		if last {
			return c.over()
		}
	}
}

// element yields the message of the call that k has gone over, if it is one,
// and hands an answer to who has asked. It returns what yield does.
func (c *rpcCodec) element(k *skimmer, yield func(Record, error) bool) bool {
	if err := k.tooLong(); err != nil {
		return yield(Record{}, err)
	}
	raw := c.text.in.window()[:k.at]
	var method, params []byte
	var r reply
	err := eachMember(raw, func(name, value []byte) error {
		switch string(name) {
		case "method":
			method = value
		case "params":
			params = value
		case "id":
			r.id = value
		case "result":
			r.result = value
		case "error":
			r.err = value
		}
		return nil
	})
	ours := bytes.Equal(plain(method), IncomingMethod)
	if err != nil {
		return yield(Record{Key: keyOfBCD(nil, raw)}, &RecordError{Err: err, Framed: ours})
	}
	if !ours {
		if c.answered != nil && present(method) == nil && r.is() {
			if a, ok := r.answer(len(raw)); ok {
				c.answered(a)
			}
		}
		return true
	}
	m, err := c.message(params)
	return yield(m, framed(err))
}

// incoming holds the JSON values of an incoming.message.
type incoming struct{ mid, body, sender, userParams, dictionary []byte }

func (in *incoming) set(name, value []byte) error {
	switch string(name) {
	case "mid":
		in.mid = value
	case "body":
		in.body = value
	case "sender":
		in.sender = value
	case "user_params":
		in.userParams = value
	case "dictionary":
		in.dictionary = value
	}
	return nil
}

// message decodes the params of an incoming.message. It keeps nothing of them.
func (c *rpcCodec) message(params []byte) (Record, error) {
	var in incoming
	if err := eachMember(params, in.set); err != nil {
		return Record{Key: keyOfBCD(nil, params)}, &RecordError{Err: errors.New("its params are no object")}
	}
	id := plain(in.mid)
	if len(id) > maxIDSize {
		return Record{Key: keyOfBCD(nil, params)}, &RecordError{Err: fmt.Errorf("its id has %d bytes", len(id))}
	}
	m := Record{ID: string(id), Key: keyOfDigits(id, in.body), Sender: senderOf(in.sender)}
	if err := c.parseBody(&m, &in); err != nil {
		return m, &RecordError{ID: m.ID, Err: err}
	}
	return m, nil
}

func (c *rpcCodec) parseBody(m *Record, in *incoming) error {
	if len(in.body) == 0 {
		return errors.New("it has no body")
	}
	var own []byte
	switch in.body[0] {
	case '{':
		own = bytes.Clone(in.body)
	case '"':
		own = bytes.Clone(unquote(in.body)) // exactly as long
	default:
		return fmt.Errorf("body: want an object, got %s", kindOf(in.body))
	}
	m.Size = len(own) + len(m.Sender.ID)
	if err := c.text.names.parseBody(m, own); err != nil {
		return err
	}
	merged, err := mergeObjects(m.Params, in.userParams, in.dictionary)
	if err != nil {
		return err
	}
	if merged != nil {
		m.Params = merged
		m.Size += cap(merged)
	}
	return nil
}

// senderOf reads {"type","id"}, the type a number or its digits.
func senderOf(value []byte) Sender {
	var kind, id []byte
	_ = eachMember(value, func(name, value []byte) error { // anything but an object names no sender
		switch string(name) {
		case "type":
			kind = plain(value)
		case "id":
			id = plain(value)
		}
		return nil
	})
	switch string(kind) {
	case "1":
		return Sender{SenderClient, string(id)}
	case "2":
		return Sender{Type: SenderBackend}
	default:
		return Sender{}
	}
}
