package b24pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/b24pull/b24pull/internal/addr"
	"github.com/b24pull/b24pull/internal/dial"
)

// PublicTransport returns a new transport like net/http's default one that
// connects to public addresses only: not to loopback, private, link-local,
// shared (100.64.0.0/10), multicast or reserved ones, nor to those inside IPv6
// addresses that stand for IPv4 ones. What is looked at is the address that is
// connected to, after its name was resolved. So neither a portal's address, nor
// a redirect, nor the push server of a config leads into the host's own
// network. It is for applications that portals of strangers install. Give one
// http.Client with it to WithHTTPClient and to Application.HTTPClient; package
// realtime uses the Client's for polls and websockets, unless it is given a
// dialer.
//
// The proxies of the environment (see http.ProxyFromEnvironment) are excepted:
// they can be anywhere. A proxy resolves names itself, so it has to refuse
// internal ones itself; of what it is asked for only addresses without a name,
// and localhost, are looked at here. Its address is connected to for nothing
// else. All else can be changed before the
// transport is used, like TLSClientConfig. A Proxy that is set has to have a
// public address, and the functions that dial undo all this.
func PublicTransport() *http.Transport { return publicTransport(http.ProxyFromEnvironment) }

func publicTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	t, ok := clonedDefault()
	if !ok {
		t = &http.Transport{ForceAttemptHTTP2: true, MaxIdleConns: 100, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
	}
	p := &publicDialer{proxy: proxy}
	t.Dial, t.DialTLS, t.DialTLSContext = nil, nil, nil //lint:ignore SA1019 what the default has does not count
	t.Proxy, t.DialContext = p.proxyFor, p.dial
	return t
}

// publicDialer knows the proxies that were to be used.
type publicDialer struct {
	proxy   func(*http.Request) (*url.URL, error)
	proxies sync.Map // of host:port
}

func (p *publicDialer) proxyFor(r *http.Request) (*url.URL, error) {
	u, err := p.proxy(r)
	if err != nil {
		return nil, err
	}
	host := r.URL.Hostname()
	if u == nil {
		dial.ToProxy(r.Context(), "")
		if _, ok := p.proxies.Load(dialed(r.URL)); ok && !p.known(r) {
			return nil, &inwardError{host}
		}
		return nil, nil
	}
	if inward(host) {
		return nil, &inwardError{host}
	}
	at := dialed(u)
	p.proxies.Store(at, true)
	dial.ToProxy(r.Context(), at)
	return u, nil
}

// known reports whether it will be known what a request is dialed for. What is
// not must not be dialed where a proxy is.
func (p *publicDialer) known(r *http.Request) bool {
	_, known := dial.IsToProxy(r.Context(), "")
	return known
}

// dialed is the address that net/http dials for a URL.
func dialed(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(addr.ASCII(u.Hostname()), port)
}

func (p *publicDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	proxy, known := dial.IsToProxy(ctx, address)
	if !known {
		_, proxy = p.proxies.Load(address)
	}
	if !proxy {
		d.Control = onlyPublic
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return dial.Wrap(ctx, c), nil
}

// onlyPublic is told the address that a name was resolved to.
func onlyPublic(network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !public(at.Addr()) {
		host, _, _ := net.SplitHostPort(address)
		return &inwardError{host}
	}
	return nil
}

// inwardError says that an address was not connected to. It is ClassFinal.
type inwardError struct{ host string }

func (e *inwardError) Error() string {
	return fmt.Sprintf("%s is not a public address, and PublicTransport connects to no other; "+
		"for a portal or a push server in your own network use another transport", e.host)
}

func ledInward(err error) bool { return errors.As(err, new(*inwardError)) }

// inward reports whether a host is one that is not public, as far as it tells
// itself.
func inward(host string) bool {
	host = strings.ToLower(strings.TrimRight(addr.ASCII(host), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return !public(ip)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || isNumber(host)
}

// isNumber reports whether a host is one of the other forms of an IPv4 address,
// like 127.1, 0x7f000001 or 2130706433. No name ends in a number.
func isNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

var (
	// notPublic4 are the blocks of the IANA's registry for special purposes
	// that are not reached from everywhere, and multicast.
	notPublic4 = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4", azure)
	// global6 are all that are given out to be reached from everywhere,
	// notPublic6 the special ones among them: Teredo, benchmarks,
	// documentation, 6to4.
	global6    = netip.MustParsePrefix("2000::/3")
	notPublic6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	// nat64 has an IPv4 address in its last four bytes.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// azure is where machines of Azure find the service that configures them.
const azure = "168.63.129.16/32"

func prefixes(all ...string) (list []netip.Prefix) {
	for _, p := range all {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// public reports whether an address is one of the internet.
func public(ip netip.Addr) bool {
	zone := ip.Zone() != ""
	ip = ip.Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	not := notPublic6
	if ip.Is4() {
		not = notPublic4
	}
	in := func(p netip.Prefix) bool { return p.Contains(ip) }
	return !zone && (ip.Is4() || global6.Contains(ip)) && !slices.ContainsFunc(not, in)
}
