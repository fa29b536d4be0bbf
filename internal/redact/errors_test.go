package redact

import (
	"fmt"
	"net/textproto"
	"strings"
	"testing"
)

// TestErrors_WithoutAnswer: no error of net/http or net/textproto tells a piece
// of the answer, as the Go of today writes it and as older ones did.
func TestErrors_WithoutAnswer(t *testing.T) {
	const piece = "Location: /rest/1/UNKNOWN/\x01"
	for _, form := range []string{
		"malformed MIME header line: %s", "malformed MIME header line: %q",
		"malformed MIME header initial line: %s", "malformed MIME header initial line: %q",
		"malformed MIME header: missing colon: %q", "malformed HTTP response %q", "malformed HTTP version %q",
		"bad Content-Length %q", "unsupported transfer encoding: %q", "invalid header %q",
	} {
		inner := textproto.ProtocolError(fmt.Sprintf(form, piece))
		for _, err := range []error{inner, fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", inner)} {
			got := Redactor{}.Error(err)
			if strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), "UNKNOWN") || !strings.Contains(form, got.Error()) {
				t.Errorf("%q became %q", err, got)
			}
		}
	}
}
