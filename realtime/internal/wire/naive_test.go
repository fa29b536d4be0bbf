package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// responseBatch is the server's schema, as a descriptor for the protobuf
// library: the second opinion on what a frame holds.
var responseBatch = func() protoreflect.MessageDescriptor {
	type field = descriptorpb.FieldDescriptorProto
	scalar := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *field {
		return &field{Name: &name, JsonName: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	}
	optional := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *field { // the first of its message
		f := scalar(name, number, kind)
		f.Proto3Optional, f.OneofIndex = proto.Bool(true), proto.Int32(0)
		return f
	}
	message := func(name string, number int32, typ string) *field {
		f := scalar(name, number, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
		f.TypeName = proto.String("." + typ)
		return f
	}
	repeated := func(name string, number int32, typ string) *field {
		f := message(name, number, typ)
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		return f
	}
	const (
		typeBytes   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		typeString  = descriptorpb.FieldDescriptorProto_TYPE_STRING
		typeUint32  = descriptorpb.FieldDescriptorProto_TYPE_UINT32
		typeFixed32 = descriptorpb.FieldDescriptorProto_TYPE_FIXED32
	)
	file := &descriptorpb.FileDescriptorProto{
		Name:   proto.String("push.proto"),
		Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("ResponseBatch"), Field: []*field{repeated("responses", 1, "Response")}},
			{Name: proto.String("Response"), Field: []*field{message("outgoing_messages", 1, "OutgoingMessagesResponse")}},
			{Name: proto.String("OutgoingMessagesResponse"), Field: []*field{repeated("messages", 1, "OutgoingMessage")}},
			{Name: proto.String("OutgoingMessage"), Field: []*field{
				scalar("id", 1, typeBytes), scalar("body", 2, typeString), optional("expiry", 3, typeUint32),
				scalar("created", 4, typeFixed32), message("sender", 5, "Sender"),
			}, OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_expiry")}}},
			{Name: proto.String("Sender"), Field: []*field{scalar("type", 1, typeUint32), scalar("id", 2, typeBytes)}},
		},
	}
	d, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return d.Messages().ByName("ResponseBatch")
}()

// naiveMessage is what both decoders must agree upon.
type naiveMessage struct {
	ID, Module, Command, Params, Extra string
	Time                               time.Time
	Sender                             Sender
	Channel                            Channel
	Key                                Key
	Body                               string
	Transient                          bool
	Kept                               time.Duration
}

// naiveOf is what the naive decoders know of a message: all but its size. It
// shares no memory with it.
func naiveOf(m Record) naiveMessage {
	m.Sender.ID = strings.Clone(m.Sender.ID)
	return naiveMessage{
		strings.Clone(m.ID), m.Module, m.Command, string(m.Params), string(m.Extra), m.Time, m.Sender, m.Channel, m.Key, string(m.Body), m.Transient, m.Kept,
	}
}

// copies is how much of a message is copied out of its frame, beside the body.
func (m *naiveMessage) copies() int { return len(m.Module) + len(m.Command) + len(m.Sender.ID) }

var naiveMid = regexp.MustCompile(`^[0-9]{26}$`)

// naiveKey makes a key out of an id's digits and what is hashed. It hashes
// instead, where the digits are no mid.
func naiveKey(digits, hashed, instead string) Key {
	if !naiveMid.MatchString(digits) {
		return Key{Sum: crc32.Checksum([]byte(hashed+instead), Castagnoli) | FullSum}
	}
	epoch, _ := strconv.ParseUint(digits[:10], 10, 64)
	counter, _ := strconv.ParseUint(digits[10:], 10, 64)
	return Key{Mid{epoch, counter}, crc32.Checksum([]byte(hashed), Castagnoli) | FullSum}
}

// naiveDecode reads a frame with the protobuf library and encoding/json, all at
// once. ok is false if the frame is no valid protobuf.
func naiveDecode(frame []byte) (messages []naiveMessage, undecodable int, ok bool) {
	batch := dynamicpb.NewMessage(responseBatch)
	if proto.Unmarshal(frame, batch) != nil {
		return nil, 0, false
	}
	get := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	responses := get(batch, "responses").List()
	for i := range responses.Len() {
		list := get(get(responses.Get(i).Message(), "outgoing_messages").Message(), "messages").List()
		for j := range list.Len() {
			out := list.Get(j).Message()
			id, body := get(out, "id").Bytes(), get(out, "body").String()
			m := naiveMessage{ID: hex.EncodeToString(id), Body: body, Kept: time.Duration(get(out, "expiry").Uint()) * time.Second}
			m.Transient = out.Has(out.Descriptor().Fields().ByName("expiry")) && m.Kept == 0
			m.Key = naiveKey(m.ID, body, string(id))
			if created := get(out, "created").Uint(); created != 0 {
				m.Time = time.Unix(int64(created), 0).UTC()
			}
			by := get(out, "sender").Message()
			switch get(by, "type").Uint() {
			case 1:
				m.Sender = Sender{SenderClient, hex.EncodeToString(get(by, "id").Bytes())}
			case 2:
				m.Sender = Sender{Type: SenderBackend}
			}
			if len(id) <= maxIDSize && naiveBody(&m, body) {
				messages = append(messages, m)
			} else {
				undecodable++
			}
		}
	}
	return messages, undecodable, true
}

func naiveBody(m *naiveMessage, body string) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &fields) != nil || fields == nil {
		return false
	}
	for name, target := range map[string]*string{"module_id": &m.Module, "command": &m.Command} {
		if raw, ok := fields[name]; ok && (raw[0] != '"' || json.Unmarshal(raw, target) != nil) {
			return false
		}
	}
	m.Module = strings.ToLower(m.Module)
	for name, target := range map[string]*string{"params": &m.Params, "extra": &m.Extra} {
		if raw := fields[name]; string(raw) != "null" {
			*target = string(raw)
		}
	}
	return true
}

