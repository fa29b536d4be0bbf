package netfail

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
)

// Explain is the text of err, which kept a request from being answered, with
// the host that was to be reached and what to do about it. host has a port.
func Explain(host string, err error) string {
	text := err.Error()
	advice := advice(err, text)
	if host != "" && !strings.Contains(text, host) {
		text = host + ": " + text
	}
	if advice != "" {
		text += "; " + advice
	}
	return text
}

func advice(err error, text string) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown *net.DNSError
	switch {
	case asked(text):
		return "that is the proxy: give its user and password in HTTPS_PROXY, or in the Proxy of the http.Client's transport"
	case strings.HasPrefix(text, "proxyconnect"):
		return "that is the proxy: check HTTPS_PROXY, or the Proxy of the http.Client's transport"
	case errors.As(err, &authority):
		return "if it is the right host, have its authority be trusted: by the system, by SSL_CERT_FILE, or by RootCAs in the transport of the http.Client that is given (WithHTTPClient)"
	case errors.As(err, &name):
		return "the certificate is that of another host: check the address"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "check the clock of this machine, or have the certificate renewed"
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return "check the host's name"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "what answers there speaks http, not https: check the port"
	case NoTLS(err):
		return "what answers there does not speak https: check the port"
	case strings.Contains(text, "refused") && strings.Contains(text, "dial"):
		return "nothing listens there: check the host and the port"
	}
	return ""
}
