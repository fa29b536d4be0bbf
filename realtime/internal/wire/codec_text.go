package wire

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"time"
)

// A message in the text framing stands between these. A payload may hold them
// too, in a string.
var (
	startMark = []byte("#!NGINXNMS!#")
	endMark   = []byte("#!NGINXNME!#")
)

var (
	errNoMark = errors.New("there is something else between the messages")
	errQuotes = errors.New("its quotes are not in order")
)

type textOptions struct {
	tags     bool // versions 1 and 2: positions are time and tag, there are no mids
	channels Channels
}

// Channels are what the private ids of channels, without signatures, are of:
// there are two at the most.
type Channels []NamedChannel

// A NamedChannel is a channel and its private id.
type NamedChannel struct {
	ID      string
	Channel Channel
}

// Of returns the channel that has an id, ChannelUnknown if none has. Of several
// it is the last.
func (c Channels) Of(id []byte) (of Channel) {
	for _, named := range c {
		if string(id) == named.ID {
			of = named.Channel
		}
	}
	return of
}

// textCodec reads the text frames of versions 1 to 3.
type textCodec struct {
	textOptions
	sender SenderType // the framing names none
	in     jsonStream
	names  names
	out    Record // that is yielded

	stamp string    // the last time that stood in a message
	time  time.Time // which it was
}

// newTextCodec returns a codec that takes every message for the backend's: to
// these servers nobody else can publish.
func newTextCodec(o textOptions) Codec {
	return &textCodec{textOptions: o, sender: SenderBackend}
}

func (c *textCodec) Decode(frame io.Reader, yield func(*Record, error) bool) error {
	defer func() { c.out = Record{} }()
	c.in.reset(frame)
	if !c.in.begin() {
		return c.in.end()
	}
	return c.messages(yield)
}

func (c *textCodec) messages(yield func(*Record, error) bool) error {
	for c.in.space() {
		var err error
		c.out = Record{}
		if c.in.has(0, startMark) {
			c.in.take(len(startMark))
			if err = c.next(); errors.Is(err, ErrFrame) {
				return c.in.cut()
			}
			err = framed(err)
		} else {
			if bytes.HasPrefix(startMark, c.in.window()) {
				return c.in.cut()
			}
			c.in.find(startMark)
			err = &RecordError{Err: errNoMark}
		}
		if !yield(&c.out, err) {
			return nil
		}
	}
	return c.in.end()
}

// next takes the message behind a start mark, and its end mark. ErrFrame says
// that the stream ends before.
func (c *textCodec) next() error {
	if err, ok := c.whole(); ok {
		return err
	}
	k := skimmer{text: true}
	if c.in.skim(&k) && c.in.has(k.at, endMark) {
		err := k.tooLong()
		if err == nil {
			err = c.message(c.in.window()[:k.at])
		}
		c.in.take(k.at + len(endMark))
		return err
	}
	c.in.take(k.quote) // the strings before it were in order
	if !c.resync() {
		return ErrFrame
	}
	return &RecordError{Err: errQuotes}
}

// whole is next for a message that is valid and does not take many reads.
func (c *textCodec) whole() (err error, ok bool) {
	for range maxReads {
		w := c.in.window()
		var e envelope
		var parts bodyParts
		if end := e.skip(w, skipSpace(w, 0), &parts); end >= 0 {
			if end = skipSpace(w, end); end > MaxMessageSize {
				break
			}
			if bytes.HasPrefix(w[end:], endMark) {
				err = c.record(&e, &parts)
				c.in.take(end + len(endMark))
				return err, true
			}
		}
		if bytes.Contains(w, endMark) || !c.in.fill() {
			break
		}
	}
	return nil, false
}

// maxReads is how many reads a message may take that is looked at as a whole.
const maxReads = 4

// resync takes what comes up to an end mark that is followed by a start mark or
// the end of the frame.
func (c *textCodec) resync() bool {
	for c.in.find(endMark) {
		c.in.take(len(endMark))
		if !c.in.space() {
			return c.in.err == io.EOF
		}
		if c.in.has(0, startMark) {
			return true
		}
	}
	return false
}

