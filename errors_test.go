package b24pull

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// documented are the codes of the documentation and their sentinels.
var documented = map[string]error{
	"SERVER_ERROR": ErrServerNotConfigured, "WRONG_AUTH_TYPE": ErrWrongAuthType, "USER_ID_ACCESS_ERROR": ErrUserID,
	"MODULE_ID_ERROR": ErrModuleID, "COMMAND_ERROR": ErrCommand, "PARAMS_ERROR": ErrParams, "ACCESS_ERROR": ErrAccess,
	"INVALID_FORMAT": ErrInvalidFormat, "expired_token": ErrExpiredToken, "NO_AUTH_FOUND": ErrNoAuth,
	"insufficient_scope": ErrInsufficientScope, "INVALID_CREDENTIALS": ErrInvalidCredentials, "ACCESS_DENIED": ErrAccessDenied,
	"user_access_error": ErrUserAccess, "QUERY_LIMIT_EXCEEDED": ErrQueryLimit, "OPERATION_TIME_LIMIT": ErrOperationTimeLimit,
	"OVERLOAD_LIMIT": ErrOverload, "INTERNAL_SERVER_ERROR": ErrInternal, "ERROR_UNEXPECTED_ANSWER": ErrUnexpectedAnswer,
	"TEXT_ERROR": ErrText, "ERROR_METHOD_NOT_FOUND": ErrMethodNotFound, "EMPTY_APP_NAME": ErrEmptyAppName, "ERROR_BATCH_METHOD_NOT_ALLOWED": ErrBatchMethod,
	"PORTAL_DELETED": ErrPortalDeleted, "authorization_error": ErrAuthorization, "INVALID_REQUEST": ErrInvalidRequest, "invalid_client": ErrInvalidClient,
	"invalid_grant": ErrInvalidGrant, "invalid_scope": ErrInvalidScope, "PAYMENT_REQUIRED": ErrPaymentRequired,
}

func TestErrors_Sentinels(t *testing.T) {
	if len(documented) != len(codes) {
		t.Errorf("%d codes are tested, %d are known", len(documented), len(codes))
	}
	// an authorization server has these from RFC 6749, where they mean
	// something else
	standard := []error{ErrServerNotConfigured, ErrAccessDenied}
	for code, want := range documented {
		for _, written := range []string{code, strings.ToLower(code), strings.ToUpper(code)} {
			refused := fmt.Errorf("around: %w", &APIError{Status: 400, Code: written, Method: methodConfig})
			token := fmt.Errorf("around: %w", &TokenError{Code: written})
			for other, sentinel := range documented {
				if got := errors.Is(refused, sentinel); got != (other == code) {
					t.Errorf("APIError %s is %v: %t", written, sentinel, got)
				}
				if got := errors.Is(token, sentinel); got != (other == code && !slices.Contains(standard, sentinel)) {
					t.Errorf("TokenError %s is %v: %t", written, sentinel, got)
				}
			}
		}
		if !strings.HasPrefix(want.Error(), "b24pull: "+code+": ") {
			t.Errorf("%s: text %q", code, want)
		}
	}
	if errors.Is(&APIError{}, ErrNoAuth) || errors.Is(&APIError{Code: "NEW"}, ErrNoAuth) || errors.Is(&APIError{Code: "NEW"}, errors.New("NEW")) {
		t.Error("an error without a known code is a sentinel")
	}
}

