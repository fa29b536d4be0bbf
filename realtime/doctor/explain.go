package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/quote"
)

// failed is the finding of an error, in the words of this package: they say of
// each kind what is wrong and what to do.
func failed(err error) finding {
	for _, explain := range []func(error) (detail, advice string){explainAPI, explainToken, explainAnswer, explainNetwork} {
		if detail, advice := explain(err); detail != "" {
			return finding{Fail, detail, advice}
		}
	}
	var asked *url.Error // which repeats what was asked for
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return finding{Fail, quote.Error(err).Error(), ""}
}

const (
	adviseAddress   = "check that it is really the address of the portal"
	adviseBetween   = "something between here and the server answers in its place: look at the web server, the gateway or the proxy in front of it"
	adviseSilent    = "look whether the server is up, and whether a firewall or a proxy on the way swallows requests"
	adviseProxy     = "check the proxy's address, user and password, and what it lets through (HTTPS_PROXY, or Proxy of the HTTP client's transport)"
	adviseLater     = "try again later; if it lasts, ask who runs the portal"
	advisePullAdmin = "turn on Push & Pull in the portal's settings, or have its push server started"
	adviseLicence   = "look at the portal in a browser: it asks for a login, or its licence has expired"
)

// codes are what a portal's refusals call for.
var codes = []struct {
	is     error
	advice string
}{
	{b24pull.ErrExpiredToken, "get a new access token: it lives an hour, and a refresh token makes another"},
	{b24pull.ErrNoAuth, "the portal does not know this access token or webhook: check that it is of this portal, and make a new one"},
	{b24pull.ErrInvalidCredentials, "check USER and CODE of the webhook's address, or that the user is still active"},
	{b24pull.ErrInsufficientScope, "give the application or webhook the scope, in its settings: pull for an application's channels, pull_channel for those of a webhook's user"},
	{b24pull.ErrServerNotConfigured, advisePullAdmin},
	{b24pull.ErrWrongAuthType, "use an application (OAuth) for an application's channels, and a webhook for its user's"},
	{b24pull.ErrAccessDenied, "REST needs a paid plan, or is off in the portal's settings"},
	{b24pull.ErrUserAccess, "give the user access to the application, in its settings"},
	{b24pull.ErrPortalDeleted, "the portal is gone: remove it from your configuration"},
	{b24pull.ErrPaymentRequired, "the portal's plan, or its subscription of the application, has to be renewed"},
	{b24pull.ErrQueryLimit, "something calls this portal too often from this address: the limit is 2 calls a second"},
	{b24pull.ErrOperationTimeLimit, "the method has used up its time: try again in ten minutes"},
	{b24pull.ErrOverload, "REST is blocked on this portal for overload: ask its support"},
	{b24pull.ErrInternal, adviseLater},
	{b24pull.ErrUnexpectedAnswer, adviseLater},
	{b24pull.ErrUserID, "only an administrator's token may send to other users"},
	{b24pull.ErrInvalidGrant, "have a user open or authorize the application again"},
	{b24pull.ErrInvalidClient, "check client_id and client_secret"},
	{b24pull.ErrAuthorization, adviseLater},
}

// adviceOf is what an error with a code calls for; empty: it has none that is
// known.
func adviceOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.is) {
			return c.advice
		}
	}
	return ""
}

// explainAPI explains what a portal has answered.
func explainAPI(err error) (detail, advice string) {
	var moved *b24pull.MoveError
	if errors.As(err, &moved) {
		return fmt.Sprintf("the portal has moved from %s to %s, and the client does not follow", moved.From, moved.To), "set the new address"
	}
	if errors.Is(err, b24pull.ErrInvalidConfig) {
		return "the config cannot be used: " + quote.Error(err).Error(), "look at the portal's settings of Push & Pull, and whether the user is active; where channels are just being replaced, try again in a minute"
	}
	var api *b24pull.APIError
	if !errors.As(err, &api) {
		return "", ""
	}
	what, _, _ := strings.Cut(api.Description, ": is http") // asks what the advice says
	detail = fmt.Sprintf("%s: %s (HTTP %d)", api.Method, cmp.Or(api.Code, what), api.Status)
	if api.Code != "" && api.Description != "" {
		detail = fmt.Sprintf("%s: %s, «%s» (HTTP %d)", api.Method, api.Code, api.Description, api.Status)
	}
	if advice = adviceOf(err); advice != "" {
		return detail, advice
	}
	switch {
	case api.Code != "" && api.Status >= 500:
		return detail, adviseLater
	case api.Code != "":
		return detail, "look the code up in the documentation of REST; if it is none of Bitrix24's, " + adviseAddress
	case api.Status == http.StatusMovedPermanently || api.Status == http.StatusPermanentRedirect:
		return detail, "set the new address"
	case api.Status >= 300 && api.Status < 400:
		return detail, adviseLicence
	case api.Status >= 500:
		return detail, adviseBetween
	default:
		return detail, adviseAddress + ", and not that of a web server or a gateway before it"
	}
}

