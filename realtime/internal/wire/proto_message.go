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
	return eachField(buf, func(num protowire.Number, typ protowire.Type, value []byte) error {
		switch {
		case num == fieldID && typ == protowire.BytesType:
			m.ID, _ = protowire.ConsumeBytes(value)
		case num == fieldBody && typ == protowire.BytesType:
			m.Body, _ = protowire.ConsumeBytes(value)
		case num == fieldExpiry && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			m.Expiry, m.HasExpiry = uint32(v), true
		case num == fieldCreated && typ == protowire.Fixed32Type:
			m.Created, _ = protowire.ConsumeFixed32(value)
		case num == fieldSender && typ == protowire.BytesType:
			sender, _ := protowire.ConsumeBytes(value)
			return m.parseSender(sender)
		}
		return nil
	})
}

func (m *outgoingMessage) parseSender(buf []byte) error {
	return eachField(buf, func(num protowire.Number, typ protowire.Type, value []byte) error {
		switch {
		case num == fieldSenderType && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			m.SenderType = SenderType(v)
		case num == fieldSenderID && typ == protowire.BytesType:
			m.SenderID, _ = protowire.ConsumeBytes(value)
		}
		return nil
	})
}

// eachField calls visit with each field's encoded value, already checked to be
// whole.
func eachField(buf []byte, visit func(protowire.Number, protowire.Type, []byte) error) error {
	for len(buf) > 0 {
		num, typ, n := protowire.ConsumeTag(buf)
		if n < 0 {
			return fmt.Errorf("%w: bad field tag", errMalformed)
		}
		buf = buf[n:]
		n = protowire.ConsumeFieldValue(num, typ, buf)
		if n < 0 {
			return fmt.Errorf("%w: field %d is cut short", errMalformed, num)
		}
		if err := visit(num, typ, buf[:n]); err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}
