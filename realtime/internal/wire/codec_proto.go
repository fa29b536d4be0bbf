package wire

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// maxIDSize is how many bytes of an id are taken; a mid has 13.
const maxIDSize = 64

// protoCodec reads the protobuf frames of a version 4 server.
type protoCodec struct {
	reader *reader
	names  names
}

func newProtoCodec() *protoCodec {
	return &protoCodec{reader: newReader(MaxMessageSize)}
}

func (c *protoCodec) Decode(frame io.Reader, yield func(Record, error) bool) error {
	c.reader.reset(frame)
	defer c.reader.rest()
	for {
		buf, err := c.reader.next()
		if err == nil {
			if !yield(c.message(buf)) {
				return nil
			}
			continue
		}
		switch {
		case isTooLong(err):
			if !yield(Record{}, framed(&RecordError{Err: err})) {
				return nil
			}
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errMalformed):
			return fmt.Errorf("%w: %w", ErrFrame, err)
		default:
			return err
		}
	}
}

func isTooLong(err error) bool {
	var tooLong *TooLongError
	return errors.As(err, &tooLong)
}

// message decodes one message from a buffer that becomes the message's own.
func (c *protoCodec) message(buf []byte) (Record, error) {
	var out outgoingMessage
	err := out.parse(buf)
	if err == nil && len(out.ID) > maxIDSize {
		err = fmt.Errorf("its id has %d bytes", len(out.ID))
	}
	if err != nil {
		return Record{Key: keyOfBCD(nil, buf)}, &RecordError{Err: err}
	}
	m := Record{
		ID:   idStringIn(buf, out.ID),
		Key:  keyOfBCD(out.ID, out.Body),
		Size: len(buf),

		Transient: out.HasExpiry && out.Expiry == 0,
		Kept:      time.Duration(out.Expiry) * time.Second,
	}
	if out.Created != 0 {
		m.Time = time.Unix(int64(out.Created), 0).UTC()
	}
	switch out.SenderType {
	case SenderClient:
		m.Sender = Sender{SenderClient, idString(out.SenderID)}
		m.Size += copied(m.Sender.ID)
	case SenderBackend:
		m.Sender.Type = SenderBackend
	}
	var parts bodyParts
	if end := skipBody(out.Body, skipSpace(out.Body, 0), 0, &parts); end < 0 || end != len(out.Body) || out.Body[0] != '{' {
		parts.known = false
	}
	if err := c.names.takeBody(&m, out.Body, &parts); err != nil {
		return m, &RecordError{ID: m.ID, Err: err}
	}
	return m, nil
}
