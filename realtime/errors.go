package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime/internal/rpc"
	"github.com/b24pull/b24pull/realtime/internal/transport"
	"github.com/b24pull/b24pull/realtime/internal/wire"
)

var (
	// ErrAlreadyRun is returned by a second Run or Messages: a subscription
	// runs once.
	ErrAlreadyRun = errors.New("realtime: the subscription has been run already; make a new one with Subscribe")

	// ErrConfigExpired is returned where a config given with FromConfig has
	// come to its end, or is refused by the push server, and there is nowhere
	// to get another one from.
	ErrConfigExpired = errors.New("realtime: the config has expired; get a new one from the portal")

	// ErrUnsupportedServer is returned for a push server that this version of
	// the package cannot talk to, or that has not got the transport that
	// WithTransport wants.
	ErrUnsupportedServer = errors.New("realtime: push server not supported")

	// ErrCursorMismatch is returned where the cursor to start from comes from
	// another portal, or from a push server of another kind: versions 1 and 2
	// count positions otherwise than later ones. A portal on a push server of
	// its own that was renamed counts as another one once its channels have
	// been replaced as well.
	ErrCursorMismatch = errors.New("realtime: the cursor comes from another portal, or from before this one was renamed, or from another kind of push server; start without it, WithHistory if nothing that is kept may be left out")

	// ErrClosed is the error, by errors.Is, of a Call after Close, or after the
	// end of the run.
	ErrClosed = errors.New("realtime: the subscription is closed")

	errCallsVersion = fmt.Errorf("%w: it takes calls from version 5 on", ErrUnsupportedServer)
	errCallsPolled  = fmt.Errorf("%w: calls go over a websocket, and it is connected by long polling", ErrUnsupportedServer)
	errCallsPaused  = errors.New("the subscription is paused, since its queue is full")

	errNoWebSocket = fmt.Errorf("%w: its websockets are off, and WithTransport wants one", ErrUnsupportedServer)
	errNoPolling   = fmt.Errorf("%w: it has no long polling, and WithTransport wants it", ErrUnsupportedServer)
)

// DecodeError is a message that arrived and could not be decoded. It is
// reported to the observer; the messages around it are delivered.
type DecodeError struct {
	ID  string // of the message, empty if it could not be read
	Err error  // what is wrong with it
}

// decodeError makes a codec's error one that users know.
func decodeError(err error) error {
	if bad, ok := err.(*wire.RecordError); ok {
		return &DecodeError{ID: bad.ID, Err: bad.Err}
	}
	return err
}

func (e *DecodeError) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("realtime: message cannot be decoded: %v", quote.Error(e.Err))
	}
	return fmt.Sprintf("realtime: message %s cannot be decoded: %v", quote.Name(e.ID), quote.Error(e.Err))
}

func (e *DecodeError) Unwrap() error { return e.Err }

// HandlerError is the error of a handler, with its message. If Run returns it,
// the message does not count as handled: it comes again to a subscription that
// goes on from a cursor taken before it.
type HandlerError struct {
	Message Message // the one that was not handled
	Err     error   // what the handler returned
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("realtime: handler of %s: %v", e.Message.name(), quote.Error(e.Err))
}

func (e *HandlerError) Unwrap() error { return e.Err }

// ParamsError is what [Decode] and a handler of [On] return where the params of
// a message are not what the program takes them for. To try again does not
// help, neither in place nor after a restart. What becomes of the message is
// said at [WithErrorPolicy].
type ParamsError struct {
	Module  string // of the message
	Command string // of the message
	Type    string // the Go type that they were to become, such as "main.Order"
	Err     error  // of encoding/json
}

func (e *ParamsError) Error() string {
	return fmt.Sprintf("realtime: params of %s %s as %s: %v", quote.Name(e.Module), quote.Name(e.Command), e.Type, quote.Error(e.Err))
}

func (e *ParamsError) Unwrap() error { return e.Err }

