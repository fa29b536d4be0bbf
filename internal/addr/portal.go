package addr

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/b24pull/b24pull/internal/quote"
)

// Base parses an absolute URL of a host and a path, nothing else but what
// came along when it was pasted. Its errors say what is wrong with it and do
// not repeat it.
func Base(address string) (*url.URL, error) {
	address = Trim(address)
	if problem := mistake(address); problem != "" {
		return nil, errors.New(problem)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil && strings.Contains(err.Error(), "invalid port"), err == nil && !validPort(u.Port()):
		return nil, errors.New("its port is not a number from 1 to 65535")
	case err != nil:
		return nil, errors.New("it is not a URL")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.Hostname() == "https" || u.Hostname() == "http":
		return nil, errors.New("its https is not followed by ://")
	case u.Host == "PORTAL":
		return nil, errors.New("PORTAL stands for the host of your portal")
	case !quote.Printable(u.Host):
		return nil, errors.New("its host has characters that do not print")
	case u.User != nil:
		return nil, errors.New("it has a user or a password before the host")
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("it has a query: leave out the ? and what follows")
	case u.Fragment != "":
		return nil, errors.New("it has a fragment: leave out the # and what follows")
	}
	u.Host, u.RawPath = strings.ToLower(u.Host), ""
	return u, nil
}

// mistake names what is often wrong with an address that was typed or pasted,
// "" if it is none of that.
func mistake(address string) string {
	lower := strings.ToLower(address)
	if end := strings.IndexAny(lower, "?#"); end >= 0 {
		lower = lower[:end]
	}
	first := strings.Index(lower, "http")
	switch {
	case address == "":
		return "it is empty"
	case strings.ContainsFunc(address, Aside):
		return "it has spaces, line breaks or quotes in it: want one address alone"
	case strings.Contains(lower, `\`):
		return `it has \ in it in place of /`
	case first > 0 && strings.Contains(lower[first:], "://") && !strings.Contains(lower[:first], "/"):
		return "something stands before its https://"
	case strings.LastIndex(lower, "://") != strings.Index(lower, "://"):
		return "it has :// in it twice"
	case strings.ContainsAny(lower, "<>{}$*…|"):
		return "it has <>, {}, $, * or … in it: put what they stand for there"
	case !strings.Contains(lower, "://"):
		return "it does not begin with https://"
	}
	return ""
}

// Aside reports whether a character is of what Trim takes off at the ends.
func Aside(c rune) bool { return Trim(string(c)) == "" }

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n <= 65535
}

// Loopback reports whether a host is this machine by its name or address.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var (
	// hookBegin matches the path of a webhook, whatever comes after the code.
	hookBegin = regexp.MustCompile(`^/rest/(api/)?[0-9]+/[^/]+`)
	// authServers are the cloud's authorization servers.
	authServers = []string{"oauth.bitrix.info", "oauth.bitrix24.tech"}
)

// REST parses the https address of a portal, or its bare host name, to that of
// its REST. Its errors do not repeat the address.
func REST(address string) (*url.URL, error) {
	u, err := PlainREST(address, true)
	if err == nil && u.Scheme != "https" {
		return nil, errors.New("https is required: a token goes to the portal's https address only")
	}
	return u, err
}

// PlainREST is REST that takes http of loopback hosts, and with everywhere of
// all hosts.
func PlainREST(address string, everywhere bool) (*url.URL, error) {
	if Trim(address) != "" {
		address = WithScheme(address)
	}
	u, err := Base(address)
	if err != nil {
		return nil, fmt.Errorf("the portal's address: %w; want https://PORTAL", err)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	switch {
	case hookBegin.MatchString(path):
		return nil, errors.New("this is the address of a webhook: use b24pull.Webhook for it; want https://PORTAL")
	case slices.Contains(authServers, u.Host):
		return nil, errors.New("this is the authorization server's address, not a portal's; want https://PORTAL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the portal's address begins with %s://; want https://PORTAL", u.Scheme)
	case u.Scheme == "http" && !everywhere && !Loopback(u.Hostname()):
		return nil, errors.New("https is required: over http anybody on the way reads the token; http is for a loopback host, or with WithPlainHTTP")
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

// HostPort is the host and the port that a request to an address goes to.
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
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