// explainToken explains why there is no access token.
func explainToken(err error) (detail, advice string) {
	var token *b24pull.TokenError
	if !errors.As(err, &token) {
		return "", ""
	}
	detail = "there is no access token"
	switch {
	case token.Code != "":
		detail += ": the authorization server answers " + quote.Name(token.Code)
	case token.Err != nil:
		detail += ": " + quote.Error(token.Err).Error()
	}
	return detail, cmp.Or(adviceOf(err), "look at the token source and its store")
}

// explainNetwork explains why nothing was answered.
func explainNetwork(err error) (detail, advice string) {
	var name *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError
	var broken *websocket.CloseError
	proxied := errors.As(err, &op) && op.Op == "proxyconnect"
	if detail, advice = explainCertificate(err); detail != "" {
		return detail, advice
	}
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		detail, advice = "the name "+quote.Name(name.Name)+" is not known", "check how the address is written, and look at the name server"
	case errors.As(err, &name):
		detail, advice = "the name "+quote.Name(name.Name)+" could not be resolved: "+quote.Name(name.Err), "look at the name server"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		detail, advice = "what answers speaks no TLS", "check the port: it may be that of plain http, or of another service"
	case refused(err):
		detail, advice = "the connection is refused: nothing listens there", "check the address and the port, that the server is up, and that no firewall refuses"
	case isTimeout(err):
		detail, advice = "no answer came in time", adviseSilent
	case errors.As(err, &broken) && broken.Code == websocket.CloseAbnormalClosure:
		detail, advice = "it broke off without a close frame", "look whether the server restarts, and whether a firewall or a proxy on the way cuts connections"
	case cutOff(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		detail, advice = "the connection was cut before the answer was complete", "look whether the server restarts, and whether a firewall or a proxy on the way cuts connections"
	case refusedByProxy(err) != "":
		return "the proxy answers: " + refusedByProxy(err), adviseProxy
	case proxied:
		detail, advice = quote.Error(op.Err).Error(), ""
	default:
		return "", ""
	}
	if proxied {
		return "the proxy: " + detail, adviseProxy
	}
	return detail, advice
}

// refusedByProxy is what a proxy has answered that does not connect: of its
// answer net/http tells nothing but the name of the status.
func refusedByProxy(err error) string {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	for status := http.StatusMultipleChoices; status <= http.StatusNetworkAuthenticationRequired; status++ {
		if name := http.StatusText(status); name != "" && err.Error() == name {
			return name
		}
	}
	return ""
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// explainCertificate explains why a certificate is not good.
func explainCertificate(err error) (detail, advice string) {
	var (
		unverified *tls.CertificateVerificationError
		host       x509.HostnameError
		authority  x509.UnknownAuthorityError
		invalid    x509.CertificateInvalidError
		shown      *x509.Certificate
	)
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		shown = unverified.UnverifiedCertificates[0]
	}
	switch {
	case errors.As(err, &host):
		shown = cmp.Or(shown, host.Certificate)
		return "the certificate is not for " + quote.Name(host.Host) + ": " + describe(shown),
			"use a name that the certificate is for, or have the server show one for this name"
	case errors.As(err, &authority):
		return "the certificate is signed by an authority that is not known here: " + describe(cmp.Or(shown, authority.Cert)),
			"trust its authority by SSL_CERT_FILE, or RootCAs of the transport of b24pull.WithHTTPClient; if it is that of a box that looks into TLS, trust that one's"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is not good now: " + describe(cmp.Or(shown, invalid.Cert)),
			"have it renewed, or set this machine's clock right"
	case unverified != nil, errors.As(err, &invalid):
		return "the certificate is not good: " + describe(shown) + ": " + quote.Error(err).Error(), "have the server show another one"
	}
	return "", ""
}

// describe says whose certificate it is, who signed it, and until when it is
// good.
func describe(c *x509.Certificate) string {
	if c == nil {
		return "nothing is known of it"
	}
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	if len(names) == 0 {
		names = []string{c.Subject.CommonName}
	}
	const most = 4
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	issuer := cmp.Or(c.Issuer.CommonName, strings.Join(c.Issuer.Organization, " "), "nobody named")
	return fmt.Sprintf("for %s%s, signed by %s, good from %s until %s", quote.Name(strings.Join(names, ", ")), more, quote.Name(issuer), day(c.NotBefore), day(c.NotAfter))
}

// statusText is an HTTP status with its name.
func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)))
}
