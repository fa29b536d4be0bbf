package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// decodeAll decodes one protobuf frame.
func decodeAll(frame io.Reader) (messages []Record, bad []error, err error) {
	return decodeWith(newProtoCodec(), frame)
}

func decodeWith(c Codec, frame io.Reader) (messages []Record, bad []error, err error) {
	err = c.Decode(frame, func(m *Record, err error) bool {
		if err != nil {
			bad = append(bad, err)
		} else {
			messages = append(messages, *m)
		}
		return true
	})
	return messages, bad, err
}

// summary is a message as the golden rows of TestCodecProto_RecordedFrames name
// it.
func summary(m Record) string {
	return fmt.Sprintf("%s %s %s %s %s %s", m.ID, m.Time.Format(time.RFC3339), m.Sender.Type, m.Module, m.Command, m.Params)
}

func TestCodecProto_RecordedFrames(t *testing.T) {
	const (
		one = `17954211000000000000053284 2026-11-23T08:15:44Z backend application one {"text":"первое ✓","empty":[]}`
		two = `17954211000000000000053285 2026-11-23T08:15:44Z backend application two {"text":"second","empty":[]}`
		// the same two again, two seconds later
		three = `17954211000000000000053286 2026-11-23T08:15:46Z backend application one {"text":"первое ✓","empty":[]}`
		four  = `17954211000000000000053287 2026-11-23T08:15:46Z backend application two {"text":"second","empty":[]}`
		both  = `17954349440000000000000001 2026-11-23T11:55:44Z backend application tick {"text":"both"}`
	)
	tests := map[string][]string{
		"ws_binary":           {one, two},
		"ws_history_binary":   {one, two, three, four},
		"poll_history_binary": {one, two, three, four},
		"ws_both_receivers":   {both, both},
		"poll_both_receivers": {both, both},
		"poll_live_binary":    {`17954349440000000000000003 2026-11-23T11:55:47Z backend application tick {"text":"live"}`},
		"ws_two_requests":     {`17954349440000000000000002 2026-11-23T11:55:45Z backend application tick {"text":"first"}`},
		"ws_client_message":   {`17954211000000000000053288 2026-11-23T08:15:47Z client application hello {"text":"from alice","empty":[]}`},
		"ws_channel_stats":    nil, // a batch without messages
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range wiretest.Load(t, name).Frames {
				messages, bad, err := decodeAll(bytes.NewReader(f.Bytes(t)))
				if err != nil || len(bad) > 0 {
					t.Errorf("error %v, undecodable %v", err, bad)
				}
				for _, m := range messages {
					got = append(got, summary(m))
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the sender's public id", func(t *testing.T) {
		messages, _, _ := decodeAll(bytes.NewReader(wiretest.Load(t, "ws_client_message").Frames[0].Bytes(t)))
		if want := "3d523b1f54acc1314542f48e1c770a6d"; messages[0].Sender.ID != want {
			t.Errorf("sender %q, want %q", messages[0].Sender.ID, want)
		}
	})
}

func TestCodecProto_DecodeSkipsTheUndecodable(t *testing.T) {
	good := func(command string) []byte {
		return wiretest.Encoded(t, wiretest.ID, `{"module_id":"Application","command":"`+command+`"}`)
	}
	bad := map[string][]byte{
		"no JSON":               wiretest.Encoded(t, wiretest.ID, `{"module_id":`),
		"empty body":            wiretest.Encoded(t, wiretest.ID, ``),
		"an array":              wiretest.Encoded(t, wiretest.ID, `[]`),
		"command is a number":   wiretest.Encoded(t, wiretest.ID, `{"module_id":"m","command":5}`),
		"module is null":        wiretest.Encoded(t, wiretest.ID, `{"module_id":null,"command":"c"}`),
		"garbled message":       {0x0a, 0x7f, 1},
		"over the limit":        wiretest.Encoded(t, wiretest.ID, `"`+strings.Repeat("x", MaxMessageSize)+`"`),
		"deep nesting, no JSON": wiretest.Encoded(t, wiretest.ID, strings.Repeat("[", 20000)),
	}
	for name, message := range bad {
		t.Run(name, func(t *testing.T) {
			frame := wiretest.Frame([][]byte{good("before"), message, good("behind")}, [][]byte{good("next")})
			var source io.Reader = bytes.NewReader(frame)
			if len(frame) < 1<<20 {
				source = iotest.OneByteReader(source)
			}
			messages, bad, err := decodeAll(source)
			var commands []string
			for _, m := range messages {
				commands = append(commands, m.Module+" "+m.Command)
			}
			if diff := cmp.Diff([]string{"application before", "application behind", "application next"}, commands); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var decodeErr *RecordError
			if err != nil || len(bad) != 1 || !errors.As(bad[0], &decodeErr) {
				t.Errorf("error %v, undecodable %v", err, bad)
			}
		})
	}
}

// TestCodecProto_DecodeBrokenFrame: a frame whose framing is broken is told
// from a connection that is.
func TestCodecProto_DecodeBrokenFrame(t *testing.T) {
	whole := wiretest.Frame([][]byte{wiretest.Encoded(t, wiretest.ID, `{"module_id":"m","command":"c"}`)})
	cut := errors.New("connection reset")
	tests := []struct {
		name  string
		frame io.Reader
		want  error
	}{
		{"cut short", bytes.NewReader(whole[:len(whole)-3]), ErrFrame},
		{"within a tag", bytes.NewReader(append(bytes.Clone(whole), 0x80)), ErrFrame},
		{"garbage", strings.NewReader("garbage"), ErrFrame},
		{"longer than what encloses it", bytes.NewReader([]byte{0x0a, 0x02, 0x0a, 0x7f, 0, 0}), ErrFrame},
		{"impossible length", bytes.NewReader([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}), ErrFrame},
		{"group", bytes.NewReader([]byte{0x0b, 0x0c}), ErrFrame},
		{"connection lost", io.MultiReader(bytes.NewReader(whole[:len(whole)-3]), iotest.ErrReader(cut)), cut},
		{"nothing", strings.NewReader(""), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := decodeAll(tt.frame); !errors.Is(err, tt.want) || errors.Is(err, ErrFrame) != (tt.want == ErrFrame) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCodecProto_ParseBody(t *testing.T) {
	tests := []struct {
		body                           string
		module, command, params, extra string
	}{
		{`{"module_id":"crm","command":"a","params":{"x":[1,{"y":"}"}]},"extra":{"n":1}}`, "crm", "a", `{"x":[1,{"y":"}"}]}`, `{"n":1}`},
		{" {\n\"command\" : \"a\\u0062\" ,\t\"module_id\" : \"CRM\" , \"params\" : [ ] } ", "crm", "ab", `[ ]`, ""},
		{`{"module_id":"m","command":"c","params":null,"extra":null}`, "m", "c", "", ""},
		{`{"module_id":"m","command":"c","params":"}\"{","more":true,"n":-1.5e3}`, "m", "c", `"}\"{"`, ""},
		{`{"module_id":"m","command":"c","params":12}`, "m", "c", "12", ""},
		{`{"module_\u0069d":"m","command":"c","params":false,"x":{"params":1}}`, "m", "c", "false", ""},
		{"{\"module_id\":\"m\",\"command\":\"a\xff\"}", "m", "a\ufffd", "", ""},
		{`{"params":{"a":1},"params":{"a":2}}`, "", "", `{"a":2}`, ""},
		{`{}`, "", "", "", ""},
	}
	for _, tt := range tests {
		var n names
		var m Record
		if err := n.parseBody(&m, []byte(tt.body)); err != nil {
			t.Errorf("%s: %v", tt.body, err)
		}
		if m.Module != tt.module || m.Command != tt.command || string(m.Params) != tt.params || string(m.Extra) != tt.extra {
			t.Errorf("%s: %+v", tt.body, m)
		}
	}
}