var exportAll = cmp.AllowUnexported(Key{}, Mid{}, reading{})

// protoSeeds are frames to begin with.
func protoSeeds(tb testing.TB) [][]byte {
	field := func(b []byte, number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
	}
	sent := wiretest.Encoded(tb, wiretest.ID, `{"module_id":"A","command":"\u00e4","params":[],"extra":{"a":[{}]}}`)
	sender := protowire.AppendBytes(protowire.AppendTag(field(nil, 1, 1), 2, protowire.BytesType), []byte{1, 0xab})
	clients := field(protowire.AppendBytes(protowire.AppendTag(slices.Clip(sent), 5, protowire.BytesType), sender), 3, 86400)
	again := append(slices.Clip(field(clients, 3, 0)), wiretest.Encoded(tb, "ff", "\ufeff{\"params\":null} ")...)
	seeds := [][]byte{
		wiretest.Frame([][]byte{sent}, nil),
		wiretest.Frame([][]byte{clients, sent}, [][]byte{again, {}, wiretest.Encoded(tb, "", `{"module_id":5}`), wiretest.Encoded(tb, "00", "{")}),
		slices.Concat(field(nil, 7, 1), wiretest.Frame([][]byte{sent}), wiretest.Frame(nil), []byte{0x25, 1, 2, 3, 4}, wiretest.Frame([][]byte{clients})),
		{0x0a, 0x80, 0x80, 0x00}, // a length in more bytes than it needs
	}
	return slices.AppendSeq(seeds, maps.Values(wiretest.BinaryFrames(tb)))
}

func newProto() Codec { return newProtoCodec() }

// FuzzProtoCodec compares the streaming decoder with the naive one, and with
// itself where a frame comes in pieces.
func FuzzProtoCodec(f *testing.F) {
	for _, frame := range protoSeeds(f) {
		f.Add(frame, uint16(len(frame)/2))
	}
	f.Fuzz(func(t *testing.T, frame []byte, cut uint16) {
		got, bad, err := readAlike(t, newProto, frame, cut)
		want, undecodable, ok := naiveDecode(frame)
		switch {
		case err != nil && !errors.Is(err, ErrFrame):
			t.Fatalf("error of a stream that has none: %v", err)
		case !ok:
			return // what can be read of a broken frame is delivered
		case err != nil && strings.Contains(err.Error(), "wire type"):
			return // groups, which the schema has not
		case err != nil:
			t.Fatalf("valid protobuf refused: %v", err)
		case len(bad) != undecodable:
			t.Errorf("%d undecodable messages, want %d: %v", len(bad), undecodable, bad)
		}
		compareRecords(t, frame, got, want)
	})
}

// historyFrame is a frame of n messages as a busy portal sends them.
func historyFrame(tb testing.TB, n int) []byte {
	messages := make([][]byte, n)
	for i := range messages {
		messages[i] = wiretest.Encoded(tb, Mid{1795421100, uint64(i + 1)}.String(), busyBody)
	}
	return wiretest.Frame(messages)
}

// BenchmarkProtoCodec reads a frame of a thousand messages, beside what the
// protobuf library and encoding/json need for the same: the ratio of the two is
// the figure to watch.
func BenchmarkProtoCodec(b *testing.B) {
	const n = 1000
	frame := historyFrame(b, n)
	benchmarkCodec(b, newProtoCodec(), frame, n, func() (int, bool) {
		got, _, ok := naiveDecode(frame)
		return len(got), ok
	})
}
