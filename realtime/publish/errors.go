package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/netfail"
	"github.com/b24pull/b24pull/internal/quote"
	"github.com/b24pull/b24pull/realtime"
	"github.com/b24pull/b24pull/realtime/internal/transport"
)

var (
	// ErrUnavailable is the error where clients cannot publish, or cannot ask
	// what was asked for: the push server is too old, publishing is turned off,
	// or the user has no channel to publish from. No request has been made of
	// the push server. The error around it says which it is.
	ErrUnavailable = errors.New("publish: not available on this portal")

	// ErrClosed is the error of a [Publisher] that has been closed.
	ErrClosed = errors.New("publish: the publisher is closed")
)

// MessageError is a message that cannot be sent, whatever the push server says.
// No message of the call has been sent.
type MessageError struct {
	Index int   // of the message in the call
	Err   error // what is wrong with it; an [*UnknownUsersError] for one
}

func (e *MessageError) Error() string {
	return fmt.Sprintf("publish: message %d: %v", e.Index, quote.Error(e.Err))
}

func (e *MessageError) Unwrap() error { return e.Err }

// Class is final: the same message will be refused again.
func (e *MessageError) Class() b24pull.Class { return b24pull.ClassFinal }

// UnknownUsersError names receivers that have no public channel, so that
// nothing can be published to them: the portal does not know them, they are not
// active, or they have never opened the portal.
type UnknownUsersError struct {
	Users []int64 // in ascending order
}

func (e *UnknownUsersError) Error() string {
	const shown = 20
	var ids []string
	for _, id := range e.Users[:min(len(e.Users), shown)] {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	text := "no public channel for user"
	if len(e.Users) > 1 {
		text += "s"
	}
	text += " " + strings.Join(ids, ", ")
	if more := len(e.Users) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ": unknown on the portal, not active, or never there yet"
}

// A waitError is a wait for the portal that the caller's context has ended:
// nothing has been published.
type waitError struct {
	what string
	err  error // the context's
}

func (e waitError) Error() string {
	return fmt.Sprintf("publish: nothing was published: %s had not come: %v", e.what, e.err)
}

func (e waitError) Unwrap() error { return e.err }

// Class is not sent where a deadline was too short, and final for a caller who
// has cancelled.
func (e waitError) Class() b24pull.Class {
	if errors.Is(e.err, context.DeadlineExceeded) {
		return b24pull.ClassNotSent
	}
	return b24pull.ClassFinal
}

// waited is why a wait for something of the portal's has ended.
func waited(ctx context.Context, what string) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrClosed) {
		return ErrClosed
	}
	return waitError{what, cause}
}

func unknown(users []int64) error {
	slices.Sort(users)
	return &UnknownUsersError{slices.Clone(users)}
}

// Error says how far a call of [Publisher.Publish] has come. The messages
// before Index have been accepted, for all of their receivers.
type Error struct {
	Index     int   // of the first message that was not accepted whole
	Receivers int   // for how many of its receivers it was: users first, then channels, each as listed, but for those who are named twice
	Err       error // why it was not, or that nobody knows
}

func (e *Error) Error() string {
	text := fmt.Sprintf("publish: message %d", e.Index)
	if e.Receivers > 0 {
		text += fmt.Sprintf(" after %d receivers", e.Receivers)
	}
	return text + ": " + quote.Error(e.Err).Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Class says what the error means for publishing again what was not accepted:
// [b24pull.ClassNotSent] and [b24pull.ClassThrottled] that it has surely not
// been published, [b24pull.ClassUnavailable] that it may have been, so that
// publishing it again may bring it twice, [b24pull.ClassFinal] that it has not
// been and that trying again does not help: it is refused, the publisher is
// closed, or the caller has cancelled.
func (e *Error) Class() b24pull.Class { return classOf(e.Err) }

// RefusedError is the push server's refusal of a request, or that of something
// between. Nothing of the request has been published, unless its Class is
// [b24pull.ClassUnavailable].
type RefusedError struct {
	Status     int           // HTTP status
	Code       int           // the push server's, like 4021; 0 if it told none
	Reason     string        // its own words, if it sent a short text; of a redirect, where it leads
	RetryAfter time.Duration // how long it wants to be waited for; 0 if it does not say
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the push server refused: HTTP %d", e.Status)
	if e.Code != 0 {
		text += fmt.Sprintf(", %d", e.Code)
	}
	if e.Reason != "" {
		text += ": " + quote.Text(e.Reason, quote.TextLimit)
	}
	if advice := e.advice(); advice != "" {
		text += "; " + advice
	}
	return text
}

func (e *RefusedError) advice() string {
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		return "something before the push server takes less than 1 MiB; make the messages shorter"
	case e.Code == closeNotAllowed:
		return "the push server does not let clients do this"
	}
	return ""
}

