package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
)

// A stream is what a firehose sends, made beforehand: message 0 was kept before
// there was a connection, the others come live.
type stream struct {
	framing  framing
	perFrame int
	messages [][]byte // each as it stands in a frame
	sent     []byte   // websocket frames of all but the first, one behind the other
	ends     []int    // where each of them ends
}

// framing is how the push servers of a version write messages.
type framing struct {
	name    string
	version int
	kind    byte // of the websocket's frames
	message func(mid, body string) []byte
	frame   func(messages [][]byte) []byte
}

const (
	channelID = "5a1c0000000000000000000000000001:5a1c0000000000000000000000000002.signature"
	epoch     = 1795421100
	created   = 1795421744
	// createdText is the same as text has it.
	createdText = "Mon, 23 Nov 2026 08:15:44 GMT"
)

var framings = []framing{
	{"protobuf", 4, websocket.BinaryMessage, protobufMessage, func(messages [][]byte) []byte { return bytes.Join(messages, nil) }},
	{"text", 3, websocket.TextMessage, textMessage, func(messages [][]byte) []byte { return bytes.Join(messages, nil) }},
	{"JSON-RPC", 5, websocket.TextMessage, rpcMessage, rpcFrame},
}

func framingOf(version int) (framing, bool) {
	i := slices.IndexFunc(framings, func(f framing) bool { return f.version == version })
	if i < 0 {
		return framing{}, false
	}
	return framings[i], true
}

// protobufMessage is a batch of one response, as servers gather them.
func protobufMessage(mid, body string) []byte {
	id, err := hex.DecodeString(mid)
	if err != nil {
		panic(err)
	}
	m := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), id)
	m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), body)
	m = protowire.AppendVarint(protowire.AppendTag(m, 3, protowire.VarintType), 86400)
	m = protowire.AppendFixed32(protowire.AppendTag(m, 4, protowire.Fixed32Type), created)
	sender := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 2)
	m = protowire.AppendBytes(protowire.AppendTag(m, 5, protowire.BytesType), sender)
	for range 3 { // OutgoingMessagesResponse, Response, ResponseBatch
		m = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), m)
	}
	return m
}

func textMessage(mid, body string) []byte {
	return fmt.Appendf(nil, `#!NGINXNMS!#{"id":1,"mid":"%s","channel":"%.32s","tag":"1","time":"%s","text":%s}#!NGINXNME!#`, mid, channelID, createdText, body)
}

func rpcMessage(mid, body string) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"%s","body":%s,"sender":{"type":2,"id":""}}}`, mid, body)
}

func rpcFrame(messages [][]byte) []byte {
	return slices.Concat([]byte("["), bytes.Join(messages, []byte(",")), []byte("]"))
}

// midOf is the id of a message.
func midOf(n int) string { return fmt.Sprintf("%010d%016d", epoch, n+1) }

// bodyOf is a body of about so many bytes.
func bodyOf(n, size int) string {
	head := fmt.Sprintf(`{"module_id":"application","command":"tick","params":{"n":%d,"text":"`, n)
	tail := fmt.Sprintf(`"},"extra":{"server_time_unix":%d.5}}`, created)
	return head + strings.Repeat("x", max(0, size-len(head)-len(tail))) + tail
}

func newStream(f framing, count, size, perFrame int) *stream {
	s := &stream{framing: f, perFrame: perFrame, messages: make([][]byte, 0, count+1)}
	for n := range count + 1 {
		s.messages = append(s.messages, f.message(midOf(n), bodyOf(n, size)))
	}
	for live := range slices.Chunk(s.messages[1:], perFrame) {
		s.sent = appendFrame(s.sent, f.kind, f.frame(live))
		s.ends = append(s.ends, len(s.sent))
	}
	return s
}

// appendFrame appends a frame of a websocket as servers write them.
func appendFrame(b []byte, kind byte, payload []byte) []byte {
	b = append(b, 0x80|kind)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// after is what a poll is answered that asks for what follows a mid, when so
// many frames have been sent; nil if there is nothing.
func (s *stream) after(mid string, frames int) []byte {
	known := min(1+frames*s.perFrame, len(s.messages))
	first := 0
	if mid >= midOf(0) {
		_, _ = fmt.Sscanf(strings.TrimLeft(mid[10:], "0"), "%d", &first)
	}
	if first >= known {
		return nil
	}
	return s.framing.frame(s.messages[first:known])
}

// lifetime is how long a channel is said to last.
const lifetime = 12 * time.Hour
