package b24pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// A networkError says that no answer came.
type networkError struct {
	text  string
	cause error
	fate  fate
}

// fate is what is known of a request that got no answer.
type fate uint8

const (
	fateUnknown fate = iota
	fateUnsent       // no connection came about
	fateSent         // one did: it may have been executed, whatever the error is
)

func (e *networkError) Error() string { return e.text }
func (e *networkError) Unwrap() error { return e.cause }

func (e *networkError) class() Class {
	switch {
	case errors.Is(e.cause, context.Canceled), badCertificate(e.cause), ledInward(e.cause):
		return Final
	case e.unreached():
		return NotSent
	}
	return Unavailable
}

// unreached tells whether the request was surely not sent.
func (e *networkError) unreached() bool {
	var op *net.OpError
	switch {
	case e.fate != fateUnknown:
		return e.fate == fateUnsent
	case badCertificate(e.cause):
		return true
	}
	return errors.As(e.cause, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// badCertificate tells whether the other side is not who it should be; asking it again does not help.
func badCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

// fromNetwork tells whether an error is one of net or net/http, the end of a
// deadline among them.
func fromNetwork(err error) bool {
	var address *url.Error
	var network net.Error
	return errors.As(err, &address) || errors.As(err, &network)
}

// A wire sees whether a request of net/http gets a connection: without one it was
// not sent, whatever the error is. A proxy that refuses, or a handshake that fails, do
// not tell by their type.
type wire struct{ asked, got atomic.Bool }

func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.got.Store(true) },
	})
}

// fate is unknown where the transport does not tell.
func (w *wire) fate() fate {
	switch {
	case w.got.Load():
		return fateSent
	case w.asked.Load():
		return fateUnsent
	}
	return fateUnknown
}
