package b24pull

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/phpjson"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/internal/redact"
)

// Errors that a portal or an authorization server answers, to be used with
// errors.Is: an *APIError or a *TokenError is one of them when it has its code.
// An authorization server's server_error and access_denied are those of RFC
// 6749, and none. The codes are those of the public REST documentation: the
// pages of the methods of the scopes pull and pull_channel, of the system-wide
// errors, and of OAuth. This is the one table of what they mean: the Class says
// whether a call is repeated, the Ending whether a subscription goes on.
var (
	ErrServerNotConfigured = newCode("SERVER_ERROR", ClassFinal, EndsStart, "the portal has no push server configured", "turn on Push & Pull in the portal's settings")
	ErrWrongAuthType       = newCode("WRONG_AUTH_TYPE", ClassFinal, EndsRun, "the method does not take this kind of authorization", "")
	ErrUserID              = newCode("USER_ID_ACCESS_ERROR", ClassFinal, EndsNothing, "the token's user may not name these users", onlyAdministrators)
	ErrModuleID            = newCode("MODULE_ID_ERROR", ClassFinal, EndsNothing, "the module's name is not acceptable", "use lower case letters, digits, dots and underscores")
	ErrCommand             = newCode("COMMAND_ERROR", ClassFinal, EndsNothing, "the command's name is not acceptable", "use letters, digits and _ : | . -")
	ErrParams              = newCode("PARAMS_ERROR", ClassFinal, EndsNothing, "the parameters of the command are not acceptable", "pass an object")
	ErrText                = newCode("TEXT_ERROR", ClassFinal, EndsNothing, "the text is empty", "")
	ErrEmptyAppName        = newCode("EMPTY_APP_NAME", ClassFinal, EndsNothing, "the application has no name to show", "give it one in the application's settings")
	ErrAccess              = newCode("ACCESS_ERROR", ClassFinal, EndsStart, "the method may not be called this way", "")
	ErrInvalidFormat       = newCode("INVALID_FORMAT", ClassFinal, EndsStart, "a parameter has a wrong format", "")
	ErrExpiredToken        = newCode("expired_token", ClassExpired, EndsNothing, "the access token has expired", "get a new one with the refresh token")
	ErrNoAuth              = newCode("NO_AUTH_FOUND", ClassFinal, EndsRun, "the portal does not know the token or webhook",
		"the portal does not know this access token: it is another portal's or application's, or there is a newer one; get one for this portal (of a webhook, check USER and CODE)")
	ErrInsufficientScope  = newCode("insufficient_scope", ClassFinal, EndsStart, "the scope is missing", "give the application or webhook the scope of the method")
	ErrInvalidCredentials = newCode("INVALID_CREDENTIALS", ClassFinal, EndsRun, "the user of the token or webhook may not do this",
		"check USER and CODE of the webhook, and that it has not been deleted (of a token, what its user may do)")
	ErrAccessDenied       = newCode("ACCESS_DENIED", ClassFinal, EndsStart, "the portal's plan or settings do not allow REST", "ask the portal's administrator")
	ErrUserAccess         = newCode("user_access_error", ClassFinal, EndsStart, "the user has no access to the application", "give it to the user in the application's settings")
	ErrQueryLimit         = newCode("QUERY_LIMIT_EXCEEDED", ClassThrottled, EndsNothing, "too many calls in a short time", "call again later, not more often than twice a second")
	ErrOperationTimeLimit = newCode("OPERATION_TIME_LIMIT", ClassPaused, EndsNothing, "the method has used up its time", "call again in ten minutes")
	ErrOverload           = newCode("OVERLOAD_LIMIT", ClassFinal, EndsNothing, "REST is blocked on this portal for overload", "call again later, or ask the portal's support")
	ErrInternal           = newCode("INTERNAL_SERVER_ERROR", ClassUnavailable, EndsNothing, "the portal failed", "call again later")
	ErrUnexpectedAnswer   = newCode("ERROR_UNEXPECTED_ANSWER", ClassUnavailable, EndsNothing, "the portal failed", "call again later")
	ErrPortalDeleted      = newCode("PORTAL_DELETED", ClassFinal, EndsRun, "the portal has been deleted", "")
	ErrInvalidRequest     = newCode("INVALID_REQUEST", ClassFinal, EndsStart, "the request is not acceptable", "")
	ErrMethodNotFound     = newCode("ERROR_METHOD_NOT_FOUND", ClassFinal, EndsStart, "the portal has no such method", "check the method's name, and the scope of the token or webhook")
	ErrBatchMethod        = newCode("ERROR_BATCH_METHOD_NOT_ALLOWED", ClassFinal, EndsStart, "the method may not be called in a batch", "call it by itself")

	// ErrAuthorization of the authorization server passes, and is
	// ClassUnavailable then.
	ErrAuthorization   = newCode("authorization_error", ClassFinal, EndsNothing, "the user could not be authorized", "call again later")
	ErrInvalidClient   = newCode("invalid_client", ClassFinal, EndsRun, "the authorization server does not know the application", "check client_id and client_secret")
	ErrInvalidGrant    = newCode("invalid_grant", ClassFinal, EndsRun, "the authorization server refused the code or refresh token", "have a user open or authorize the application again")
	ErrInvalidScope    = newCode("invalid_scope", ClassFinal, EndsRun, "the authorization server refused the scope", "")
	ErrPaymentRequired = newCode("PAYMENT_REQUIRED", ClassFinal, EndsStart, "the subscription for the application or the portal's plan has ended", "the portal has to renew it; Tokens asks again a minute after the refusal at the earliest")
)