// TestErrors_Endings: what ends a subscription says so through whatever wraps it.
func TestErrors_Endings(t *testing.T) {
	for err, want := range map[error]Ending{
		&APIError{Code: "server_error"}:                                                    EndsStart,
		&TokenError{Code: "server_error"}:                                                  EndsNothing, // RFC 6749's
		&APIError{Code: "PAYMENT_REQUIRED"}:                                                EndsStart,
		fmt.Errorf("around: %w", &APIError{Code: "no_auth_found"}):                         EndsRun,
		fmt.Errorf("around: %w", &TokenError{Code: "invalid_grant"}):                       EndsRun,
		&TokenError{Err: ErrNoToken}:                                                       EndsRun,
		errors.Join(errors.New("other"), ErrUninstalled):                                   EndsRun,
		&APIError{Code: "QUERY_LIMIT_EXCEEDED"}:                                            EndsNothing,
		&APIError{Code: "NEW", Status: 400}:                                                EndsStart,
		&APIError{Code: "NEW", Status: 503}:                                                EndsNothing,
		&APIError{Code: "expired_token", Status: 401}:                                      EndsNothing,
		&APIError{Code: "expired_token", Status: 401, unrefreshed: true}:                   EndsStart,
		&APIError{Status: 404, page: true}:                                                 EndsStart,
		&APIError{Status: 200, page: true}:                                                 EndsStart,
		&APIError{Status: 302}:                                                             EndsStart,
		&APIError{Status: 200}:                                                             EndsNothing, // an odd answer
		&APIError{Status: 401, half: true}:                                                 EndsNothing,
		&APIError{Status: 429, page: true}:                                                 EndsNothing,
		&APIError{Status: 502, page: true}:                                                 EndsNothing,
		&TokenError{Status: 404}:                                                           EndsStart,
		&TokenError{Code: "unauthorized_client", Status: 400}:                              EndsStart,
		&TokenError{Code: "temporarily_unavailable", Status: 400}:                          EndsNothing,
		&TokenError{Status: 502}:                                                           EndsNothing,
		&TokenError{Err: errEmptyToken}:                                                    EndsStart,
		&TokenError{Err: x509.UnknownAuthorityError{}}:                                     EndsStart,
		&net.DNSError{IsNotFound: true}:                                                    EndsStart,
		&net.DNSError{IsNotFound: true, IsTemporary: true}:                                 EndsNothing,
		&net.DNSError{IsTimeout: true}:                                                     EndsNothing,
		&MoveError{Err: &APIError{Status: 404, page: true}}:                                EndsNothing,
		errors.New("b24pull: NO_AUTH_FOUND: the portal does not know this"):                EndsNothing,
		&MoveError{Err: ErrUninstalled}:                                                    EndsNothing,
		&TokenError{Err: http.ErrSchemeMismatch}:                                           EndsStart,
		&TokenError{Err: errors.New("oauth2: token expired and refresh token is not set")}: EndsStart,
	} {
		if got := EndingOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	if EndingOf(nil) != EndsNothing {
		t.Error("no error ends something")
	}
	if got := fmt.Sprint(EndsNothing, EndsStart, EndsRun, Ending(7)); got != "ends nothing ends a start ends a run Ending(7)" {
		t.Errorf("endings are %q", got)
	}
}

func TestErrors_SentinelsOverTheWire(t *testing.T) {
	for code, want := range documented {
		srv := resttest.Portal(t, resttest.Reply(400, fmt.Sprintf(`{"error":%q,"error_description":"why"}`, code)))
		_, err := webhookClient(t, srv).GetConfig(context.Background(), true)
		t.Log(err)
		var refused *APIError
		if !errors.As(err, &refused) || !errors.Is(err, want) {
			t.Errorf("%s: got %v", code, err)
			continue
		}
		if (*refused != APIError{Status: 400, Code: code, Description: "why", Method: "pull.config.get"}) {
			t.Errorf("%s: got %#v", code, *refused)
		}
	}
}

func TestErrors_WrongAuthTypeNamesTheWayOut(t *testing.T) {
	tests := []struct{ method, want string }{
		{methodApplicationConfig, "realtime.PortalConfig"},
		{methodConfig, "use Webhook"},
	}
	for _, tt := range tests {
		err := &APIError{Status: 403, Code: "WRONG_AUTH_TYPE", Method: tt.method}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.method, err)
		}
	}
}

func TestErrors_ErrorText(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&APIError{Status: 500, Code: "PORTAL_DELETED", Description: "Gone", Method: "pull.config.get"}, "b24pull: pull.config.get: PORTAL_DELETED: Gone (HTTP 500)"},
		{&APIError{Status: 400, Code: "NEW", Method: "pull.config.get"}, "b24pull: pull.config.get: NEW (HTTP 400)"},
		{&APIError{Status: 400, Method: "pull.config.get"}, "b24pull: pull.config.get: the call was refused (HTTP 400)"},
		{&TokenError{}, "b24pull: no access token: the authorization server refused"},
		{&TokenError{Code: "brand_new", Status: 400}, "b24pull: no access token: brand_new (HTTP 400)"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestErrors_ExpiredForGood: the error of an expired token says that its source
// has no other one, and ends a start; a webhook's, and one that a refresh may
// follow, does not.
func TestErrors_ExpiredForGood(t *testing.T) {
	srv := resttest.Portal(t, resttest.Reply(401, `{"error":"expired_token"}`))
	for _, tt := range []struct {
		name string
		auth Auth
		want Ending
	}{
		{"a source of one token", OAuth(srv.URL, resttest.Static(resttest.AccessToken)), EndsStart},
		{"a webhook", Webhook(srv.URL + "/rest/1/s3cr3tcode0/"), EndsNothing},
	} {
		_, err := mustNew(t, tt.auth, WithHTTPClient(srv.Client())).GetApplicationConfig(t.Context(), true)
		if got := EndingOf(err); got != tt.want || !errors.Is(err, ErrExpiredToken) || strings.Contains(fmt.Sprint(err), "no other one") != (tt.want == EndsStart) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}
