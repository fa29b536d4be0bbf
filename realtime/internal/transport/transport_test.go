package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/b24pull/b24pull/internal/redact"
)

// TestTransport_AddressTellsNoSecret: not by the errors of the libraries below, nor by a
// server that repeats what it was asked.
func TestTransport_AddressTellsNoSecret(t *testing.T) {
	at := Address{Secrets: redact.Redactor{}.With("s3cr3t")}
	cause := errors.New("connection refused")
	err := at.fail("polling", fmt.Errorf("outer: %w", &url.Error{Op: "Get", URL: "https://rt.example/?CHANNEL_ID=s3cr3t", Err: &url.Error{URL: "s3cr3t", Err: cause}}))
	var u *url.Error
	if !errors.Is(err, cause) || errors.As(err, &u) || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "polling") {
		t.Errorf("got %v", err)
	}
	if err := at.fail("polling", io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	tests := map[string]string{
		" 4010: Wrong Channel Id.\n":        "4010: Wrong Channel Id.",
		"404: /sub/?CHANNEL_ID=s3cr3t":      "404: /sub/?CHANNEL_ID=[redacted]",
		"no s3cr3t here":                    "no [redacted] here",
		"0123456789abcdef0123456789 is cut": "[redacted] is cut",
		"<html>Bad Gateway</html>":          "",
		`{"error":"x"}`:                     "",
		"two\nlines\x1b[2J":                 `two lines\x1b[2J`,
		strings.Repeat("é ", 100):           strings.Repeat("é ", 60) + "…",
		"":                                  "",
	}
	for text, want := range tests {
		if got := at.reason([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestTransport_AddressPlaysNoTricks: no error prints what does not print, whatever a
// server has put into it.
func TestTransport_AddressPlaysNoTricks(t *testing.T) {
	for _, s := range []string{"\x1b[2J\u202e \u2028\nno\x00", strings.Repeat("ab c", 1<<14), "\xff\xfe"} {
		for name, text := range map[string]string{
			"reason":    Address{}.reason([]byte(s)),
			"an answer": Address{}.unbelieved(200, http.Header{"Content-Type": {s}}, []byte(s), errAtOnce).Error(),
			"a failure": Address{}.fail("polling", fmt.Errorf("proxy: %w", errors.New(s))).Error(),
		} {
			if len(text) > 4<<10 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s: %.300q", name, text)
			}
		}
	}
}
