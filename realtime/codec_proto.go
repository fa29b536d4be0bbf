package realtime

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/b24pull/b24pull/realtime/internal/wire"
)

// maxIDSize is how many bytes of an id are taken; a mid has 13.
const maxIDSize = 64

// protoCodec reads the protobuf frames of a version 4 server.
type protoCodec struct {
	reader *wire.Reader
	names  names
}

func newProtoCodec() *protoCodec {
	return &protoCodec{reader: wire.NewReader(maxMessageSize)}
}

func (c *protoCodec) decode(frame io.Reader, yield func(Message, error) bool) error {
	c.reader.Reset(frame)
	for {
		buf, err := c.reader.Next()
		if err == nil {
			if !yield(c.message(buf)) {
				return nil
			}
			continue
		}
		var tooLong *wire.TooLongError
		switch {
		case errors.As(err, &tooLong):
			if !yield(Message{}, framed(&DecodeError{Err: err})) {
				return nil
			}
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, wire.ErrMalformed):
			return fmt.Errorf("%w: %w", errFrame, err)
		default:
			return err
		}
	}
}

// message decodes one message from a buffer that becomes the message's own.
func (c *protoCodec) message(buf []byte) (Message, error) {
	var out wire.OutgoingMessage
	err := out.Parse(buf)
	if err == nil && len(out.ID) > maxIDSize {
		err = fmt.Errorf("its id has %d bytes", len(out.ID))
	}
	if err != nil {
		return Message{key: keyOf(nil, buf)}, &DecodeError{Err: err}
	}
	m := Message{
		ID:   idString(out.ID),
		key:  keyOf(out.ID, out.Body),
		size: len(buf),

		transient: out.HasExpiry && out.Expiry == 0,
		kept:      time.Duration(out.Expiry) * time.Second,
	}
	if out.Created != 0 {
		m.Time = time.Unix(int64(out.Created), 0).UTC()
	}
	switch out.SenderType {
	case wire.SenderClient:
		m.Sender = Sender{Type: SenderClient, ID: idString(out.SenderID)}
		m.size += copied(m.Sender.ID)
	case wire.SenderBackend:
		m.Sender.Type = SenderBackend
	}
	if err := c.names.parseBody(&m, out.Body); err != nil {
		return m, &DecodeError{ID: m.ID, Err: err}
	}
	return m, nil
}
