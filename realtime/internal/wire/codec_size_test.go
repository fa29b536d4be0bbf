package wire

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// TestCodecSize_SizeCountsCopies: what a message pins counts, also names that
// are copied.
func TestCodecSize_SizeCountsCopies(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	body := `{"module_id":"` + long + `","command":"` + long + `"}`
	sender := protowire.AppendBytes(protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1), 2, protowire.BytesType), []byte(long))
	sent := protowire.AppendBytes(protowire.AppendTag(wiretest.Encoded(t, wiretest.ID, body), 5, protowire.BytesType), sender)
	for name, frame := range map[string]struct {
		codec  Codec
		frame  string
		copies int
	}{
		"protobuf": {newProtoCodec(), string(wiretest.Frame([][]byte{sent})), 4}, // the sender's is in hex
		"JSON-RPC": {newRPCCodec(nil), wiretest.Call(`{"mid":"` + wiretest.ID + `","body":` + body + `}`), 2},
		"text":     {newTextCodec(textOptions{}), wiretest.Marked(`{"mid":"` + wiretest.ID + `","text":` + body + `}`), 2},
	} {
		messages, _, err := decodeWith(frame.codec, strings.NewReader(frame.frame))
		if err != nil || len(messages) != 1 {
			t.Fatalf("%s: %d messages, %v", name, len(messages), err)
		}
		m := messages[0]
		if copies := len(m.Module) + len(m.Command) + len(m.Sender.ID); copies != frame.copies*len(long) || m.Size < len(body)+copies {
			t.Errorf("%s: %d bytes for a body of %d and copies of %d", name, m.Size, len(body), copies)
		}
	}
}