// onlyAdministrators is the cause that a portal does not tell.
const onlyAdministrators = "its user is not an administrator of the portal, and may name himself alone: " +
	"send with the token of an administrator, or to all on the shared channel (no UserIDs)"

// ErrNoToken is the error of a token store, and of a token source, that has no
// token.
var ErrNoToken = end(errors.New("b24pull: there is no such token"), EndsRun)

// ErrUninstalled is the error of a token source whose token was deleted, since
// the portal has removed the application. It ends a subscription.
var ErrUninstalled = end(errors.New("b24pull: the token was deleted; the application may have been uninstalled"), EndsRun)

// ErrTokenRejected is the error of a TokenReloader whose tokens the portal
// refuses as fast as they are refreshed. The call fails with the portal's error
// then.
var ErrTokenRejected = errors.New("b24pull: the portal refuses tokens that have just been refreshed")

// ErrInvalidConfig is the error, by errors.Is, of an answer, or a saved config
// or token, that cannot be used: something in it has an unexpected type or
// value, or it has no server, no channel or no address.
var ErrInvalidConfig = phpjson.ErrInvalid

// codes is the one table from code to sentinel; newCode fills it.
var codes = map[string]*codeError{}

// A codeError is a sentinel: whether to call again, what the code means, and
// what to do.
type codeError struct {
	code            string
	class           Class
	meaning, advice string
}

func newCode(code string, class Class, ending Ending, meaning, advice string) error {
	e := &codeError{code: code, class: class, meaning: meaning, advice: advice}
	codes[strings.ToLower(code)] = e
	return end(e, ending)
}

func (e *codeError) Error() string { return "b24pull: " + e.code + ": " + e.meaning }

// matches reports whether target is the sentinel of code. Codes are compared
// without regard to case: the documentation writes the same ones both ways.
func matches(code string, target error) bool {
	e, ok := target.(*codeError)
	return ok && code != "" && e == codes[strings.ToLower(code)]
}

// APIError is the portal's refusal of a call, or an answer that is not a valid
// one: no JSON, a redirect, too long.
type APIError struct {
	// Status is the HTTP status. An error can come with 200.
	Status int
	// Code is the portal's error code, "" if the answer had none. Use errors.Is
	// with a sentinel like ErrExpiredToken to compare it.
	Code string
	// Description is the portal's text for a human, shortened and without
	// secrets; where Code is empty it says what was wrong with the answer.
	Description string
	// Method is the REST method called, like pull.config.get.
	Method string
	// Timing is what the answer told about time: after ErrOperationTimeLimit
	// its OperatingResetAt is when the method may be called again.
	Timing Timing
	// RetryAfter is how long the answer wants to be waited for before another
	// call, from when it came: by its header Retry-After, in seconds or as a
	// date, or, after an ErrOperationTimeLimit without Time, by what the
	// method's last answer told. It is a quarter of an hour at the most, and 0
	// where nothing was told.
	RetryAfter time.Duration

	invalid     *[]InvalidField // a pointer: an APIError can be compared
	page        bool            // what has answered need be no portal: it says something, and does not call that JSON
	half        bool            // what calls itself JSON is none
	unrefreshed bool            // the token has expired, and its source has no other one
}

// Validation returns what a newer portal has found not to be valid among the
// parameters, shortened and without secrets; 16 fields at the most. Error names
// them too.
func (e *APIError) Validation() []InvalidField {
	if e.invalid == nil {
		return nil
	}
	return slices.Clone(*e.invalid)
}

// Error names the method, the code, the description, what is not valid, the
// HTTP status and, where it is known, the way out.
func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString("b24pull: " + quote.Name(e.Method))
	for _, part := range []string{e.Code, e.Description} {
		if part != "" {
			b.WriteString(": " + quote.Text(part, quote.TextLimit))
		}
	}
	if e.Code == "" && e.Description == "" {
		b.WriteString(": the call was refused")
	}
	for i, f := range e.Validation() {
		b.WriteString([]string{"; not valid: ", ", "}[min(i, 1)] + f.String())
	}
	fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	if advice := e.advice(); advice != "" {
		b.WriteString("; " + advice)
	}
	return b.String()
}

// Is reports whether target is the sentinel of the error's code.
func (e *APIError) Is(target error) bool { return matches(e.Code, target) }

