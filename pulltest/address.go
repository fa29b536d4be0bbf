package pulltest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// WithAddress makes the portal listen for https at a fixed address of this
// machine, "127.0.0.1:8443", or of a [Network], "portal.example:8443", instead
// of a loopback port of its own choice. With ":8443" or "0.0.0.0:8443" it is
// reached from other machines, too, and calls itself localhost, unless
// [WithHostname] names it. Port 0 is any that is free, but for a Network.
// [NewPortal] panics if it cannot listen there, and [Start] returns an error.
func WithAddress(addr string) Option {
	return func(o *options) { o.address = addr }
}

// WithPlainHTTP serves the same portal over plain http as well, at a fixed
// address as [WithAddress] takes it; see [Portal.PlainURL]. What the portal
// tells of itself stays https, unless [WithPlainURLs] says otherwise.
func WithPlainHTTP(addr string) Option {
	return func(o *options) { o.plain = addr }
}

// WithPlainURLs has all addresses that the portal tells of itself be those of
// [WithPlainHTTP], for clients that know nothing of its certificate: URL,
// PushURL, AuthServer, the webhooks, all addresses in configs, and what the
// application is told. A real portal has nothing like it, and clients that
// insist on https refuse it.
func WithPlainURLs() Option {
	return func(o *options) { o.plainURLs = true }
}

// WithHostname sets the name that the portal calls itself by, and that its
// certificate is for, where it is another than that of its address: that of a
// container, say, or an entry of /etc/hosts. The ports are those of the
// addresses. On a [Network] names are those of the addresses.
func WithHostname(name string) Option {
	return func(o *options) { o.hostname = name }
}

// WithCertificate has the portal show a certificate of one's own, with its
// private key and what chain it needs, in place of the one made up. The names
// that it is for are its own: the portal's is to be among them, and after
// [Portal.Move] on a Network the new one. The clients of [Portal.HTTPClient]
// trust it, and who issued it as far as the chain has them.
func WithCertificate(c tls.Certificate) Option {
	return func(o *options) { o.certificate = &c }
}

// WithPushPath sets where the push server's paths begin, which is /push unless
// set. With "/" they are those of a push server alone, /sub/, /subws/, /rest/,
// /pub/ and /server-stat/: all that is not the portal's own belongs to the push
// server then. The portal's are /rest/ with a method behind it, and what is
// below /oauth/.
func WithPushPath(path string) Option {
	return func(o *options) { o.pushPath = path }
}

// checkAddresses is what is wrong with the addresses that the options give.
func (o *options) checkAddresses() error {
	path := o.pushPath
	o.pushPath = strings.TrimSuffix(path, "/")
	switch {
	case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#% ") || strings.Contains(path, "//"):
		return fmt.Errorf("pulltest: WithPushPath(%q): not a path; give one like /push, or / for the root", path)
	case belongsTo(path, "/rest") || belongsTo(path, "/oauth"):
		return fmt.Errorf("pulltest: WithPushPath(%q): there the portal has its own; give one outside /rest/ and /oauth/", path)
	case strings.ContainsAny(o.hostname, ":/ "):
		return fmt.Errorf("pulltest: WithHostname(%q): not a name; give it without scheme and port", o.hostname)
	case o.network != nil && strings.HasSuffix(o.address, ":0"):
		return fmt.Errorf("pulltest: WithAddress(%q): a Network gives out no ports; give one", o.address)
	case o.network != nil && strings.HasSuffix(o.plain, ":0"):
		return fmt.Errorf("pulltest: WithPlainHTTP(%q): a Network gives out no ports; give one", o.plain)
	case o.plainURLs && o.plain == "":
		return errors.New("pulltest: WithPlainURLs needs WithPlainHTTP, which says where they lead")
	}
	return nil
}

