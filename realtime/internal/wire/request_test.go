package wire

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// requestSchema is the server's schema of what clients ask and are answered.
var requestSchema = func() protoreflect.MessageDescriptors {
	var file descriptorpb.FileDescriptorProto
	field := func(name string, number, kind string) string {
		return `field { name: "` + name + `" json_name: "` + name + `" number: ` + number + ` ` + kind + ` }`
	}
	const (
		one    = `label: LABEL_OPTIONAL `
		many   = `label: LABEL_REPEATED `
		bytes  = one + `type: TYPE_BYTES`
		text   = one + `type: TYPE_STRING`
		flag   = one + `type: TYPE_BOOL`
		number = one + `type: TYPE_UINT32`
	)
	of := func(label, name string) string { return label + `type: TYPE_MESSAGE type_name: ".` + name + `"` }
	message := func(name string, fields ...string) string {
		s := `message_type { name: "` + name + `" `
		for _, f := range fields {
			s += f + "\n"
		}
		return s + "}\n"
	}
	schema := `name: "request.proto" syntax: "proto3"` +
		message("RequestBatch", field("requests", "1", of(many, "Request"))) +
		message("Request", field("messages", "1", of(one, "IncomingMessagesRequest")), field("stats", "2", of(one, "ChannelStatsRequest"))) +
		message("IncomingMessagesRequest", field("messages", "1", of(many, "IncomingMessage"))) +
		message("IncomingMessage", field("receivers", "1", of(many, "Receiver")), field("body", "3", text), field("expiry", "4", number)) +
		message("Receiver", field("id", "1", bytes), field("isPrivate", "2", flag), field("signature", "3", bytes)) +
		message("ChannelStatsRequest", field("channels", "1", of(many, "Receiver"))) +
		message("ResponseBatch", field("responses", "1", of(many, "Response"))) +
		message("Response", field("stats", "2", of(one, "ChannelStatsResponse"))) +
		message("ChannelStatsResponse", field("channels", "1", of(many, "ChannelStats"))) +
		message("ChannelStats", field("id", "1", bytes), field("isPrivate", "2", flag), field("isOnline", "3", flag))
	if err := prototext.Unmarshal([]byte(schema), &file); err != nil {
		panic(err)
	}
	d, err := protodesc.NewFile(&file, nil)
	if err != nil {
		panic(err)
	}
	return d.Messages()
}()

func unmarshal(t *testing.T, name protoreflect.Name, data []byte) protoreflect.Message {
	t.Helper()
	m := dynamicpb.NewMessage(requestSchema.ByName(name))
	if err := proto.Unmarshal(data, m); err != nil {
		t.Fatalf("%x: %v", data, err)
	}
	return m
}

func value(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

// receiversOf are the receivers that the protobuf library reads.
func receiversOf(list protoreflect.List) (all []Receiver) {
	for i := range list.Len() {
		r := list.Get(i).Message()
		all = append(all, Receiver{value(r, "id").Bytes(), value(r, "signature").Bytes()})
	}
	return all
}

// sameReceivers and their like compare without reflection: a fuzzer is to get
// on.
func sameReceivers(a, b []Receiver) bool {
	return slices.EqualFunc(a, b, func(a, b Receiver) bool { return bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Signature, b.Signature) })
}

func samePublications(a, b []Publication) bool {
	return slices.EqualFunc(a, b, func(a, b Publication) bool {
		return a.Expiry == b.Expiry && bytes.Equal(a.Body, b.Body) && sameReceivers(a.Receivers, b.Receivers)
	})
}

func sameStats(a, b []ChannelStats) bool {
	return slices.EqualFunc(a, b, func(a, b ChannelStats) bool { return a.Online == b.Online && bytes.Equal(a.ID, b.ID) })
}

