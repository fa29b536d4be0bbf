package addr

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/b24pull/b24pull/internal/quote"
)

// Base parses an absolute URL of a host and a path, nothing else but what
// came along when it was pasted. Its errors do not repeat the address.
func Base(address string) (*url.URL, error) {
	u, err := url.Parse(Trim(address))
	switch {
	case err != nil:
		return nil, errors.New("the address is not a URL")
	case u.Scheme == "" || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the address has no scheme or no host")
	case !quote.Printable(u.Host):
		return nil, errors.New("the host has characters that do not print")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the address has a user, a query or a fragment")
	}
	u.Host, u.RawPath = strings.ToLower(u.Host), ""
	return u, nil
}

// REST parses the address of a portal, or its bare host name, to that
// of its REST. https is required. Its errors do not repeat the address.
func REST(address string) (*url.URL, error) {
	u, err := Base(WithScheme(address))
	if err != nil {
		return nil, fmt.Errorf("%w; want https://PORTAL", err)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	switch {
	case u.Scheme != "https":
		return nil, errors.New("https is required: a token goes to the portal's https address only")
	case path != "" && path != "/rest" && path != "/rest/api":
		return nil, errors.New("the portal's address has a path; want https://PORTAL")
	}
	u.Path = cmp.Or(path, "/rest") + "/"
	return u, nil
}

// WithScheme makes https addresses of bare hosts.
func WithScheme(address string) string {
	if address = Trim(address); !strings.Contains(address, "://") {
		return "https://" + address
	}
	return address
}

// Portal returns https on the host that an address names, or that is named by
// itself; "" if that is no host. A token goes to an https address only, but
// answers, forms and redirects may say http where the portal has https as well.
func Portal(address string) string {
	u, err := url.Parse(WithScheme(address))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" || u.User != nil || u.Hostname() == "" {
		return ""
	}
	portal := "https://" + Host(u)
	if _, err := REST(portal); err != nil {
		return ""
	}
	return portal
}

// Host is the host of an address in the one form that it is compared in: lower
// case, no dot at the end, and no port that is the scheme's own.
func Host(u *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return host
	}
	return host + ":" + port
}

// SameHost reports whether two addresses are of one host, in whatever form its
// name is written.
func SameHost(a, b *url.URL) bool {
	form := func(u *url.URL) string {
		ascii := *u
		ascii.Host = ASCIIHost(u)
		return Host(&ascii)
	}
	return form(a) == form(b)
}
