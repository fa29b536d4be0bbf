package transport

import (
	"fmt"
	"net/http"
	"strings"
)

// notForUsers are the fields that make a request what it is, beside those that
// begin with Sec-WebSocket- or Proxy-.
var notForUsers = map[string]string{
	"Host":                "the config says which host is asked",
	"Connection":          "it belongs to the connection",
	"Keep-Alive":          "it belongs to the connection",
	"Te":                  "it belongs to the connection",
	"Trailer":             "it belongs to the connection",
	"Transfer-Encoding":   "it belongs to the connection",
	"Upgrade":             "it belongs to the connection",
	"Content-Length":      "it belongs to the body",
	"Content-Type":        "it belongs to the body",
	"Expect":              "it belongs to the body",
	"Idempotency-Key":     "net/http would repeat a request that publishes",
	"X-Idempotency-Key":   "net/http would repeat a request that publishes",
	"Accept-Encoding":     "the answers are read as they come",
	"Range":               "answers are wanted whole",
	"If-Range":            "answers are wanted whole",
	"If-Match":            "it would change what the push server answers",
	"If-None-Match":       "it would change what the push server answers",
	"If-Modified-Since":   "it would change what the push server answers",
	"If-Unmodified-Since": "it would change what the push server answers",
}

// CheckHeader returns a copy of a header with its names in their usual form.
// Its errors tell no value.
func CheckHeader(header http.Header) (http.Header, error) {
	checked := make(http.Header, len(header))
	for given, values := range header {
		name := http.CanonicalHeaderKey(given)
		why, kept := notForUsers[name]
		switch {
		case given == "" || strings.ContainsFunc(given, notInName):
			return nil, fmt.Errorf("%q is not the name of a header field", given)
		case kept:
			return nil, fmt.Errorf("%s cannot be set: %s", name, why)
		case strings.HasPrefix(name, "Sec-Websocket-"):
			return nil, fmt.Errorf("%s cannot be set: it belongs to the handshake", name)
		case strings.HasPrefix(name, "Proxy-"):
			return nil, fmt.Errorf("%s cannot be set: it is for proxies; set Proxy or ProxyConnectHeader of the HTTP client's transport", name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, notInValue) {
				return nil, fmt.Errorf("the value of %s has characters that a header field cannot have", name)
			}
			checked[name] = append(checked[name], v)
		}
	}
	return checked, nil
}

// notInName reports whether the name of a header field cannot have a character
// (RFC 9110, 5.6.2).
func notInName(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
}

// notInValue reports whether the value of one cannot.
func notInValue(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// HeaderSecrets are what may be secret of a header.
func HeaderSecrets(header http.Header) (secrets []string) {
	for name, values := range header {
		if name == "User-Agent" {
			continue
		}
		for _, v := range values {
			for _, part := range append(strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" ;,=", r) }), v) {
				if len(part) >= 8 {
					secrets = append(secrets, part)
				}
			}
		}
	}
	return secrets
}