func (e *APIError) advice() string {
	sentinel := codes[strings.ToLower(e.Code)]
	switch {
	case sentinel == nil:
		return ""
	case sentinel == ErrExpiredToken && e.unrefreshed:
		return "its source has no other one: " + noOtherToken
	case sentinel == ErrWrongAuthType && e.Method == methodApplicationConfig:
		return "today's portals give the application's config to an application only: use OAuth, " +
			"or the channels of the webhook's user through GetConfig (realtime.PortalConfig)"
	case sentinel == ErrWrongAuthType && e.Method == methodApplicationEvent:
		return "an application sends its events with OAuth, not with a webhook"
	case sentinel == ErrServerNotConfigured && (e.Method == methodPublicChannel || e.Method == methodPublicChannels):
		return sentinel.advice + "; or its push server is older than version 4, which has no public channels"
	case sentinel == ErrInsufficientScope:
		if scope := scopeOf(e.Method); scope != "" {
			return "give the application or webhook the scope " + scope + ", which " + quote.Name(e.Method) + " is of"
		}
	case sentinel == ErrInvalidRequest && strings.Contains(strings.ToLower(e.Description), "https"):
		return "use the portal's https address"
	case sentinel == ErrUserID && e.Method != methodApplicationEvent && e.Method != "":
		return "name users of the portal"
	case sentinel == ErrAccess && e.Method == methodApplicationPush:
		return "the portal lets administrators alone send push notifications: use the token of one"
	case sentinel == ErrWrongAuthType && e.Method == methodConfig:
		return "the portal gives a user's config to a webhook only: use Webhook, " +
			"or the application's channels through GetApplicationConfig"
	}
	return sentinel.advice
}

// scopeOf is the scope of a method of the pull API, "" of any other.
func scopeOf(method string) string {
	switch method {
	case methodConfig, methodPublicChannel, methodPublicChannels:
		return "pull_channel"
	case methodApplicationConfig, methodApplicationEvent, methodApplicationPush, methodWatchExtend:
		return "pull"
	}
	return ""
}

// TokenError says that there is no access token: the TokenSource or
// TokenRefresher of a call failed, or the authorization server refused a code
// or a refresh token. An *oauth2.RetrieveError is not within reach of
// errors.As, since it holds the authorization server's whole answer.
type TokenError struct {
	// Code is the authorization server's error code, like invalid_grant; "" if
	// the failure was of another kind. Use errors.Is to compare it.
	Code string
	// Status is the HTTP status of the authorization server's answer, 0 if
	// there was none.
	Status int
	// RetryAfter is how long the authorization server's answer wants to be
	// waited for, as in an APIError.
	RetryAfter time.Duration
	// Err is the cause, without secrets; nil where Code and Status say it all.
	Err error
}

// Error names the code, the status and, where it is known, the way out; or the
// cause.
func (e *TokenError) Error() string {
	text, advice := "b24pull: no access token", ""
	switch {
	case e.Code != "":
		text += ": " + quote.Name(e.Code)
		if sentinel := codes[strings.ToLower(e.Code)]; sentinel != nil && !e.standard() {
			text += ": " + sentinel.meaning
			advice = sentinel.advice
		}
	case e.unrefreshed() && !errors.Is(e.Err, netfail.ErrNoRefreshToken):
		return text + ": " + e.Err.Error() + "; " + noOtherToken
	case e.Err != nil:
		return text + ": " + e.Err.Error()
	case e.Status >= http.StatusInternalServerError:
		return fmt.Sprintf("%s: %v", text, netfail.Status(e.Status))
	default:
		text += ": the authorization server refused"
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if advice != "" {
		text += "; " + advice
	}
	return text
}

// Is reports whether target is the sentinel of the error's code.
func (e *TokenError) Is(target error) bool { return !e.standard() && matches(e.Code, target) }

// Codes that RFC 6749 gives to authorization servers.
const (
	codeServerError = "server_error"
	codeUnavailable = "temporarily_unavailable"
	codeDenied      = "access_denied"
)

// standard reports whether the code is one of the standard that means something
// else where a portal answers it.
func (e *TokenError) standard() bool {
	return strings.EqualFold(e.Code, codeServerError) || strings.EqualFold(e.Code, codeDenied)
}

// passes reports whether the code is one of the standard for what passes.
func (e *TokenError) passes() bool {
	return strings.EqualFold(e.Code, codeServerError) || strings.EqualFold(e.Code, codeUnavailable)
}

// unrefreshed reports whether the token has expired and there is no other one
// to be had, as package oauth and golang.org/x/oauth2 say it. The latter has no
// value for that error.
func (e *TokenError) unrefreshed() bool {
	return e.Err != nil && (errors.Is(e.Err, netfail.ErrNoRefreshToken) || strings.Contains(e.Err.Error(), "token expired and refresh token is not set"))
}

// noOtherToken is what to do about an expired token that is not refreshed.
const noOtherToken = "give a new access token, or a source that refreshes tokens, as package oauth has"

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// tokenError wraps what a TokenSource returned.
func tokenError(known redact.Redactor, err error) error {
	clean := known.Error(err)
	if _, ok := clean.(*TokenError); ok {
		return clean
	}
	refusal, cause := netfail.Refusal(clean, err)
	return &TokenError{Code: refusal.Code, Status: refusal.Status, RetryAfter: refusal.RetryAfter, Err: cause}
}

// knownCode reports whether there is a sentinel of a code.
func knownCode(code string) bool { return codes[strings.ToLower(code)] != nil }