// Class says what the refusal means for publishing again.
func (e *RefusedError) Class() b24pull.Class {
	switch {
	case e.Status == http.StatusTooManyRequests, e.Code == transport.CloseTooManyConnections:
		return b24pull.ClassThrottled
	case e.Status >= http.StatusInternalServerError:
		return b24pull.ClassUnavailable
	}
	return b24pull.ClassFinal
}

// Codes of refusals that the package knows, beside those of connections.
const (
	closeNotAllowed = 4014
)

// outdated reports whether the refusal is one of the channels: another config,
// or other public channels, may help.
func (e *RefusedError) outdated() bool { return ofChannels(e.Code) }

// outdatedClose is outdated for a connection that was closed.
func outdatedClose(err error) bool {
	var closed *realtime.CloseError
	return errors.As(err, &closed) && ofChannels(closed.Code)
}

// ofChannels reports whether a code refuses a channel.
func ofChannels(code int) bool {
	switch code {
	case transport.CloseWrongChannel, transport.ClosePublicIDRequired, transport.CloseInvalidChannel, transport.CloseInvalidSignature, transport.CloseWrongClientID:
		return true
	}
	return false
}

// coded matches a refusal with a code.
var coded = regexp.MustCompile(`^(4[0-9]{3}):\s*(.*)$`)

// unrenewed is a refusal of channels, and why they could not be asked for anew.
type unrenewed struct {
	refused *RefusedError
	err     error
}

func (e unrenewed) Error() string { return e.refused.Error() + "; " + quote.Error(e.err).Error() }

func (e unrenewed) Unwrap() []error { return []error{e.refused, e.err} }

// Class is that of asking: nothing has been published, whether the portal has
// been reached or not.
func (e unrenewed) Class() b24pull.Class {
	if class := classOf(e.err); class != b24pull.ClassUnavailable {
		return class
	}
	return b24pull.ClassNotSent
}

// unbelieved is an answer that is not a push server's, although its HTTP status
// says that all is well: a page of something in its place. Whether anything was
// published nobody knows.
type unbelieved struct{ *realtime.AnswerError }

func (e unbelieved) Error() string {
	return strings.TrimPrefix(e.AnswerError.Error(), "realtime: ")
}

func (e unbelieved) Unwrap() error { return e.AnswerError }

// Class is unavailable.
func (e unbelieved) Class() b24pull.Class { return b24pull.ClassUnavailable }

// networkError is a request without an answer.
type networkError struct{ err *netfail.Error }

func (e networkError) Error() string {
	return strings.TrimPrefix(e.err.Text, "realtime: ")
}

func (e networkError) Unwrap() error { return e.err }

// Class tells whether the request was sent.
func (e networkError) Class() b24pull.Class {
	switch {
	case netfail.BadCertificate(e.err.Err):
		return b24pull.ClassFinal
	case e.err.NotSent():
		return b24pull.ClassNotSent
	}
	return b24pull.ClassUnavailable
}

// ownError makes an error of the transport one of this package.
func ownError(err error) error {
	var status *transport.StatusError
	var answer *transport.AnswerError
	var broken *netfail.Error
	var closed *transport.CloseError
	switch {
	case errors.As(err, &closed):
		return (*realtime.CloseError)(closed)
	case errors.As(err, &status):
		refused := &RefusedError{Status: status.Status, Reason: status.Reason, RetryAfter: status.RetryAfter}
		if m := coded.FindStringSubmatch(status.Reason); m != nil {
			refused.Code, _ = strconv.Atoi(m[1])
			refused.Reason = m[2]
		}
		return refused
	case errors.As(err, &answer):
		return unbelieved{(*realtime.AnswerError)(answer)}
	case errors.As(err, &broken):
		return networkError{broken}
	}
	return err
}

// rpcInternal is the code of JSON-RPC for a failure of the server.
const rpcInternal = -32603

// rpcCode is the code of a refusal of JSON-RPC; 0 for any other error.
func rpcCode(err error) int {
	var refused *realtime.RPCError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}

// classOf is the class of an error. What was not sent for a caller who
// cancelled, or for Close, will not be sent either: that is final.
func classOf(err error) b24pull.Class {
	class := classOfCause(err)
	if class == b24pull.ClassNotSent && (errors.Is(err, ErrClosed) || errors.Is(err, realtime.ErrClosed) || errors.Is(err, context.Canceled)) {
		return b24pull.ClassFinal
	}
	return class
}

func classOfCause(err error) b24pull.Class {
	var own interface {
		error
		Class() b24pull.Class
	}
	switch {
	case rpcCode(err) == rpcInternal:
		return b24pull.ClassUnavailable
	case errors.As(err, &own):
		return own.Class()
	}
	return b24pull.ClassOf(err)
}
