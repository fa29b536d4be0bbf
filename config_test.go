package b24pull

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestConfig_UnusableAddressIsNotTold: what is no address may be anything.
func TestConfig_UnusableAddressIsNotTold(t *testing.T) {
	for _, address := range []string{"s3cr3t", "rt.example/s3cr3t", "wss:s3cr3t", "wss:///s3cr3t", "wss://rt.example:s3cr3t/", "s3cr3t://", "//s3cr3t@/",
		"wss://s3cr3t@rt.example/sub/", "wss://rt.example:s3cr3t@10.0.0.1/sub/"} {
		data := fmt.Sprintf(`{"server":{"version":4,"websocket_enabled":true,"websocket_secure":%q,"long_polling_secure":"https://rt.example/sub/"},"channels":{"shared":{"id":"i"}}}`, address)
		var c Config
		if err := json.Unmarshal([]byte(data), &c); err != nil || c.Server.WebSocketSecure != address {
			t.Errorf("beside a good one: %v", err)
		}
		marshalled, err := json.Marshal(c)
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", c, c.Server, &c), string(marshalled), fmt.Sprint(err)} {
			if strings.Contains(text, resttest.Mark) {
				t.Errorf("told: %s", strings.ReplaceAll(text, resttest.Mark, "SECRET"))
			}
		}
		err = json.Unmarshal([]byte(strings.Replace(data, "https://rt.example", "", 1)), &c)
		if err == nil || strings.Contains(err.Error(), resttest.Mark) || !strings.Contains(err.Error(), "websocket_secure: ") || !strings.Contains(err.Error(), "long_polling_secure: ") {
			t.Errorf("alone: %s", strings.ReplaceAll(fmt.Sprint(err), resttest.Mark, "SECRET"))
		}
	}
}
