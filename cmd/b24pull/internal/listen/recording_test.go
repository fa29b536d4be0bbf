package listen

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A recording is what a real push server answered to one request;
// testdata/README.md describes the form.
type recording struct {
	Path    string            `json:"path"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Frames  []recordedFrame   `json:"frames"`
}

type recordedFrame struct {
	Type string `json:"type"`
	Text string `json:"text"`
	Hex  string `json:"hex"`
}

func loadRecording(t testing.TB, dir, name string) recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "testdata", dir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var rec recording
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return rec
}

func (f recordedFrame) bytes(t testing.TB) []byte {
	if f.Type != "binary" {
		return []byte(f.Text)
	}
	b, err := hex.DecodeString(f.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// body is the frames in a row: the body of an answer that is no websocket.
func (rec recording) body(t testing.TB) (b []byte) {
	for _, f := range rec.Frames {
		b = append(b, f.bytes(t)...)
	}
	return b
}

// channel is the CHANNEL_ID that was asked for.
func (rec recording) channel(t testing.TB) string {
	u, err := url.Parse(rec.Path)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("CHANNEL_ID")
}

// A message is one of a recording.
type message struct {
	raw  []byte // as it stands in the frame, with what sets it apart from its neighbours
	mid  string // "" on versions 1 and 2
	tag  int
	time time.Time
	body content
}

// same reports whether two are one message. Where there is a mid, tag and time
// can be those of the sending.
func (m message) same(o message) bool {
	return m.mid == o.mid && (m.mid != "" || m.tag == o.tag && m.time.Equal(o.time))
}

// content is the portal's part of a message.
type content struct {
	Module  string          `json:"module_id"`
	Command string          `json:"command"`
	Params  json.RawMessage `json:"params"`
}

// messages cuts the frames at the borders of their messages.
func (rec recording) messages(t testing.TB) (list []message) {
	for _, f := range rec.Frames {
		if f.Type == "binary" {
			list = append(list, cutBatch(t, f.bytes(t))...)
		} else {
			list = append(list, cutText(t, f.bytes(t))...)
		}
	}
	return list
}

const textStart, textEnd = "#!NGINXNMS!#", "#!NGINXNME!#"

// cutText goes by the JSON between the delimiters: a string in it may hold one.
func cutText(t testing.TB, frame []byte) (list []message) {
	for len(frame) > 0 {
		var head struct {
			Mid  string  `json:"mid"`
			Tag  string  `json:"tag"`
			Time string  `json:"time"`
			Text content `json:"text"`
		}
		in, delimited := bytes.CutPrefix(frame, []byte(textStart))
		dec := json.NewDecoder(bytes.NewReader(in))
		if err := dec.Decode(&head); err != nil || !delimited || !bytes.HasPrefix(in[dec.InputOffset():], []byte(textEnd)) {
			t.Fatalf("%v in %s", err, frame)
		}
		at, err := http.ParseTime(head.Time)
		tag, tagErr := strconv.Atoi(head.Tag)
		if err != nil || tagErr != nil {
			t.Fatal(err, tagErr)
		}
		n := len(textStart) + int(dec.InputOffset()) + len(textEnd)
		list = append(list, message{raw: frame[:n], mid: head.Mid, tag: tag, time: at, body: head.Text})
		frame = frame[n:]
	}
	return list
}

// cutBatch takes a ResponseBatch apart: responses, their outgoing messages,
// each of these.
func cutBatch(t testing.TB, frame []byte) (list []message) {
	fields(t, frame, func(_ protowire.Number, _, response []byte) {
		fields(t, response, func(_ protowire.Number, _, outgoing []byte) {
			fields(t, outgoing, func(_ protowire.Number, raw, value []byte) {
				list = append(list, outgoingMessage(t, raw, value))
			})
		})
	})
	return list
}

func outgoingMessage(t testing.TB, raw, value []byte) message {
	m := message{raw: raw}
	fields(t, value, func(num protowire.Number, _, value []byte) {
		switch num {
		case 1:
			m.mid = hex.EncodeToString(value)
		case 2:
			if err := json.Unmarshal(value, &m.body); err != nil {
				t.Fatal(err)
			}
		case 4:
			seconds, _ := protowire.ConsumeFixed32(value)
			m.time = time.Unix(int64(seconds), 0).UTC()
		}
	})
	return m
}

// fields visits the fields of a message: number, the whole field, and its value
// without a length before it.
func fields(t testing.TB, b []byte, visit func(num protowire.Number, raw, value []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		_, _, head := protowire.ConsumeTag(b)
		value := b[head:n]
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		visit(num, b[:n], value)
		b = b[n:]
	}
}

// join makes one frame, or one answer to a poll, of messages.
func join(list []message, binary bool) (frame []byte) {
	for _, m := range list {
		frame = append(frame, m.raw...)
	}
	if !binary {
		return frame
	}
	for range 2 { // OutgoingMessagesResponse in a Response, Response in a ResponseBatch: field 1 each
		frame = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), frame)
	}
	return frame
}