// FuzzRequest: the protobuf library reads what is written here, and writes what
// is read here. Inputs are cut, since each is written many times over, and a fuzzer
// takes one for a failure that keeps a busy machine for ten seconds.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("signature of 20 byte"), "{}", uint32(60), uint8(1), uint8(2))
	f.Add([]byte{}, []byte{}, "", uint32(0), uint8(0), uint8(0))
	f.Add([]byte{0xff}, []byte{}, "x", uint32(1<<31), uint8(3), uint8(31))
	f.Fuzz(func(t *testing.T, id, signature []byte, body string, expiry uint32, messages, receivers uint8) {
		const maxID, maxBody = 16 << 10, 1 << 20
		messages, receivers = messages%4, receivers%32
		id, signature, body = id[:min(len(id), maxID)], signature[:min(len(signature), maxID)], body[:min(len(body), maxBody)]
		body = string(bytes.ToValidUTF8([]byte(body), nil))
		var to []Receiver
		for i := range receivers {
			to = append(to, Receiver{append([]byte{i}, id...), signature})
		}
		var all []Publication
		size := RequestFrame
		for i := range messages {
			p := Publication{to, []byte(body), expiry / (uint32(i) + 1)}
			all = append(all, p)
			size += p.Size()
		}
		data := AppendPublish(nil, all)
		if len(data) > size || size <= 2<<20 && len(data) < size-RequestFrame {
			t.Errorf("%d bytes, and the sizes say %d", len(data), size)
		}
		request := value(unmarshal(t, "RequestBatch", data), "requests").List()
		if request.Len() != 1 {
			t.Fatalf("%d requests", request.Len())
		}
		var got []Publication
		list := value(value(request.Get(0).Message(), "messages").Message(), "messages").List()
		for i := range list.Len() {
			m := list.Get(i).Message()
			got = append(got, Publication{receiversOf(value(m, "receivers").List()), []byte(value(m, "body").String()), uint32(value(m, "expiry").Uint())})
		}
		if !samePublications(all, got) {
			t.Errorf("(-want +got):\n%s", cmp.Diff(all, got))
		}
		asked := value(unmarshal(t, "RequestBatch", AppendChannelStats(nil, to)), "requests").List().Get(0).Message()
		if got := receiversOf(value(value(asked, "stats").Message(), "channels").List()); !sameReceivers(to, got) {
			t.Errorf("channels (-want +got):\n%s", cmp.Diff(to, got))
		}
		roundTripStats(t, to, messages)
	})
}

// roundTripStats: what the protobuf library writes of channels is read.
func roundTripStats(t *testing.T, channels []Receiver, online uint8) {
	batch := dynamicpb.NewMessage(requestSchema.ByName("ResponseBatch"))
	responses := batch.Mutable(batch.Descriptor().Fields().ByName("responses")).List()
	response := responses.AppendMutable().Message()
	stats := response.Mutable(response.Descriptor().Fields().ByName("stats")).Message()
	list := stats.Mutable(stats.Descriptor().Fields().ByName("channels")).List()
	var want []ChannelStats
	for i, c := range channels {
		m := list.AppendMutable().Message()
		m.Set(m.Descriptor().Fields().ByName("id"), protoreflect.ValueOfBytes(c.ID))
		m.Set(m.Descriptor().Fields().ByName("isOnline"), protoreflect.ValueOfBool(i < int(online)))
		want = append(want, ChannelStats{c.ID, i < int(online)})
	}
	data, err := proto.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseChannelStats(data)
	if err != nil {
		t.Fatal(err)
	}
	if !sameStats(want, got) {
		t.Errorf("answer (-want +got):\n%s", cmp.Diff(want, got))
	}
}

// FuzzChannelStats: whatever a server answers, the reader says what the
// protobuf library says, or refuses.
func FuzzChannelStats(f *testing.F) {
	for _, frame := range wiretest.BinaryFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := ParseChannelStats(answer)
		batch := dynamicpb.NewMessage(requestSchema.ByName("ResponseBatch"))
		if proto.Unmarshal(answer, batch) != nil || err != nil {
			return
		}
		var want []ChannelStats
		responses := value(batch, "responses").List()
		for i := range responses.Len() {
			list := value(value(responses.Get(i).Message(), "stats").Message(), "channels").List()
			for j := range list.Len() {
				m := list.Get(j).Message()
				want = append(want, ChannelStats{value(m, "id").Bytes(), value(m, "isOnline").Bool()})
			}
		}
		if !sameStats(want, got) {
			t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
		}
	})
}

// TestRequest_ChannelStatsRecorded reads what a real server has answered, and
// refuses what is no such answer.
func TestRequest_ChannelStatsRecorded(t *testing.T) {
	stats, err := ParseChannelStats(wiretest.Load(t, "ws_channel_stats").Frames[0].Bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, s := range stats {
		got += hex.EncodeToString(s.ID)[:4] + map[bool]string{true: " online ", false: " offline "}[s.Online]
	}
	if got != "3d52 online f4e9 offline " {
		t.Errorf("got %s", got)
	}
	for name, answer := range map[string][]byte{
		"empty": nil, "a page": []byte("<html>"), "messages": wiretest.Load(t, "ws_binary").Frames[0].Bytes(t), "cut": {0x0a, 0x05, 0x12},
	} {
		if _, err := ParseChannelStats(answer); err == nil {
			t.Errorf("%s: taken for channel statistics", name)
		}
	}
}