// envelope holds the JSON values around a message's body.
type envelope struct{ whole, id, mid, channel, tag, time, text, extra []byte }

func (e *envelope) set(name, value []byte) error {
	switch string(name) {
	case "id":
		e.id = value
	case "mid":
		e.mid = value
	case "channel":
		e.channel = value
	case "tag":
		e.tag = value
	case "time":
		e.time = value
	case "text":
		e.text = value
	case "extra":
		e.extra = present(value)
	}
	return nil
}

// skip takes an envelope, and returns the index behind it; -1 if it is not
// valid, or no object.
func (e *envelope) skip(b []byte, i int, parts *bodyParts) int {
	if i >= len(b) || b[i] != '{' {
		return -1
	}
	m := membersOf(b, i, 1)
	for m.next() {
		name := m.text()
		if string(name) == "text" {
			m.at = skipBody(b, m.at, m.depth, parts)
		} else {
			m.skip()
		}
		if m.at < 0 {
			return -1
		}
		_ = e.set(name, m.value())
	}
	if e.whole = b[i:]; m.end >= 0 {
		e.whole = b[i:m.end]
	}
	return m.end
}

// message decodes one message. It keeps nothing of raw.
func (c *textCodec) message(raw []byte) error {
	e := envelope{whole: raw}
	if err := eachMember(raw, e.set); err != nil {
		c.out = Record{Key: keyOfBCD(nil, raw)}
		return &RecordError{Err: err}
	}
	return c.record(&e, new(bodyParts))
}

// record makes the record of a message.
func (c *textCodec) record(e *envelope, parts *bodyParts) error {
	m := &c.out
	m.Sender.Type = c.sender
	m.Time = c.timeOf(plain(e.time))
	at := plain(e.channel)
	var id []byte
	if c.tags {
		m.Key = keyOfTag(m.Time, plain(e.tag), at, channelIn(e.extra), e.id, e.text)
	} else {
		if id = plain(e.mid); len(id) > maxIDSize {
			*m = Record{Key: keyOfBCD(nil, e.whole)}
			return &RecordError{Err: fmt.Errorf("its id has %d bytes", len(id))}
		}
		m.Key = keyOfDigits(id, e.text)
		if len(id) == 0 {
			// all there is to tell it from its like
			m.Key.Sum = crc32.Update(crc32.Checksum(e.text, Castagnoli), Castagnoli, e.id) | FullSum
		}
	}
	if err := c.parseText(m, e, id, parts); err != nil {
		return &RecordError{ID: m.ID, Err: err}
	}
	if len(at) == 0 {
		at = channelIn(m.Extra)
	}
	m.Channel = c.channels.Of(at)
	return nil
}

// timeOf reads a time, zero if it is none. Many messages have the same.
func (c *textCodec) timeOf(stamp []byte) time.Time {
	if string(stamp) == c.stamp {
		return c.time
	}
	t, err := time.Parse(http.TimeFormat, string(stamp))
	if err == nil && len(stamp) == len(http.TimeFormat) {
		c.stamp, c.time = string(stamp), t
	}
	return t
}

// parseText reads the id, the body, and the extra that may stand beside it,
// into m and memory of its own.
func (c *textCodec) parseText(m *Record, e *envelope, id []byte, parts *bodyParts) error {
	if len(e.text) == 0 {
		m.ID = string(id)
		return errors.New("it has no text")
	}
	n := len(e.text)
	own, text := ownMemory(n+len(e.extra), id)
	m.ID = text
	copy(own, e.text)
	copy(own[n:], e.extra)
	m.Size = len(own)
	if err := c.names.takeBody(m, own[:n], parts); err != nil {
		return err
	}
	if m.Extra == nil && e.extra != nil {
		m.Extra = own[n:]
	}
	return nil
}

// channelIn is the private id that stands in extra in version 1.
func channelIn(extra []byte) (id []byte) {
	if len(extra) == 0 || extra[0] != '{' {
		return nil
	}
	_ = eachMember(extra, func(name, value []byte) error {
		if string(name) == "channel" {
			id = plain(value)
		}
		return nil
	})
	return id
}
