package main

import (
	"strings"
	"testing"

	"github.com/b24pull/b24pull/realtime"
)

// TestSenderIsShown: another client's message looks like the portal's but for its sender.
func TestSenderIsShown(t *testing.T) {
	for sender, want := range map[realtime.Sender][2]string{
		{Type: realtime.SenderBackend}:            {"  backend  ", `"sender":"backend","replayed"`},
		{Type: realtime.SenderClient, ID: "3d52"}: {"  client   ", `"sender":"client","sender_id":"3d52","replayed"`},
	} {
		for i, asJSON := range []bool{false, true} {
			var out strings.Builder
			if err := printEvent(&out, realtime.Message{Module: "application", Command: "hello", Sender: sender}, asJSON); err != nil || !strings.Contains(out.String(), want[i]) {
				t.Errorf("printed %q, %v; want %q in it", out.String(), err, want[i])
			}
		}
	}
}
