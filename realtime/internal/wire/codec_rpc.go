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

func (c *rpcCodec) Decode(frame io.Reader, yield func(*Record, error) bool) error {
	in := &c.text.in
	defer func() { c.text.out = Record{} }()
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

func (c *rpcCodec) single(yield func(*Record, error) bool) error {
	in := &c.text.in
	var e call
	var k skimmer
	goOn := true
	if k.at = c.whole(&e, false); k.at >= 0 {
		goOn = c.deliver(&e, yield)
	} else {
		k.at = 0
		if in.skim(&k); k.open() {
			return in.cut()
		}
		goOn = c.element(&k, yield)
	}
	if !goOn {
		return nil
	}
	in.take(k.at)
	return c.over()
}

// batch reads an array from behind its opening bracket.
func (c *rpcCodec) batch(yield func(*Record, error) bool) error {
	in := &c.text.in
	if in.space() && in.window()[0] == ']' {
		in.take(1)
		return c.over()
	}
	for {
		var e call
		var k skimmer
		goOn := true
		if k.at = c.whole(&e, true); k.at >= 0 {
			goOn = c.deliver(&e, yield)
		} else {
			k.at = 0
			if !in.skim(&k) {
				return in.cut()
			}
			goOn = c.element(&k, yield)
		}
		if !goOn {
			return nil
		}
		last := in.window()[k.at] == ']'
		in.take(k.at + 1)
		if last {
			return c.over()
		}
	}
}

// whole looks at an element, of a batch or alone in its frame, that is valid and
// does not take many reads, and returns where it ends; -1 if it is none.
func (c *rpcCodec) whole(e *call, batch bool) int {
	in := &c.text.in
	for range maxReads {
		w := in.window()
		end := e.skip(w, skipSpace(w, 0))
		if end >= 0 {
			end = skipSpace(w, end)
		}
		switch {
		case end > MaxMessageSize:
			return -1
		case end >= 0 && end < len(w):
			if batch && (w[end] == ',' || w[end] == ']') {
				return end
			}
			return -1
		case end < 0 && new(skimmer).scan(w), !in.fill():
			if end >= 0 && !batch && in.err == io.EOF {
				return end
			}
			return -1
		}
	}
	return -1
}

// call holds the JSON values of a call, or of an answer to one.
type call struct {
	whole          []byte
	method, params []byte
	reply
	in    incoming // of params, where these are an object
	taken bool     // in is
	body  bodyParts
}

func (e *call) set(name, value []byte) error {
	switch string(name) {
	case "method":
		e.method = value
	case "params":
		e.params = value
	case "id":
		e.id = value
	case "result":
		e.result = value
	case "error":
		e.err = value
	}
	return nil
}

// skip takes a call, and returns the index behind it; -1 if it is not valid, or
// no object.
func (e *call) skip(b []byte, i int) int {
	*e = call{}
	if i >= len(b) || b[i] != '{' {
		return -1
	}
	m := membersOf(b, i, 1)
	for m.next() {
		name := m.text()
		if string(name) == "params" {
			m.at = e.skipParams(b, m.at, m.depth)
		} else {
			m.skip()
		}
		if m.at < 0 {
			return -1
		}
		_ = e.set(name, m.value())
	}
	if m.end >= 0 {
		e.whole = b[i:m.end]
	}
	return m.end
}

func (e *call) skipParams(b []byte, i, depth int) int {
	e.in, e.body, e.taken = incoming{}, bodyParts{}, false
	if i >= len(b) || b[i] != '{' {
		return skipValue(b, i, depth)
	}
	e.taken = true
	m := membersOf(b, i, depth+1)
	for m.next() {
		name := m.text()
		if string(name) == "body" {
			m.at = skipBody(b, m.at, m.depth, &e.body)
		} else {
			m.skip()
		}
		if m.at < 0 {
			return -1
		}
		_ = e.in.set(name, m.value())
	}
	return m.end
}

// element yields the message of the call that k has gone over, if it is one,
// and hands an answer to who has asked. It returns what yield does.
func (c *rpcCodec) element(k *skimmer, yield func(*Record, error) bool) bool {
	if err := k.tooLong(); err != nil {
		return yield(new(Record), err)
	}
	e := call{whole: c.text.in.window()[:k.at]}
	if err := eachMember(e.whole, e.set); err != nil {
		return yield(&Record{Key: keyOfBCD(nil, e.whole)}, &RecordError{Err: err, Framed: e.brings()})
	}
	return c.deliver(&e, yield)
}

// brings reports whether the call brings a message.
func (e *call) brings() bool { return bytes.Equal(plain(e.method), IncomingMethod) }

// deliver is element for a call that is valid.
func (c *rpcCodec) deliver(e *call, yield func(*Record, error) bool) bool {
	if !e.brings() {
		if c.answered != nil && present(e.method) == nil && e.is() {
			if a, ok := e.answer(len(e.whole)); ok {
				c.answered(a)
			}
		}
		return true
	}
	if !e.taken {
		if err := eachMember(e.params, e.in.set); err != nil {
			return yield(&Record{Key: keyOfBCD(nil, e.params)}, &RecordError{Err: errors.New("its params are no object"), Framed: true})
		}
	}
	err := c.message(e)
	return yield(&c.text.out, framed(err))
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
func (c *rpcCodec) message(e *call) error {
	m, in := &c.text.out, &e.in
	id := plain(in.mid)
	if len(id) > maxIDSize {
		*m = Record{Key: keyOfBCD(nil, e.params)}
		return &RecordError{Err: fmt.Errorf("its id has %d bytes", len(id))}
	}
	*m = Record{Key: keyOfDigits(id, in.body), Sender: senderOf(in.sender)}
	if err := c.parseBody(m, in, id, &e.body); err != nil {
		m.ID = string(id)
		return &RecordError{ID: m.ID, Err: err}
	}
	return nil
}

func (c *rpcCodec) parseBody(m *Record, in *incoming, id []byte, parts *bodyParts) error {
	if len(in.body) == 0 {
		return errors.New("it has no body")
	}
	text := in.body
	switch in.body[0] {
	case '{':
	case '"':
		text = unquote(in.body) // exactly as long
	default:
		return fmt.Errorf("body: want an object, got %s", kindOf(in.body))
	}
	own, known := ownMemory(len(text), id)
	copy(own, text)
	m.ID, m.Size = known, len(own)+len(m.Sender.ID)
	if err := c.text.names.takeBody(m, own, parts); err != nil {
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
	if len(value) > 0 && value[0] == '{' { // anything but an object names no sender
		for m := membersOf(value, 0, 1); m.next() && m.skip(); {
			switch string(m.text()) {
			case "type":
				kind = plain(m.value())
			case "id":
				id = plain(m.value())
			}
		}
	}
	switch string(kind) {
	case "1":
		return Sender{SenderClient, string(id)}
	case "2":
		return Sender{Type: SenderBackend}
	default:
		return Sender{}
	}
}
