package transport

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/b24pull/b24pull/internal/redact"
)

// TestAddress_Fail: an error says which host failed, and no more of the address.
func TestAddress_Fail(t *testing.T) {
	known := redact.Redactor{}.With("s3cr3t-channel")
	for _, tt := range []struct{ address, cause, want string }{
		{"wss://rt.example/subws/?CHANNEL_ID=s3cr3t-channel", "EOF", "realtime: polling: rt.example:443: EOF"},
		{"ws://rt.example:8893/subws/", "EOF", "realtime: polling: rt.example:8893: EOF"},
		{"http://[::1]/sub/", "dial tcp [::1]:80: refused", "realtime: polling: dial tcp [::1]:80: refused"},
		{"https://s3cr3t:s3cr3t@rt.example/", "EOF", "realtime: polling: rt.example:443: EOF"},
		{"https://s3cr3t-channel.example/", "EOF", "realtime: polling: [redacted].example:443: EOF"},
		{"/s3cr3t", "EOF", "realtime: polling: EOF"},
		{"%zz s3cr3t", "EOF", "realtime: polling: EOF"},
	} {
		cause := errors.New(tt.cause)
		err := Address{URL: tt.address, Secrets: known}.fail("polling", &url.Error{Op: "Get", URL: tt.address, Err: cause})
		if fmt.Sprint(err) != tt.want || !errors.Is(err, cause) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
