package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
)

// answers are the documented errors of REST and of the authorization server,
// and what else can come in their place.
var answers = []struct {
	status   int
	code     string
	sentinel error
	ending   b24pull.Ending
}{
	{500, "SERVER_ERROR", b24pull.ErrServerNotConfigured, b24pull.EndsStart},
	{200, "SERVER_ERROR", b24pull.ErrServerNotConfigured, b24pull.EndsStart},
	{403, "WRONG_AUTH_TYPE", b24pull.ErrWrongAuthType, b24pull.EndsRun},
	{401, "NO_AUTH_FOUND", b24pull.ErrNoAuth, b24pull.EndsRun},
	{403, "INVALID_CREDENTIALS", b24pull.ErrInvalidCredentials, b24pull.EndsRun},
	{403, "insufficient_scope", b24pull.ErrInsufficientScope, b24pull.EndsStart},
	{400, "invalid_scope", b24pull.ErrInvalidScope, b24pull.EndsRun},
	{400, "invalid_client", b24pull.ErrInvalidClient, b24pull.EndsRun},
	{400, "invalid_grant", b24pull.ErrInvalidGrant, b24pull.EndsRun},
	{402, "PAYMENT_REQUIRED", b24pull.ErrPaymentRequired, b24pull.EndsStart},
	{500, "PORTAL_DELETED", b24pull.ErrPortalDeleted, b24pull.EndsRun},
	{200, "portal_deleted", b24pull.ErrPortalDeleted, b24pull.EndsRun},

	{403, "ACCESS_DENIED", b24pull.ErrAccessDenied, b24pull.EndsStart},
	{403, "user_access_error", b24pull.ErrUserAccess, b24pull.EndsStart},
	{401, "expired_token", b24pull.ErrExpiredToken, b24pull.EndsStart},
	{401, "authorization_error", b24pull.ErrAuthorization, b24pull.EndsNothing},
	{503, "QUERY_LIMIT_EXCEEDED", b24pull.ErrQueryLimit, b24pull.EndsNothing},
	{429, "OPERATION_TIME_LIMIT", b24pull.ErrOperationTimeLimit, b24pull.EndsNothing},
	{503, "OVERLOAD_LIMIT", b24pull.ErrOverload, b24pull.EndsNothing},
	{500, "INTERNAL_SERVER_ERROR", b24pull.ErrInternal, b24pull.EndsNothing},
	{500, "ERROR_UNEXPECTED_ANSWER", b24pull.ErrUnexpectedAnswer, b24pull.EndsNothing},
	{400, "INVALID_REQUEST", b24pull.ErrInvalidRequest, b24pull.EndsStart},
	{400, "USER_ID_ACCESS_ERROR", b24pull.ErrUserID, b24pull.EndsNothing},
	{400, "MODULE_ID_ERROR", b24pull.ErrModuleID, b24pull.EndsNothing},
	{400, "COMMAND_ERROR", b24pull.ErrCommand, b24pull.EndsNothing},
	{400, "PARAMS_ERROR", b24pull.ErrParams, b24pull.EndsNothing},
	{400, "ACCESS_ERROR", b24pull.ErrAccess, b24pull.EndsStart},
	{400, "INVALID_FORMAT", b24pull.ErrInvalidFormat, b24pull.EndsStart},
	{400, "SOMETHING_NEW", nil, b24pull.EndsStart},
	{405, "ERROR_BATCH_METHOD_NOT_ALLOWED", nil, b24pull.EndsStart},
}

// faults are answers that are none.
var faults = map[string]pulltest.Fault{
	"a proxy's page": pulltest.BadGateway,
	"half an answer": pulltest.Garble,
	"garbage":        pulltest.GarbleFrame,
	"no answer":      pulltest.Stall,
}

