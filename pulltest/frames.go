package pulltest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	textStart = "#!NGINXNMS!#"
	textEnd   = "#!NGINXNME!#"
)

// Sender types of the push server's protobuf messages.
const (
	senderClient  = 1
	senderBackend = 2
)

// sender says who published a message; id is the raw public id of a client.
type sender struct {
	kind int
	id   []byte
}

// message is one published message as the push server knows it.
type message struct {
	mid     string // 26 digits
	seq     uint64
	body    string
	expiry  time.Duration
	created time.Time
	from    sender
	extras  extras
	encoded []byte // as protobuf OutgoingMessage
	answer  bool   // to a request of the client itself: what is encoded is all of a frame

	// what the copy for one channel has of its own
	to     channelKey
	first  string // of the channels it was sent to
	tag    int    // versions 1 and 2
	number uint64
}

func newMessage(epoch int64, seq uint64, body string, expiry time.Duration, now time.Time, from sender) *message {
	m := &message{
		mid:     fmt.Sprintf("%010d%016d", epoch, seq),
		seq:     seq,
		body:    body,
		expiry:  expiry,
		created: now,
		from:    from,
	}
	m.encoded = m.encode(uint32(now.Unix()))
	return m
}

// inMilliseconds is the message as a binary frame has it while a text-mode
// subscriber listens too: that one's stamp makes milliseconds of created, which
// does not hold them.
func (m *message) inMilliseconds() *message {
	c := *m
	c.encoded = m.encode(uint32(m.created.UnixMilli()))
	return &c
}

// broken is the message with a body that is no JSON.
func (m *message) broken() *message {
	b := *m
	b.body = `{"module_id":"broken` + garbage
	b.encoded = b.encode(uint32(b.created.Unix()))
	return &b
}

func (m *message) expired(now time.Time) bool {
	return now.Sub(m.created) >= m.expiry
}

// encode writes every field, also an expiry of 0, as the real server does.
func (m *message) encode(created uint32) []byte {
	id, err := hex.DecodeString(m.mid)
	if err != nil {
		panic("pulltest: a mid is not decimal: " + m.mid)
	}
	b := appendBytes(nil, 1, id)
	b = appendBytes(b, 2, []byte(m.body))
	b = appendVarint(b, 3, uint64(m.expiry/time.Second))
	b = protowire.AppendTag(b, 4, protowire.Fixed32Type)
	b = binary.LittleEndian.AppendUint32(b, created)
	s := appendVarint(nil, 1, uint64(m.from.kind))
	if m.from.id != nil {
		s = appendBytes(s, 2, m.from.id)
	}
	return appendBytes(b, 5, s)
}

// binaryFrame is a ResponseBatch with one OutgoingMessagesResponse. A history
// can be many megabytes, so it is written in one piece of the right size.
func binaryFrame(messages []*message) []byte {
	if len(messages) == 1 && messages[0].answer {
		return messages[0].encoded
	}
	list := 0
	for _, m := range messages {
		list += bytesSize(len(m.encoded))
	}
	b := make([]byte, 0, bytesSize(bytesSize(list)))
	for _, size := range []int{bytesSize(list), list} { // the response in the batch, and the messages in that: field 1 of each
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
	}
	for _, m := range messages {
		b = appendBytes(b, 1, m.encoded)
	}
	return b
}

// bytesSize is how long a field of n bytes is, of a number below 16.
func bytesSize(n int) int { return protowire.SizeTag(1) + protowire.SizeBytes(n) }

// textFrame is the framing of versions 1 to 3; head names the members before
// the body.
func textFrame(messages []*message, head func(*message) string) []byte {
	size := 0
	for _, m := range messages {
		size += len(m.body) + 256
	}
	b := make([]byte, 0, size)
	for _, m := range messages {
		b = fmt.Appendf(b, `%s{%s,"text":%s}%s`, textStart, head(m), m.body, textEnd)
	}
	return b
}

// statsFrame is a ResponseBatch with one ChannelStatsResponse.
func statsFrame(asked []receiver, online []bool) []byte {
	var list []byte
	for i, r := range asked {
		c := appendBytes(nil, 1, r.id)
		c = appendVarint(c, 2, protowire.EncodeBool(r.private))
		c = appendVarint(c, 3, protowire.EncodeBool(online[i]))
		list = appendBytes(list, 1, c)
	}
	return response(2, list)
}

// jsonFrame is a ResponseBatch with one JsonResponse.
func jsonFrame(text []byte) []byte {
	return response(3, appendBytes(nil, 1, text))
}

func response(field protowire.Number, content []byte) []byte {
	return appendBytes(nil, 1, appendBytes(nil, field, content))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}

func appendVarint(b []byte, field protowire.Number, value uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, value)
}