func belongsTo(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// pushRequest reports whether a request is for the push server, and to which of
// its paths.
func (p *Portal) pushRequest(r *http.Request) (path string, ok bool) {
	if p.atAuthHost(r) {
		return "", false
	}
	path, ok = strings.CutPrefix(r.URL.Path, p.opts.pushPath)
	if p.opts.pushPath != "" {
		return path, ok && strings.HasPrefix(path, "/")
	}
	method, isREST := strings.CutPrefix(path, "/rest/")
	return path, !(isREST && method != "") && path != authorizePath && path != tokenPath
}

// atAuthHost reports whether a request is for the authorization server where
// that is a host of its own.
func (p *Portal) atAuthHost(r *http.Request) bool {
	return p.authAlone && r.Host == p.authHost()
}

// listen opens the portal's listener, on a Network that of the authorization
// server, and that for plain http, and finds out what they are called.
func (p *Portal) listen() (_ []net.Listener, err error) {
	var listeners []net.Listener
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	l, host, err := p.listenSecure()
	if err != nil {
		return nil, err
	}
	listeners, names := append(listeners, l), []string{host}
	p.authServer = "https://" + host
	p.authAlone = p.opts.authServer != nil || p.opts.network != nil && !p.opts.plainURLs
	if s := p.opts.authServer; s != nil {
		p.authServer = s.url
	} else if p.authAlone {
		l, host := listenAs(p.opts.network, "oauth")
		listeners, names = append(listeners, l), append(names, host)
		p.authServer = "https://" + host
	}
	secure, plain := "https://"+host, ""
	if err = p.certify(names); err != nil {
		return nil, err
	}
	for i, l := range listeners {
		listeners[i] = withTLS(&serverListener{l, &p.conns}, p.cert)
	}
	if p.opts.plain != "" {
		l, host, err := p.listenFixed(p.opts.plain, "80")
		if err != nil {
			return nil, fmt.Errorf("pulltest: cannot listen at %q for plain http: %w", p.opts.plain, err)
		}
		listeners, plain = append(listeners, &serverListener{l, &p.conns}), "http://"+host
	}
	p.where.begin(secure, plain, p.opts.plainURLs)
	if p.opts.plainURLs {
		p.authServer = plain
	}
	return listeners, nil
}

func (p *Portal) listenSecure() (net.Listener, string, error) {
	if p.opts.address == "" && p.opts.network != nil {
		l, host := listenAs(p.opts.network, "portal")
		return l, host, nil
	}
	addr := p.opts.address
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, host, err := p.listenFixed(addr, "443")
	if err != nil {
		return nil, "", fmt.Errorf("pulltest: cannot listen at %q for https: %w", addr, err)
	}
	return l, host, nil
}

// listenFixed listens at an address, and tells by what host it is reached, with
// a port unless it is the usual one.
func (p *Portal) listenFixed(addr, usual string) (net.Listener, string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	listen := func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	if p.opts.network != nil {
		listen = p.opts.network.Listen
	}
	l, err := listen(addr)
	if err != nil {
		return nil, "", err
	}
	if p.opts.network == nil {
		if _, port, err = net.SplitHostPort(l.Addr().String()); err != nil {
			l.Close()
			return nil, "", err
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		if p.opts.hostname != "" {
			host = p.opts.hostname
		}
	}
	if port != usual {
		return l, net.JoinHostPort(host, port), nil
	}
	return l, strings.TrimSuffix(net.JoinHostPort(host, ""), ":"), nil
}

// certify makes the certificate for hosts, unless there is one, and the client
// that trusts it.
func (p *Portal) certify(hosts []string) (err error) {
	if p.opts.certificate != nil {
		if p.cert, err = withLeaf(*p.opts.certificate); err != nil {
			return fmt.Errorf("pulltest: WithCertificate: %w", err)
		}
	} else {
		p.authority = p.opts.certifier()
		if p.cert, err = newCertificate(p.authority, hosts...); err != nil {
			return fmt.Errorf("pulltest: cannot make a certificate: %w", err)
		}
	}
	roots := x509.NewCertPool()
	for _, der := range p.cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("pulltest: WithCertificate: the chain: %w", err)
		}
		p.trusted = c
		roots.AddCert(c)
	}
	p.client = newClient(p.opts.network, clientTLS(roots, p.opts.network != nil))
	return nil
}

// certifier is the authority that signs the portal's certificates: that of the
// server that many portals share, of the Network, or one of its own.
func (o *options) certifier() *authority {
	switch {
	case o.authServer != nil:
		return o.authServer.authority
	case o.network != nil:
		return &o.network.authority
	}
	own := new(authority)
	own.make()
	return own
}

// listenAs listens as the first host of a kind that is free on a network.
func listenAs(n *Network, kind string) (net.Listener, string) {
	host := kind + ".example"
	for i := 2; ; i++ {
		if l, err := n.Listen(host + ":443"); err == nil {
			return l, host
		}
		host = fmt.Sprintf("%s%d.example", kind, i)
	}
}

// PlainURL is the portal's address for plain http, no trailing slash; empty
// without [WithPlainHTTP]. All that is below [Portal.URL] is below it, too. With
// [WithPlainURLs] it moves with the portal, unless that goes to https: then REST
// is answered 302 here, as at any old address.
func (p *Portal) PlainURL() string {
	p.where.mu.RLock()
	defer p.where.mu.RUnlock()
	return p.where.plain
}

// Certificate returns the certificate to trust, for clients that cannot use
// HTTPClient: another process, say, that is given it as a PEM file in
// SSL_CERT_FILE, NODE_EXTRA_CA_CERTS or curl's --cacert. It is that of an
// authority of the portal's own, or of all on a [Network] or with one
// [AuthServer], whose certificates are for localhost, 127.0.0.1, ::1 and the
// portal's name; with [WithCertificate] the last of its chain.
func (p *Portal) Certificate() *x509.Certificate { return p.trusted }
