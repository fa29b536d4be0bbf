package wire

import (
	"strings"
	"testing"

	"github.com/b24pull/b24pull/realtime/internal/wiretest"
)

// TestCodecBom_ByteOrderMarks: frames of JSON are read with one before them.
func TestCodecBom_ByteOrderMarks(t *testing.T) {
	const body = `{"module_id":"a","command":"c"}`
	for name, tt := range map[string]struct {
		codec Codec
		frame string
	}{
		"text":         {newTextCodec(textOptions{}), "\ufeff" + wiretest.Marked(`{"mid":"`+wiretest.ID+`","text":`+body+`}`)},
		"text, twice":  {newTextCodec(textOptions{}), "\ufeff\r\n\ufeff" + wiretest.Marked(`{"mid":"`+wiretest.ID+`","text":`+body+`}`)},
		"RPC":          {newRPCCodec(nil), "\ufeff" + wiretest.GoodCall("c")},
		"a batch":      {newRPCCodec(nil), "\ufeff[" + wiretest.GoodCall("c") + "]"},
		"text by RPC":  {newRPCCodec(nil), "\ufeff" + wiretest.Marked(`{"mid":"`+wiretest.ID+`","text":`+body+`}`)},
		"the RPC body": {newRPCCodec(nil), wiretest.Call(`{"mid":"` + wiretest.ID + `","body":"\ufeff{\"module_id\":\"a\",\"command\":\"c\"}"}`)},
	} {
		var got []string
		err := tt.codec.Decode(strings.NewReader(tt.frame), func(m *Record, err error) bool {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = append(got, m.Command)
			return true
		})
		if err != nil || strings.Join(got, " ") != "c" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, c := range map[string]Codec{"text": newTextCodec(textOptions{}), "RPC": newRPCCodec(nil)} {
		if err := c.Decode(strings.NewReader("\ufeff"), func(*Record, error) bool { t.Errorf("%s: a message", name); return true }); err != nil {
			t.Errorf("%s: nothing but a mark: %v", name, err)
		}
	}
}
