package realtime

import (
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull/pulltest"
)

// TestByteOrderMarks: frames of JSON are read with one before them.
func TestByteOrderMarks(t *testing.T) {
	const body = `{"module_id":"a","command":"c"}`
	for name, tt := range map[string]struct {
		codec codec
		frame string
	}{
		"text":         {newTextCodec(textOptions{}), "\ufeff" + marked(`{"mid":"`+testID+`","text":`+body+`}`)},
		"text, twice":  {newTextCodec(textOptions{}), "\ufeff\r\n\ufeff" + marked(`{"mid":"`+testID+`","text":`+body+`}`)},
		"RPC":          {newRPCCodec(), "\ufeff" + goodRPC("c")},
		"a batch":      {newRPCCodec(), "\ufeff[" + goodRPC("c") + "]"},
		"text by RPC":  {newRPCCodec(), "\ufeff" + marked(`{"mid":"`+testID+`","text":`+body+`}`)},
		"the RPC body": {newRPCCodec(), rpcCall(`{"mid":"` + testID + `","body":"\ufeff{\"module_id\":\"a\",\"command\":\"c\"}"}`)},
	} {
		var got []string
		err := tt.codec.decode(strings.NewReader(tt.frame), func(m Message, err error) bool {
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
	for name, c := range map[string]codec{"text": newTextCodec(textOptions{}), "RPC": newRPCCodec()} {
		if err := c.decode(strings.NewReader("\ufeff"), func(Message, error) bool { t.Errorf("%s: a message", name); return true }); err != nil {
			t.Errorf("%s: nothing but a mark: %v", name, err)
		}
	}
}

// TestPHPRelay: where PHP with byte order marks answers REST and relays the
// polls, nothing is lost.
func TestPHPRelay(t *testing.T) {
	for _, version := range []int{1, 3, 5} {
		onVirtualTime(t, func(t *testing.T, l *life) {
			l.open(pulltest.WithVersion(version))
			l.portal.Misbehave(pulltest.REST|pulltest.Polls, pulltest.ByteOrderMark)
			l.subscribe(nil, WithTransport(TransportLongPolling))
			l.run(nil)
			<-l.sub.Ready()
			l.tickFor(2*time.Minute, time.Second)
			time.Sleep(time.Minute)
			l.wantTicks()
			if n := countEvents[Undecodable](l); n > 0 {
				t.Errorf("version %d: %d messages could not be decoded", version, n)
			}
		})
	}
}
