package pulltest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// addresses are where a portal is, and where it was.
type addresses struct {
	mu         sync.RWMutex
	first      string          // URL
	firstPlain string          // PlainURL
	url        string          // scheme://host
	plain      string          // the same for plain http; empty: none
	former     map[string]bool // URLs
	listening  map[string]bool // URLs
	closed     bool
}

// begin takes the first addresses, that for https and that for plain http, empty
// if there is none; the portal goes by the first one unless byPlain.
func (a *addresses) begin(secure, plain string, byPlain bool) {
	a.url, a.plain = secure, plain
	if byPlain {
		a.url = plain
	}
	a.first, a.firstPlain = a.url, a.plain
	a.former, a.listening = make(map[string]bool), map[string]bool{secure: true, plain: true}
}

func (a *addresses) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// URL is the portal's address, no trailing slash: https, unless [Portal.Move] or
// [WithPlainURLs] says otherwise.
func (p *Portal) URL() string {
	p.where.mu.RLock()
	defer p.where.mu.RUnlock()
	return p.where.url
}

// hostname is the portal's name in the config, in events and in tokens.
func (p *Portal) hostname() string {
	return hostOf(p.URL())
}

// hostOf is the host of a URL without a path, with its port.
func hostOf(url string) string {
	_, host, _ := strings.Cut(url, "://")
	return host
}

// Move gives the portal another address, which it returns, as [Portal.URL] does
// from now on. At the old ones REST and /oauth/authorize/ are answered 302 to
// the new one. The push server and the authorization server stay where they
// are.
//
// On a [Network] to is the new host name, such as new.example, of which the
// portal's certificate is an authority. Without one to is not looked at, but
// for its scheme: the portal opens another loopback port. With http:// in front
// of it the new address is a plain http one, which no client should follow; see
// Stats.Insecure. With neither that nor https:// it is https, or with
// [WithPlainURLs] plain http, as the addresses of the beginning are, and
// [Portal.PlainURL] is the new address, too. It panics if it cannot listen
// there.
func (p *Portal) Move(to string) string {
	host, plain := strings.CutPrefix(to, "http://")
	host, secure := strings.CutPrefix(host, "https://")
	plain = plain || p.opts.plainURLs && !secure
	p.where.mu.Lock()
	defer p.where.mu.Unlock()
	if p.where.closed {
		panic("pulltest: Move of a closed portal")
	}
	url := address(host, plain)
	if p.opts.network == nil || !p.where.listening[url] {
		l, host := p.listenAgain(host, plain)
		url = address(host, plain)
		p.where.listening[url] = true
		p.start(l)
	}
	p.where.former[p.where.url] = true
	delete(p.where.former, url)
	p.where.url = url
	if plain && p.opts.plainURLs {
		p.where.plain = url
	}
	return url
}

func address(host string, plain bool) string {
	if plain {
		return "http://" + host
	}
	return "https://" + host
}

// listenAgain opens one more listener, with TLS if it is not to be plain.
func (p *Portal) listenAgain(host string, plain bool) (net.Listener, string) {
	l, host, err := listenAt(p.opts.network, host, plain)
	if err != nil {
		panic(fmt.Sprintf("pulltest: cannot move to %q: %v", host, err))
	}
	l = &serverListener{l, &p.conns}
	if plain {
		return l, host
	}
	if p.authority == nil {
		return withTLS(l, p.cert), host
	}
	cert, err := newCertificate(p.authority, host)
	if err != nil {
		l.Close()
		panic(fmt.Sprintf("pulltest: cannot make a certificate: %v", err))
	}
	return withTLS(l, cert), host
}

// listenAt listens as host on a network, or on a loopback port.
func listenAt(n *Network, host string, plain bool) (net.Listener, string, error) {
	if n == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, host, err
		}
		return l, l.Addr().String(), nil
	}
	port := ":443"
	if plain {
		port = ":80"
	}
	l, err := n.Listen(host + port)
	return l, host, err
}

func withTLS(l net.Listener, cert tls.Certificate) net.Listener {
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"http/1.1"},
	})
}

// start serves a listener until the portal is closed.
func (p *Portal) start(l net.Listener) {
	p.serving.Go(func() { p.server.Serve(l) })
}

// atHome serves what moves with the portal.
func (p *Portal) atHome(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.where.mu.RLock()
		url, moved := p.where.url, p.where.former[address(r.Host, r.TLS == nil)]
		p.where.mu.RUnlock()
		if !moved {
			next(w, r)
			return
		}
		p.push.hub.count(func(s *Stats) { s.Redirects++ })
		w.Header().Set("Location", url+r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
	})
}