// HandlerPanic is what Run panics with if a handler has panicked that
// [WithParallel] had called: in a goroutine of its own, whose stack would be
// lost.
type HandlerPanic struct {
	Message Message // the one that was not handled
	Value   any     // what the handler panicked with
	Stack   []byte  // of the handler, as [runtime/debug.Stack] writes it
}

// Error has the stack in it, so that a panic that ends the program shows it.
func (e *HandlerPanic) Error() string {
	return fmt.Sprintf("realtime: handler of %s panicked: %s\n\n%s", e.Message.name(), quote.Text(fmt.Sprint(e.Value), quote.TextLimit), e.Stack)
}

// Unwrap returns the value if it is an error.
func (e *HandlerPanic) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// CallbackPanic is what [Subscription.Run] and the loop over
// [Subscription.Messages] panic with if something of yours has panicked in a
// goroutine of the subscription, whose stack would be lost: an observer, a
// logger's handler, the function of [WithBackoff], a save of a [CursorStore], a
// [ConfigSource] with its token source, an HTTP transport, a dialer or a
// connection.
type CallbackPanic struct {
	Value any    // what it panicked with
	Stack []byte // of the goroutine, as [runtime/debug.Stack] writes it
}

// Error has the stack in it, so that a panic that ends the program shows it.
func (e *CallbackPanic) Error() string {
	return fmt.Sprintf("realtime: a callback panicked: %s\n\n%s", quote.Text(fmt.Sprint(e.Value), quote.TextLimit), e.Stack)
}

// Unwrap returns the value if it is an error.
func (e *CallbackPanic) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// StatusError is an HTTP answer of the push server or of a proxy before it that
// refused a connection or a replay.
type StatusError struct {
	Status int    // HTTP status
	Reason string // the server's own words, if it sent a short text; of a redirect, where it leads
	// RetryAfter is how long the answer wants to be waited for, by its header
	// Retry-After, up to a quarter of an hour; 0 if it does not say. The
	// subscription does.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string { return (*transport.StatusError)(e).Error() }

// CloseError is a websocket closed by the push server.
type CloseError struct {
	Code   int    // close code: 1000 to 1015, or one of the push server's own, 4000 and above
	Reason string // the server's own words
}

func (e *CloseError) Error() string { return (*transport.CloseError)(e).Error() }

// AnswerError is an answer to a poll, or to a replay of the history, that is
// not a push server's, although its HTTP status says that all is well.
// Something stands in the place of the server, or between. It is no word of
// what the server keeps.
type AnswerError struct {
	Status      int    // HTTP status; 101 where a websocket was asked for the history
	ContentType string // the answer's Content-Type; empty if it had none
	Start       string // its first bytes in one line, without what may be secret
	Err         error  // why it is not taken for a push server's
}

func (e *AnswerError) Error() string { return (*transport.AnswerError)(e).Error() }

func (e *AnswerError) Unwrap() error { return e.Err }

// ownError makes an error of a transport one that users know.
func ownError(err error) error {
	var answer *transport.AnswerError
	var status *transport.StatusError
	var closed *transport.CloseError
	switch {
	case errors.As(err, &answer) && errors.Is(err, transport.ErrSilent):
		return fmt.Errorf("%w: %w", transport.ErrSilent, (*AnswerError)(answer))
	case errors.As(err, &answer):
		return (*AnswerError)(answer)
	case errors.As(err, &status):
		return (*StatusError)(status)
	case errors.As(err, &closed):
		return (*CloseError)(closed)
	}
	return err
}

// RPCError is what the push server answers to a [Subscription.Call] that it
// refuses.
type RPCError struct {
	Code    int             // of JSON-RPC: -32601 is an unknown method, -32602 wrong params, -32603 a failure of the server; 0 if there was none
	Message string          // the server's own words, without what may be secret
	Data    json.RawMessage // what the server has added, as it came; nil if nothing
}

func (e *RPCError) Error() string { return "realtime: " + (*wire.RPCError)(e).Error() }

// UnansweredError is a [Subscription.Call] that has no answer.
type UnansweredError struct {
	Method string
	Sent   bool  // it may have reached the server, and may have been carried out
	Err    error // why there is no answer: a *CloseError, the context's, or another
}

func (e *UnansweredError) Error() string { return "realtime: " + (*rpc.UnansweredError)(e).Error() }

func (e *UnansweredError) Unwrap() error { return e.Err }

// Class says what it means for calling again: [b24pull.ClassUnavailable] if the
// call may have been carried out, [b24pull.ClassFinal] if it was not sent for a
// caller who has cancelled, else [b24pull.ClassNotSent].
func (e *UnansweredError) Class() b24pull.Class {
	switch {
	case e.Sent:
		return b24pull.ClassUnavailable
	case errors.Is(e.Err, context.Canceled):
		return b24pull.ClassFinal
	}
	return b24pull.ClassNotSent
}

// callError makes the error of a call one that users know.
func callError(err error) error {
	var refused *wire.RPCError
	var unanswered *rpc.UnansweredError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return (*RPCError)(refused)
	case errors.As(err, &unanswered) && (errors.Is(err, ErrUnsupportedServer) || errors.Is(err, ErrClosed)):
		return fmt.Errorf("%w; the call of %s was not sent", unanswered.Err, quote.Name(unanswered.Method))
	case errors.As(err, &unanswered):
		return (*UnansweredError)(unanswered)
	default:
		return fmt.Errorf("realtime: Call: %w", err)
	}
}

