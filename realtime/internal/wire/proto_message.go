package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// errMalformed marks bytes that are no ResponseBatch.
var errMalformed = errors.New("malformed protobuf")

// Fields of OutgoingMessage and Sender.
const (
	fieldID      = 1
	fieldBody    = 2
	fieldExpiry  = 3
	fieldCreated = 4
	fieldSender  = 5

	fieldSenderType = 1
	fieldSenderID   = 2
)

// SenderType says who published a message.
type SenderType uint64

// The sender types of the protocol; any other number is as good as unknown.
const (
	SenderUnknown SenderType = 0
	SenderClient  SenderType = 1
	SenderBackend SenderType = 2
)

// String is the name of the type in lower case.
func (t SenderType) String() string {
	switch t {
	case SenderClient:
		return "client"
	case SenderBackend:
		return "backend"
	default:
		return "unknown"
	}
}

// outgoingMessage is one message from the server. Its slices point into the
// buffer it was parsed from.
type outgoingMessage struct {
	ID         []byte
	Body       []byte
	Expiry     uint32 // seconds; 0: not kept
	HasExpiry  bool   // whether Expiry was sent
	Created    uint32 // Unix seconds; 0: not sent
	SenderType SenderType
	SenderID   []byte
}

// parse reads an outgoingMessage from its whole encoding. Unknown fields are
// passed over.
func (m *outgoingMessage) parse(buf []byte) error {
	*m = outgoingMessage{}
	f := fieldsOf(buf)
	for f.next() {
		switch {
		case f.num == fieldID && f.typ == protowire.BytesType:
			m.ID = f.bytes
		case f.num == fieldBody && f.typ == protowire.BytesType:
			m.Body = f.bytes
		case f.num == fieldExpiry && f.typ == protowire.VarintType:
			m.Expiry, m.HasExpiry = uint32(f.number), true
		case f.num == fieldCreated && f.typ == protowire.Fixed32Type:
			m.Created = uint32(f.number)
		case f.num == fieldSender && f.typ == protowire.BytesType:
			if err := m.parseSender(f.bytes); err != nil {
				return err
			}
		}
	}
	return f.err
}

func (m *outgoingMessage) parseSender(buf []byte) error {
	f := fieldsOf(buf)
	for f.next() {
		switch {
		case f.num == fieldSenderType && f.typ == protowire.VarintType:
			m.SenderType = SenderType(f.number)
		case f.num == fieldSenderID && f.typ == protowire.BytesType:
			m.SenderID = f.bytes
		}
	}
	return f.err
}

// fields goes over those of a message:
//
//	for f := fieldsOf(message); f.next(); {
type fields struct {
	rest   []byte
	num    protowire.Number
	typ    protowire.Type
	number uint64 // of a varint, or four bytes
	bytes  []byte // of what has a length
	err    error  // why there are no more before the end
}

func fieldsOf(message []byte) fields { return fields{rest: message} }

// next goes to the next field.
func (f *fields) next() bool {
	if len(f.rest) == 0 {
		return false
	}
	const oneByte, first = 0x80, 1 << 3
	n := 1
	if b := f.rest[0]; first <= b && b < oneByte {
		f.num, f.typ = protowire.Number(b>>3), protowire.Type(b&7)
	} else if f.num, f.typ, n = protowire.ConsumeTag(f.rest); n < 0 {
		f.err = fmt.Errorf("%w: bad field tag", errMalformed)
		return false
	}
	f.rest = f.rest[n:]
	switch f.typ {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.rest)
	case protowire.VarintType:
		f.number, n = protowire.ConsumeVarint(f.rest)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(f.rest)
		f.number = uint64(v)
	default:
		n = protowire.ConsumeFieldValue(f.num, f.typ, f.rest)
	}
	if n < 0 {
		f.err = fmt.Errorf("%w: field %d is cut short", errMalformed, f.num)
		return false
	}
	f.rest = f.rest[n:]
	return true
}
