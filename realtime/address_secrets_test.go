package realtime

import (
	"errors"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/config"
)

// TestSecrets_AddressOfAConfigIsSecret: what a push server's address has of
// users and queries is told as little as the channels are; its host and path
// can be.
func TestSecrets_AddressOfAConfigIsSecret(t *testing.T) {
	cfg := &b24pull.Config{
		Server: b24pull.Server{
			Version: 4, WebSocketEnabled: true,
			WebSocketSecure:   "wss://rt.example/sub/?key=qu3rys3cr3tvalue&n=1&b4rev4lue",
			LongPollingSecure: "https://us3rname:p4ssw0rd%21x@rt.example/poll/?key=qu3rys3cr3tvalue",
			PublishSecure:     "https://rt.example/pub/?sign=publ1shs3cret",
		},
		Channels: b24pull.Channels{Private: &b24pull.Channel{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9:a9b8c7d6e5f4031221304f5e6d7c8b9a.5566778899aabbcc"}},
	}
	secrets := config.Secrets(cfg)
	for _, secret := range []string{"qu3rys3cr3tvalue", "us3rname", "p4ssw0rd!x", "p4ssw0rd%21x", "b4rev4lue", "publ1shs3cret", "3d4e5f60718293", "0a1b-2c3d-4e5f", "aabbcc.0a1b2c3d4e5f"} {
		for _, text := range []string{
			secrets.Line("wrong "+secret+", sorry", 120),
			secrets.Error(errors.New("dial rt.example/sub/: " + secret + ", sorry")).Error(),
		} {
			if strings.Contains(text, secret) || !strings.Contains(text, "sorry") {
				t.Errorf("%d characters: %q", len(secret), strings.ReplaceAll(text, secret, "SECRET"))
			}
		}
	}
	const readable = "HTTP 502 of rt.example/sub/ at 1 o'clock: 4010: Wrong Channel Id."
	if got := secrets.Line(readable, 120); got != readable {
		t.Errorf("got %q", got)
	}
}
