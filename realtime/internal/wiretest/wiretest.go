package wiretest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Frame builds a ResponseBatch, a response for each group of encoded
// messages.
func Frame(groups ...[][]byte) []byte {
	var batch []byte
	for _, messages := range groups {
		var out []byte
		for _, m := range messages {
			out = protowire.AppendTag(out, 1, protowire.BytesType)
			out = protowire.AppendBytes(out, m)
		}
		response := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), out)
		batch = protowire.AppendBytes(protowire.AppendTag(batch, 1, protowire.BytesType), response)
	}
	return batch
}

// Encoded is an OutgoingMessage with a body.
func Encoded(t testing.TB, id, body string) []byte {
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), raw)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), body)
	return protowire.AppendFixed32(protowire.AppendTag(b, 4, protowire.Fixed32Type), 1795421744)
}

// testID is the id of a message.
const ID = "17954211000000000000000001"

// Marked puts envelopes between marks.
func Marked(envelopes ...string) string {
	var b strings.Builder
	for _, e := range envelopes {
		b.WriteString("#!NGINXNMS!#" + e + "#!NGINXNME!#")
	}
	return b.String()
}

// Call is the frame of an incoming.message.
func Call(params string) string {
	return `{"jsonrpc":"2.0","method":"incoming.message","params":` + params + `}`
}

// GoodCall is one with a command.
func GoodCall(command string) string {
	return Call(`{"mid":"` + ID + `","body":{"module_id":"Application","command":"` + command + `"}}`)
}

// Message is an OutgoingMessage with a body of the command alone.
func Message(epoch, counter uint64, command string, fields ...func([]byte) []byte) []byte {
	id, err := hex.DecodeString(fmt.Sprintf("%010d%016d", epoch, counter))
	if err != nil {
		panic(err)
	}
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), id)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), `{"command":"`+command+`"}`)
	for _, f := range fields {
		b = f(b)
	}
	return b
}

// Recording is what a real push server answered to one request;
// testdata/README.md describes the form.
type Recording struct {
	Case   string          `json:"case"`
	Path   string          `json:"path"`
	Status int             `json:"status"`
	Frames []RecordedFrame `json:"frames"`
}

type RecordedFrame struct {
	Type string `json:"type"`
	Hex  string `json:"hex"`
	Text string `json:"text"`
	Code int    `json:"code"`
}

func (f RecordedFrame) Bytes(t testing.TB) []byte {
	if f.Type != "binary" {
		return []byte(f.Text)
	}
	b, err := hex.DecodeString(f.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testdata is the module's folder of recordings.
func testdata(t testing.TB) string {
	t.Helper()
	for dir := "."; len(dir) < 20; dir = filepath.Join("..", dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata")
		}
	}
	t.Fatal("the tests do not run within the module")
	return ""
}

// Load loads one of the version 4 server.
func Load(t testing.TB, name string) Recording {
	t.Helper()
	return LoadOf(t, "pushserver", name)
}

func LoadOf(t testing.TB, server, name string) Recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata(t), server, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Recording
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// BinaryFrames are all recorded protobuf frames of the version 4 server.
func BinaryFrames(t testing.TB) map[string][]byte {
	t.Helper()
	return Frames(t, "pushserver", "binary")
}

// Frames are all recorded frames of one server and type.
func Frames(t testing.TB, server, typ string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata(t), server, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	frames := make(map[string][]byte)
	for _, p := range paths {
		name := filepath.Base(p[:len(p)-len(".json")])
		for i, f := range LoadOf(t, server, name).Frames {
			if f.Type == typ {
				frames[name+string(rune('a'+i))] = f.Bytes(t)
			}
		}
	}
	return frames
}

// Seeds is how many seeds a random test runs: the usual number, or what
// B24PULL_SEEDS says.
func Seeds(t *testing.T, usual int) int { return Number(t, "B24PULL_SEEDS", usual) }

// Number is what an environment variable says, or the usual number.
func Number(t *testing.T, variable string, usual int) int {
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
