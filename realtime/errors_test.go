package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		err  error
		want failure
	}{
		{errors.New("connection reset"), failPassing},
		{context.DeadlineExceeded, failPassing},
		{&StatusError{Status: 502}, failPassing},
		{&StatusError{Status: 400, Reason: "4010: Wrong Channel Id."}, failConfig},
		{&StatusError{Status: 429}, failCrowded},
		{&CloseError{Code: 1001}, failPassing},
		{&CloseError{Code: 4010}, failConfig},
		{&CloseError{Code: 4036}, failConfig},
		{&CloseError{Code: 4029}, failCrowded},
		{fmt.Errorf("wrapped: %w", &CloseError{Code: 4029}), failCrowded},
		{&b24pull.APIError{Status: 503, Code: "QUERY_LIMIT_EXCEEDED"}, failPassing},
		{&b24pull.APIError{Status: 502}, failPassing},
		{&b24pull.APIError{Status: 401, Code: "expired_token"}, failPassing},
		{&b24pull.APIError{Status: 403, Code: "WRONG_AUTH_TYPE"}, failFatal},
		{&b24pull.APIError{Status: 500, Code: "SERVER_ERROR"}, failFatal},
		{&b24pull.APIError{Status: 401, Code: "NO_AUTH_FOUND"}, failFatal},
		{&b24pull.APIError{Status: 403, Code: "insufficient_scope"}, failFatal},
		{&b24pull.APIError{Status: 500, Code: "PORTAL_DELETED"}, failFatal},
		{&b24pull.TokenError{Code: "PAYMENT_REQUIRED"}, failFatal},
		{&b24pull.TokenError{Code: "invalid_grant"}, failFatal},
		{&b24pull.MoveError{Err: &b24pull.APIError{Status: 500, Code: "PORTAL_DELETED"}}, failPassing},
		{&b24pull.MoveError{Err: b24pull.ErrInvalidGrant}, failPassing},
		{ErrConfigExpired, failFatal},
		{fmt.Errorf("%w: version 9", ErrUnsupportedServer), failFatal},
	}
	for _, tt := range tests {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("%v: class %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestAddressTellsNoSecret: not by the errors of the libraries below, nor by a
// server that repeats what it was asked.
func TestAddressTellsNoSecret(t *testing.T) {
	at := address{secrets: redact.Redactor{}.With("s3cr3t")}
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