// unusableError is what is wrong with a config that the next one hardly lacks:
// it is empty, or has no address that is of use. (One without a channel can be
// that of a portal which is busy.)
type unusableError struct{ error }

func (e *unusableError) Unwrap() error { return e.error }

// A failure is what an error asks the subscription to do.
type failure uint8

const (
	failPassing failure = iota // try again after a delay
	failConfig                 // the channels or the server are not the right ones any more: fetch the config anew
	failCrowded                // too many connections: a new one would throw out another; wait long
	failFatal                  // trying again cannot help
)

// classify says what to do after err.
func classify(err error) failure {
	var status *StatusError
	var closed *CloseError
	switch {
	case endingOf(err) == b24pull.EndsRun:
		return failFatal
	case errors.As(err, &closed):
		return classifyClose(closed.Code)
	case errors.As(err, &status) && status.Status == http.StatusBadRequest:
		return failConfig
	case errors.As(err, &status) && status.Status == http.StatusTooManyRequests:
		return failCrowded
	default:
		return failPassing
	}
}

// advised says what to do about a push server that waiting does not help to.
func advised(err error) error {
	switch {
	case netfail.BadCertificate(err):
		return fmt.Errorf("%w; it is the push server's certificate that is not trusted: have its authority trusted (SSL_CERT_FILE, or b24pull.WithHTTPClient), or the certificate renewed", err)
	case netfail.NoTLS(err):
		return fmt.Errorf("%w; what answers at the push server's address does not speak TLS: check the address and the port in the portal's Push & Pull settings", err)
	}
	return fmt.Errorf("%w; this machine knows no host of the push server's name, which stands in the portal's Push & Pull settings", err)
}

func classifyClose(code int) failure {
	switch code {
	case transport.CloseWrongChannel, transport.ClosePublicIDRequired, transport.CloseNoChannels, transport.CloseTooManyChannels, transport.CloseInvalidChannel, transport.CloseInvalidSignature, transport.CloseWrongClientID:
		return failConfig
	case transport.CloseTooManyConnections:
		return failCrowded
	default:
		return failPassing
	}
}

// endingOf returns what an error of a config source does to a subscription.
func endingOf(err error) b24pull.Ending {
	var vetoed *b24pull.MoveError
	var unusable *unusableError
	switch {
	case errors.As(err, &vetoed):
		return b24pull.EndsNothing // whatever the veto's own error is
	case errors.Is(err, ErrUnsupportedServer), errors.As(err, &unusable):
		return b24pull.EndsStart
	case errors.Is(err, ErrConfigExpired), errors.Is(err, ErrCursorMismatch), errors.Is(err, transport.ErrNoUpgrade):
		return b24pull.EndsRun
	}
	return b24pull.EndingOf(err)
}
