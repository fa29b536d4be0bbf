// Package addr reads addresses that come from a portal or from a human.
package addr

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/b24pull/b24pull/internal/quote"
)

// Parse reads an absolute address of a push server, with one of the schemes,
// the first of which is the one to be wanted. Its errors do not repeat the
// address, which can hold a secret.
func Parse(raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(Trim(raw))
	problem := ""
	switch {
	case err != nil:
		problem = "it is not a URL"
	case u.Scheme == "":
		problem = "it has no scheme"
	case !slices.Contains(schemes, u.Scheme):
		problem = "its scheme is not " + strings.Join(schemes, " or ")
	case u.Hostname() == "":
		problem = "it has no host"
	case u.User != nil:
		problem = "it has a user or a password before the host"
	case !quote.Printable(u.Host):
		problem = "its host has characters that do not print"
	default:
		return u, nil
	}
	return nil, errors.New(problem + "; want " + schemes[0] + "://host/path")
}

// HasUser reports whether an address, or a host by itself, has a user or a
// password before the host, however the rest of it is written.
func HasUser(raw string) bool {
	if scheme, rest, ok := strings.Cut(raw, "//"); ok && !strings.ContainsAny(scheme, `/\?#`) {
		raw = rest
	}
	if end := strings.IndexAny(raw, `/\?#`); end >= 0 {
		raw = raw[:end]
	}
	return strings.Contains(raw, "@")
}

// Trim takes off what comes along when an address or a token is pasted, from a
// chat, a page or a file: white space, quotes, and marks that cannot be seen.
func Trim(s string) string {
	return strings.TrimFunc(s, func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || strings.ContainsRune("\"'`´«»‹›“”„‟‘’‚‛", c)
	})
}

// ASCII is the name that a host is looked up and asked for by: an internationalized one as
// net/http writes it. Any other, and what is no name, is returned as it is.
func ASCII(host string) string {
	if !strings.ContainsFunc(host, func(c rune) bool { return c > unicode.MaxASCII }) {
		return host
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return host
}

// ASCIIHost is the host of an address with its name in ASCII, and with its port
// if it has one.
func ASCIIHost(u *url.URL) string {
	name := u.Hostname()
	if ascii := ASCII(name); ascii != name {
		return ascii + strings.TrimPrefix(u.Host, name)
	}
	return u.Host
}
