// Package netfail tells what is known of a request that got no answer: above
// all whether it was sent.
package netfail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/b24pull/b24pull/internal/redact"
)

// An Error says that no answer came.
type Error struct {
	Text string // without secrets
	Err  error  // the cause, without secrets
	Sent SentState
}

// SentState says whether a request that got no answer was sent.
type SentState uint8

const (
	// SentUnknown is where the transport does not tell.
	SentUnknown SentState = iota
	// NotSent is where no connection came about.
	NotSent
	// Sent is where one did: the request may have been executed, whatever the
	// error is.
	Sent
)

// Error returns Text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// NotSent reports whether the request was surely not sent.
func (e *Error) NotSent() bool {
	var op *net.OpError
	switch {
	case e.Sent != SentUnknown:
		return e.Sent == NotSent
	case BadCertificate(e.Err):
		return true
	}
	return errors.As(e.Err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// BadCertificate reports whether the other side is not who it should be. Asking
// it again does not help.
func BadCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

// NoSuchHost reports whether a host's name does not exist. A resolver that does
// not answer says nothing of it.
func NoSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && !dns.IsTimeout && !dns.IsTemporary
}

// NoTLS reports whether what answers at an https or wss address speaks
// something else.
func NoTLS(err error) bool {
	var record tls.RecordHeaderError
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &record)
}

// Hopeless reports whether waiting hardly helps against an error of the
// network: the address is wrong, or the other side is not who it should be.
func Hopeless(err error) bool { return BadCertificate(err) || NoSuchHost(err) || NoTLS(err) }

// ProxyAsks reports whether a request was refused by a proxy that wants a
// password, or another one. net/http has no value for that error.
func ProxyAsks(err error) bool {
	var broken *Error
	return errors.As(err, &broken) && broken.Err != nil && asked(broken.Err.Error())
}

func asked(text string) bool {
	return strings.HasSuffix(text, http.StatusText(http.StatusProxyAuthRequired))
}

// ErrNoRefreshToken is why a token that has expired is not refreshed.
var ErrNoRefreshToken = errors.New("there is no refresh token; have a user open or authorize the application again")

// Refused reports whether an HTTP status is a refusal that does not ask for
// another try.
func Refused(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= http.StatusMultipleChoices && status < http.StatusInternalServerError
}

// FromNetwork reports whether an error is one of net or net/http, the end of a
// deadline among them.
func FromNetwork(err error) bool {
	var address *url.Error
	var network net.Error
	return errors.As(err, &address) || errors.As(err, &network)
}

// A Trace sees whether a request of net/http gets a connection: without one it
// was not sent, whatever the error is. The type of the error does not tell
// where a proxy refuses or a handshake fails. The zero value is ready to use,
// for one request.
//
// For a request that must not be made twice net/http asks for another
// connection only where it has written nothing over the one before, or where
// the server said that it has done nothing.
type Trace struct{ asked, got atomic.Bool }

// Watch returns a context for the request.
func (t *Trace) Watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			t.asked.Store(true)
			t.got.Store(false)
		},
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	})
}

// Sent says what has been seen.
func (t *Trace) Sent() SentState {
	switch {
	case t.got.Load():
		return Sent
	case t.asked.Load():
		return NotSent
	}
	return SentUnknown
}

// Refusal takes apart why there is no token: clean is err without secrets. The
// cause is nil where the refusal of the authorization server says it all.
func Refusal(clean, err error) (refusal redact.TokenRefusal, cause error) {
	if _, ok := clean.(*Error); !ok && FromNetwork(err) {
		clean = &Error{Text: clean.Error(), Err: clean}
	}
	var told *redact.TokenRefusal
	if !errors.As(clean, &told) {
		return refusal, clean
	}
	if clean == error(told) {
		clean = nil
	}
	return *told, clean
}

// Status is the text of an HTTP status of 500 and above that came without a
// code: a gateway may have written it, and nobody has refused.
func Status(status int) error {
	return fmt.Errorf("the authorization server answered HTTP %d", status)
}

// Redirected reports whether a status is a redirect or another 3xx.
func Redirected(status int) bool {
	return status >= http.StatusMultipleChoices && status < http.StatusBadRequest
}
