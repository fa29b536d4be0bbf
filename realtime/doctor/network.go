package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/b24pull/b24pull/internal/quote"
)

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// reached is what became of an attempt to reach a host.
type reached struct {
	host        string   // with its port
	addresses   []string // that its name was resolved to; nil: that was left to a proxy or a dialer
	took        time.Duration
	connection  bool // there was one, for all that followed
	secure      bool // https
	certificate *x509.Certificate
	unverified  bool // the HTTP client does not look at certificates
	err         error
}

// reach connects to a host, without asking it for anything that needs a secret.
func (x *examination) reach(ctx context.Context, scheme, host string) reached {
	r := reached{host: host, secure: scheme == "https"}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	var mu sync.Mutex
	note := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
	trace := &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			note(func() {
				r.addresses = nil
				for _, a := range info.Addrs {
					r.addresses = append(r.addresses, a.String())
				}
			})
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			note(func() { r.certificate = leaf(&state) })
		},
		GotConn: func(info httptrace.GotConnInfo) {
			note(func() {
				r.connection, r.took = true, time.Since(began)
				if t, ok := info.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok && r.certificate == nil {
					state := t.ConnectionState()
					r.certificate = leaf(&state)
				}
			})
			cancel() // that is all that was wanted
		},
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodHead, scheme+"://"+host+"/", nil)
	if err != nil {
		r.err = err
		return r
	}
	request.Header = x.header.Clone()
	answer, err := x.own.Do(request)
	if answer != nil {
		answer.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if answer != nil && !r.connection { // a RoundTripper that tells nothing
		r.connection, r.took, r.certificate = true, time.Since(began), leaf(answer.TLS)
	}
	if !r.connection {
		r.err = x.secrets.Error(err) // of a proxy's address, net/http tells all
		x.own.CloseIdleConnections() // and give up dialing
	}
	if proxy, _, _ := x.proxyOf(request.URL); proxy != "" {
		r.addresses = nil // they are the proxy's
	}
	if t, ok := x.httpClient.Transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		r.unverified = t.TLSClientConfig.InsecureSkipVerify
	}
	return r
}

func leaf(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// way says whether the host is there, and how it was found.
func (r *reached) way() finding {
	if detail, _ := explainCertificate(r.err); r.err != nil && detail == "" {
		f := failed(r.err)
		f.detail = quote.Name(r.host) + ": " + f.detail
		if r.private() {
			f.advice = strings.TrimSuffix(advisePrivate+"; "+f.advice, "; ")
		}
		return f
	}
	detail := quote.Name(r.host)
	if len(r.addresses) > 0 {
		const most = 4
		detail += " is " + strings.Join(r.addresses[:min(most, len(r.addresses))], ", ")
	}
	if r.connection {
		detail += fmt.Sprintf(", connected in %s", short(r.took))
	}
	return pass("%s", detail)
}

const advisePrivate = "it is an address of this machine or of a private network: check from there, or use one that is reached from here"

// private reports whether the host is not on the public internet.
func (r *reached) private() bool {
	addresses := r.addresses
	if len(addresses) == 0 {
		addresses = []string{(&url.URL{Host: r.host}).Hostname()}
	}
	return slices.ContainsFunc(addresses, func(a string) bool {
		ip, err := netip.ParseAddr(a)
		return err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast())
	})
}

// soon is how long before its end a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// proof says what the host's certificate is worth.
func (r *reached) proof() finding {
	detail, advice := explainCertificate(r.err)
	switch {
	case detail != "":
		return finding{Fail, quote.Name(r.host) + ": " + detail, advice}
	case !r.connection:
		return skip("%s was not reached", quote.Name(r.host))
	case !r.secure:
		return finding{Warn, quote.Name(r.host) + " is not encrypted: what is secret crosses the network in the clear", "use https, but for tests on this machine"}
	case r.certificate == nil:
		return skip("the HTTP client does not show the certificate of %s", quote.Name(r.host))
	case r.unverified:
		return finding{Warn, "the HTTP client takes any certificate; that of " + quote.Name(r.host) + " is " + describe(r.certificate), "leave out InsecureSkipVerify and trust the certificate's authority"}
	case time.Until(r.certificate.NotAfter) < soon:
		return finding{Warn, quote.Name(r.host) + ": ends soon: " + describe(r.certificate), "have it renewed"}
	}
	return pass("%s: %s", quote.Name(r.host), describe(r.certificate))
}

// checkPortal looks at the way to the portal, and at proxies.
func (x *examination) checkPortal(ctx context.Context) {
	if x.client == nil {
		x.restError = "a saved config is checked: no portal is asked"
		if x.options.config == nil {
			x.restError = "there is neither a client nor a config"
		}
		x.skipped(x.restError, nameAddress, nameCertificate)
		x.checkProxy(ctx, nil)
		return
	}
	u, err := url.Parse(x.client.Portal())
	if err != nil {
		u = &url.URL{}
	}
	r := x.checkHosts(ctx, nameAddress, nameCertificate, []*url.URL{u})
	if !r {
		x.restError = "the portal is not reached"
	}
	x.checkProxy(ctx, u)
}

// checkHosts reaches hosts, and reports whether each of them was. Where one of
// several is not, a subscription may work by the others: the checks that follow
// tell.
func (x *examination) checkHosts(ctx context.Context, address, certificate string, hosts []*url.URL) bool {
	var ways, proofs []finding
	all, some := true, false
	gravest := func(findings []finding) finding {
		f := worst(findings)
		if some && f.status == Fail {
			f.status = Warn
		}
		return f
	}
	f := x.timed(ctx, address, func(ctx context.Context) finding {
		for _, u := range hosts {
			share, cancel := context.WithTimeout(ctx, patience/time.Duration(len(hosts)))
			r := x.reach(share, u.Scheme, u.Host)
			cancel()
			all, some = all && r.connection, some || r.connection
			ways, proofs = append(ways, r.way()), append(proofs, r.proof())
		}
		return gravest(ways)
	})
	if len(proofs) == 0 || f.status == Skip {
		x.skipped(cmp.Or(f.detail, "not reached"), certificate)
		return all
	}
	x.found(certificate, time.Now(), gravest(proofs))
	return all
}

// checkProxy tells which proxy requests to the portal go through.
func (x *examination) checkProxy(ctx context.Context, u *url.URL) {
	x.timed(ctx, nameProxy, func(context.Context) finding {
		if u == nil {
			return skip("there is no portal to be asked")
		}
		proxy, known, err := x.proxyOf(u)
		switch {
		case err != nil:
			return finding{Fail, "the proxy's address cannot be used", "check HTTPS_PROXY, or Proxy of the HTTP client's transport"}
		case !known:
			return skip("the HTTP client has a transport of its own, which says nothing of proxies")
		case proxy == "":
			return pass("none for %s", quote.Name(u.Host))
		}
		return pass("%s is reached through %s", quote.Name(u.Host), proxy)
	})
}

// proxyOf tells the proxy for an address, without its user; empty: none.
func (x *examination) proxyOf(u *url.URL) (proxy string, known bool, err error) {
	base := x.httpClient.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	t, ok := base.(*http.Transport)
	if !ok {
		return "", false, nil
	}
	if t.Proxy == nil {
		return "", true, nil
	}
	p, err := t.Proxy(&http.Request{Method: http.MethodGet, URL: u, Header: make(http.Header)})
	if err != nil || p == nil {
		return "", true, err
	}
	return p.Scheme + "://" + quote.Name(p.Host), true, nil
}

// short is a duration for a human.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