// TestFatal_AtTheStart: what trying again cannot help ends the subscription
// with its error; all else is tried again.
func TestFatal_AtTheStart(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, l *life, fault pulltest.Fault) {
		l.open()
		l.portal.Misbehave(pulltest.REST, fault)
		l.subscribe(nil)
		l.run(nil)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
	}
	for _, a := range answers {
		t.Run(fmt.Sprint(a.status, " ", a.code), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				start(t, l, pulltest.RESTError(a.status, a.code))
				if a.ending != b24pull.EndsNothing {
					l.ended(a.sentinel)
					return
				}
				cause := l.lastWait().Cause
				var refused *b24pull.APIError
				if !errors.As(cause, &refused) || refused.Code != a.code || (a.sentinel != nil && !errors.Is(cause, a.sentinel)) {
					t.Errorf("the cause is %v", cause)
				}
				l.portal.Behave(pulltest.REST)
				<-l.sub.Ready()
			})
		})
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				start(t, l, fault)
				if s := l.sub.State(); s == StateClosed {
					t.Fatalf("state is %v, Run returned %v", s, l.err)
				}
				l.portal.Behave(pulltest.REST)
				<-l.sub.Ready()
			})
		})
	}
}

// ended checks that Run has returned an error, and that the observer was told
// of it.
func (l *life) ended(want error) {
	l.t.Helper()
	select {
	case <-l.done:
	default:
		l.t.Fatalf("Run goes on, in state %v", l.sub.State())
	}
	if want != nil && !errors.Is(l.err, want) {
		l.t.Errorf("Run returned %v, want %v", l.err, want)
	}
	closed := l.changes(StateClosed)
	if l.sub.State() != StateClosed || len(closed) != 1 || closed[0].Cause != l.err {
		l.t.Errorf("state is %v, closed by %+v", l.sub.State(), closed)
	}
}

// TestFatal_AtARenewal: the same while it is connected, but for what can pass.
// What is not fatal does not disturb the connection.
func TestFatal_AtARenewal(t *testing.T) {
	t.Parallel()
	for _, a := range answers {
		t.Run(fmt.Sprint(a.status, " ", a.code), func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.start(nil)
				time.Sleep(time.Minute)
				states := countEvents[StateChange](l)
				l.portal.Misbehave(pulltest.REST, pulltest.RESTError(a.status, a.code))
				l.portal.ExpireConfig()
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if a.ending == b24pull.EndsRun {
					l.ended(a.sentinel)
					return
				}
				l.tickFor(10*time.Second, time.Second)
				l.portal.Behave(pulltest.REST)
				time.Sleep(12 * time.Minute) // a method that is paused is not called for ten
				if n := countEvents[StateChange](l) - states; n > 0 {
					t.Errorf("%d state changes", n)
				}
				if r := lifeEvents[Renewal](l); r[0].Err == nil || r[len(r)-1].Err != nil {
					t.Errorf("renewals %+v", r)
				}
				l.wantTicks()
			})
		})
	}
}

// TestFatal_ServerTurnedOff: a push server that an administrator turns off and
// on again, with other channels then, is waited for, whether its connections
// have survived or not.
func TestFatal_ServerTurnedOff(t *testing.T) {
	t.Parallel()
	for _, s := range servers {
		for _, transport := range s.transports {
			t.Run(s.name+" "+transport.String(), func(t *testing.T) {
				onVirtualTime(t, func(t *testing.T, l *life) {
					l.start(s.portal, WithTransport(transport))
					l.tickFor(time.Minute, time.Second)
					l.portal.Misbehave(pulltest.REST, pulltest.RESTError(500, "SERVER_ERROR"))
					l.portal.ExpireConfig()
					l.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(400))
					l.portal.Cut()
					l.tickFor(2*time.Hour, time.Minute)
					l.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
					time.Sleep(15 * time.Minute) // a method that is paused is not called for ten
					if state := l.sub.State(); state != StateLive {
						t.Fatalf("state is %v, Run returned %v", state, l.err)
					}
					l.wantTicks()
					if n := l.portal.Stats().Calls; n > 200 {
						t.Errorf("%d calls in two hours", n)
					}
				})
			})
		}
	}
}

