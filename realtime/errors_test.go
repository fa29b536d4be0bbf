package realtime

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime/internal/delivery"
)

func TestErrors_Classify(t *testing.T) {
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
		{&b24pull.APIError{Status: 500, Code: "SERVER_ERROR"}, failPassing},
		{&b24pull.APIError{Status: 401, Code: "NO_AUTH_FOUND"}, failFatal},
		{&b24pull.APIError{Status: 403, Code: "insufficient_scope"}, failPassing},
		{&b24pull.APIError{Status: 500, Code: "PORTAL_DELETED"}, failFatal},
		{&b24pull.TokenError{Code: "PAYMENT_REQUIRED"}, failPassing},
		{&b24pull.TokenError{Code: "invalid_grant"}, failFatal},
		{&b24pull.MoveError{Err: &b24pull.APIError{Status: 500, Code: "PORTAL_DELETED"}}, failPassing},
		{&b24pull.MoveError{Err: b24pull.ErrInvalidGrant}, failPassing},
		{ErrConfigExpired, failFatal},
		{fmt.Errorf("%w: version 9", ErrUnsupportedServer), failPassing},
	}
	for _, tt := range tests {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("%v: class %d, want %d", tt.err, got, tt.want)
		}
	}
}

// TestErrors_GapReasons: delivery numbers them alike.
func TestErrors_GapReasons(t *testing.T) {
	for own, its := range map[GapReason]delivery.Reason{
		GapPaused: delivery.Paused, GapUnread: delivery.Unread, GapChannelReplaced: delivery.ChannelReplaced,
		GapExpired: delivery.Expired, GapServerChanged: delivery.ServerChanged,
	} {
		if GapReason(its) != own {
			t.Errorf("%v is %d, and %d in delivery", own, own, its)
		}
	}
	if unnamed := GapReason(delivery.ServerChanged + 1).String(); unnamed != "GapReason(6)" {
		t.Errorf("there is another one: %s", unnamed)
	}
}
