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
	reader reader
	names  names
	record Record // that is yielded

	created uint32 // of the message before
	time    time.Time
}

func newProtoCodec() *protoCodec {
	return &protoCodec{reader: reader{limit: MaxMessageSize}}
}

func (c *protoCodec) Decode(frame io.Reader, yield func(*Record, error) bool) error {
	c.reader.reset(frame)
	defer func() {
		c.reader.rest()
		c.record = Record{}
	}()
	for {
		buf, err := c.reader.next()
		if err == nil {
			if err = c.message(buf); !yield(&c.record, err) {
				return nil
			}
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case isTooLong(err):
			if c.record = (Record{}); !yield(&c.record, framed(&RecordError{Err: err})) {
				return nil
			}
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
func (c *protoCodec) message(buf []byte) error {
	m := &c.record
	var out outgoingMessage
	err := out.parse(buf)
	if err == nil && len(out.ID) > maxIDSize {
		err = fmt.Errorf("its id has %d bytes", len(out.ID))
	}
	if err != nil {
		*m = Record{Key: keyOfBCD(nil, buf)}
		return &RecordError{Err: err}
	}
	*m = Record{
		ID:   idStringIn(buf, out.ID),
		Key:  keyOfBCD(out.ID, out.Body),
		Size: len(buf),

		Transient: out.HasExpiry && out.Expiry == 0,
		Kept:      time.Duration(out.Expiry) * time.Second,
	}
	if out.Created != 0 {
		if out.Created != c.created {
			c.created, c.time = out.Created, time.Unix(int64(out.Created), 0).UTC()
		}
		m.Time = c.time
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
	if err := c.names.takeBody(m, out.Body, &parts); err != nil {
		return &RecordError{ID: m.ID, Err: err}
	}
	return nil
}