// TestFatal_ServerTurnedOffOnSockets: the same over real sockets.
func TestFatal_ServerTurnedOffOnSockets(t *testing.T) {
	t.Parallel()
	for _, transport := range both {
		t.Run(transport.String(), func(t *testing.T) {
			t.Parallel()
			var refused atomic.Int32
			o := runOnSockets(t, nil, WithTransport(transport), WithObserver(func(e Event) {
				if r, ok := e.(Renewal); ok && errors.Is(r.Err, b24pull.ErrServerNotConfigured) {
					refused.Add(1)
				}
			}))
			o.portal.Emit(pulltest.Message{Command: "before"})
			o.want("before")
			o.portal.Misbehave(pulltest.REST, pulltest.RESTError(500, "SERVER_ERROR"))
			o.portal.ExpireChannel(pulltest.Private, "get_config")
			eventually(t, "the portal says that it has no server", func() bool { return refused.Load() > 0 })
			o.portal.Misbehave(pulltest.WebSockets|pulltest.Polls, pulltest.Refuse(400))
			o.portal.Cut()
			o.portal.Emit(pulltest.Message{Command: "while off"})
			o.portal.Behave(pulltest.REST | pulltest.WebSockets | pulltest.Polls)
			o.portal.Emit(pulltest.Message{Command: "on again"})
			o.want("while off", "on again")
		})
	}
}

// TestFatal_TransportTurnedOff: the same where what WithTransport wants is
// turned off.
func TestFatal_TransportTurnedOff(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		off := false
		l.open()
		l.subscribe(changed{client(t, l.portal), func(cfg *b24pull.Config) {
			if off {
				cfg.Server.WebSocketEnabled = false
			}
		}}, WithTransport(TransportWebSocket))
		l.run(nil)
		<-l.sub.Ready()
		off = true
		l.portal.ExpireConfig()
		time.Sleep(10 * time.Minute)
		if n := len(l.changes(StateClosed)); n > 0 {
			t.Fatalf("Run returned %v", l.err)
		}
		off = false
		l.tickFor(10*time.Minute, time.Second)
		l.wantTicks()
		if r := lifeEvents[Renewal](l); r[0].Err == nil || r[len(r)-1].Err != nil {
			t.Errorf("renewals %+v", r)
		}
	})
}

// TestFatal_Token: what the authorization server refuses comes as the same
// errors, and so does a token that was deleted.
func TestFatal_Token(t *testing.T) {
	t.Parallel()
	refusal := func(code string) error {
		return &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: code}
	}
	tests := []struct {
		name    string
		refusal error
		fatal   error
	}{
		{"invalid_grant", refusal("invalid_grant"), b24pull.ErrInvalidGrant},
		{"invalid_client", refusal("invalid_client"), b24pull.ErrInvalidClient},
		{"invalid_scope", refusal("invalid_scope"), b24pull.ErrInvalidScope},
		{"insufficient_scope", refusal("insufficient_scope"), b24pull.ErrInsufficientScope},
		{"PAYMENT_REQUIRED", refusal("PAYMENT_REQUIRED"), b24pull.ErrPaymentRequired},
		{"authorization_error", refusal("authorization_error"), nil},
		{"temporarily_unavailable", refusal("temporarily_unavailable"), nil},
		{"uninstalled", b24pull.ErrUninstalled, b24pull.ErrUninstalled},
		{"never installed", b24pull.ErrNoToken, b24pull.ErrNoToken},
		{"the store fails", errors.New("disk full"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onVirtualTime(t, func(t *testing.T, l *life) {
				l.open()
				c, err := b24pull.New(b24pull.OAuth(l.portal.URL(), failingTokens{tt.refusal}), b24pull.WithHTTPClient(l.portal.HTTPClient()))
				if err != nil {
					t.Fatal(err)
				}
				l.subscribe(c)
				l.run(nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				if tt.fatal != nil {
					l.ended(tt.fatal)
				} else if l.sub.State() == StateClosed {
					t.Errorf("ended with %v", l.err)
				}
			})
		})
	}
}

type failingTokens struct{ err error }

func (f failingTokens) Token() (*oauth2.Token, error) { return nil, f.err }

// TestFatal_ContextEndsRetries: what is tried again is tried for as long as the
// context lives.
func TestFatal_ContextEndsRetries(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		l.open()
		l.portal.Misbehave(pulltest.REST, pulltest.RESTError(503, "OVERLOAD_LIMIT"))
		l.subscribe(nil)
		ctx, cancel := context.WithTimeout(t.Context(), shorter(24*time.Hour, 4*time.Hour))
		defer cancel()
		err := l.sub.Run(ctx, HandlerFunc(func(context.Context, Message) error { return nil }))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, b24pull.ErrOverload) {
			t.Errorf("Run returned %v", err)
		}
	})
}
