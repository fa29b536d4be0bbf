package realtime_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/b24pull/b24pull/internal/resttest"
	"github.com/b24pull/b24pull/realtime"
)

const (
	siteHost = "portal.test"
	idnHost  = "портал.рф"
	idnASCII = "xn--80awhdgm.xn--p1ai"
)

// A way is one of the things that an *http.Transport can do on the way to a
// server.
type way struct {
	name string
	idn  bool              // the site is портал.рф
	tls  func(*tls.Config) // what is special of the site
	lay  func(s *site, t *http.Transport) (used func() error)
}

// behind lays a way through a proxy. hook may add what is to be done on the way
// to it.
func behind(scheme string, hook func(s *site, t *http.Transport)) func(*site, *http.Transport) func() error {
	return func(s *site, t *http.Transport) func() error {
		p := newProxy(s.t, scheme, s.cert, s.reach)
		t.Proxy = p.use()
		t.ProxyConnectHeader = http.Header{"X-Corp": {"s3cr3t-connect-header"}}
		if hook != nil {
			hook(s, t)
		}
		return func() error {
			connects := p.connected()
			if len(connects) == 0 {
				return errors.New("the proxy was not used")
			}
			for _, r := range connects {
				if name := s.cert.Leaf.DNSNames[0]; r.Host != name+":"+s.port {
					return fmt.Errorf("the proxy was to connect to %s, want %s:%s", r.Host, name, s.port)
				}
				if strings.HasPrefix(scheme, "http") && r.Header.Get("X-Corp") != "s3cr3t-connect-header" {
					return errors.New("the proxy has not got the headers of CONNECT")
				}
			}
			dialed, _ := s.told()
			if hook != nil && len(dialed) == 0 {
				return errors.New("the dial function was bypassed")
			}
			for _, addr := range dialed {
				if addr != p.addr {
					return fmt.Errorf("%s was dialed in place of the proxy", addr)
				}
			}
			return nil
		}
	}
}

// direct lays a way without a proxy.
func direct(hook func(s *site, t *http.Transport)) func(*site, *http.Transport) func() error {
	return func(s *site, t *http.Transport) func() error {
		hook(s, t)
		return func() error {
			dialed, _ := s.told()
			if want := s.cert.Leaf.DNSNames[0] + ":" + s.port; len(dialed) == 0 || dialed[0] != want {
				return fmt.Errorf("dialed %q, want %s", dialed, want)
			}
			return nil
		}
	}
}

func byDialContext(s *site, t *http.Transport)    { t.DialContext = s.dialContext }
func byDialTLSContext(s *site, t *http.Transport) { t.DialTLSContext = s.dialTLSContext }

//lint:ignore SA1019 who has set it wants it used
func byDial(s *site, t *http.Transport) { t.Dial = s.dial }

//lint:ignore SA1019 who has set it wants it used
func byDialTLS(s *site, t *http.Transport) { t.DialTLS = s.dialTLS }

// plainAndTLS has a dial function for each, of which the wrong one fails.
func plainAndTLS(s *site, t *http.Transport) {
	t.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("DialContext was called, and there is DialTLSContext")
	}
	t.DialTLSContext = s.dialTLSContext
}

var ways = []way{
	{name: "DialContext", lay: direct(byDialContext)},
	{name: "Dial", lay: direct(byDial)},
	{name: "DialTLSContext", lay: direct(byDialTLSContext)},
	{name: "DialTLS", lay: direct(byDialTLS)},
	{name: "DialContext and DialTLSContext", lay: direct(plainAndTLS)},
	{name: "http proxy", lay: behind("http", nil)},
	{name: "https proxy", lay: behind("https", nil)},
	{name: "socks5 proxy", lay: behind("socks5", nil)},
	{name: "socks5h proxy", lay: behind("socks5h", nil)},
	{name: "DialContext to an http proxy", lay: behind("http", byDialContext)},
	{name: "DialContext to an https proxy", lay: behind("https", byDialContext)},
	{name: "DialContext to a socks5 proxy", lay: behind("socks5", byDialContext)},
	{name: "Dial to an http proxy", lay: behind("http", byDial)},
	{name: "Dial to an https proxy", lay: behind("https", byDial)},
	{name: "Dial to a socks5 proxy", lay: behind("socks5", byDial)},
	{name: "DialTLSContext to an https proxy", lay: behind("https", byDialTLSContext)},
	{name: "DialTLS to an https proxy", lay: behind("https", byDialTLS)},
	{name: "DialTLSContext is not for the site behind a proxy", lay: func(s *site, t *http.Transport) func() error {
		used := behind("http", nil)(s, t)
		t.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("DialTLSContext was called for a proxy without TLS")
		}
		return used
	}},
	{name: "GetProxyConnectHeader and OnProxyConnectResponse", lay: func(s *site, t *http.Transport) func() error {
		var told atomic.Bool
		used := behind("http", nil)(s, t)
		t.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return t.ProxyConnectHeader, nil }
		t.ProxyConnectHeader = http.Header{"X-Corp": {"s3cr3t-connect-header"}}
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			told.Store(resp.Header.Get("X-Proxy") == "here")
			return nil
		}
		return func() error {
			if !told.Load() {
				return errors.New("OnProxyConnectResponse was not called")
			}
			return used()
		}
	}},
	{name: "IDN host", idn: true, lay: idn(direct(byDialContext))},
	{name: "IDN host behind an http proxy", idn: true, lay: idn(behind("http", nil))},
	{name: "IDN host behind a socks5 proxy", idn: true, lay: idn(behind("socks5", nil))},
	{name: "a client certificate", tls: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, lay: func(s *site, t *http.Transport) func() error {
		t.TLSClientConfig.Certificates = []tls.Certificate{s.cert}
		return direct(byDialContext)(s, t)
	}},
	{name: "a ServerName", lay: func(s *site, t *http.Transport) func() error {
		t.TLSClientConfig.ServerName = "127.0.0.1"
		return direct(byDialContext)(s, t)
	}},
	{name: "HTTP/2 is offered", lay: func(s *site, t *http.Transport) func() error {
		t.ForceAttemptHTTP2 = true
		t.TLSClientConfig.NextProtos = []string{"h2", "http/1.1"}
		return direct(byDialContext)(s, t)
	}},
	{name: "no keep-alive", lay: func(s *site, t *http.Transport) func() error {
		t.DisableKeepAlives = true
		return direct(byDialContext)(s, t)
	}},
}

// idn looks at the name that the site was asked for.
func idn(lay func(*site, *http.Transport) func() error) func(*site, *http.Transport) func() error {
	return func(s *site, t *http.Transport) func() error {
		used := lay(s, t)
		return func() error {
			_, names := s.told()
			if slices.Sort(names); !slices.Equal(slices.Compact(names), []string{idnASCII}) {
				return fmt.Errorf("TLS was asked for %q", names)
			}
			for _, r := range s.arrived() {
				if r.Host != idnASCII {
					return fmt.Errorf("Host is %q", r.Host)
				}
			}
			return used()
		}
	}
}

// TestWayOut_OneWayOut: REST, the authorization server, polls and websockets go
// whatever way an *http.Transport goes.
func TestWayOut_OneWayOut(t *testing.T) {
	var all sync.WaitGroup
	defer all.Wait()

	for _, w := range ways {
		for _, of := range services {
			all.Go(func() {
				t.Run(fmt.Sprintf("%s/%s", w.name, of), func(t *testing.T) {
					resttest.Sample(t)
					host, ascii := siteHost, siteHost
					if w.idn {
						host, ascii = idnHost, idnASCII
					}
					s := newSite(t, of, host, ascii, w.tls)
					transport := &http.Transport{TLSClientConfig: s.trust()}
					used := w.lay(s, transport)
					if err := s.call(&http.Client{Transport: transport}); err != nil {
						t.Fatal(err)
					}
					if len(s.arrived()) == 0 {
						t.Error("no request has arrived")
					}
					if err := used(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestWayOut_DialerIDN: a dialer of the user's is told the same names as
// net/http tells: its proxy, its dial functions, TLS and the server.
func TestWayOut_DialerIDN(t *testing.T) {
	for name, edit := range map[string]func(s *site, d *websocket.Dialer) (used func() error){
		"NetDialContext": func(s *site, d *websocket.Dialer) func() error {
			d.NetDialContext = s.dialContext
			return func() error { return nil }
		},
		"NetDialTLSContext": func(s *site, d *websocket.Dialer) func() error {
			d.NetDialTLSContext = s.dialTLSContext
			return func() error { return nil }
		},
		"Proxy": func(s *site, d *websocket.Dialer) func() error {
			p := newProxy(s.t, "http", s.cert, s.reach)
			d.Proxy = p.use()
			return func() error {
				for _, r := range p.connected() {
					if r.Host != idnASCII+":443" {
						return fmt.Errorf("the proxy was to connect to %s", r.Host)
					}
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, overWebSocket, idnHost, idnASCII, nil)
			d := &websocket.Dialer{TLSClientConfig: s.trust()}
			used := edit(s, d)
			if err := s.call(&http.Client{}, realtime.WithDialer(d)); err != nil {
				t.Fatal(err)
			}
			if err := used(); err != nil {
				t.Error(err)
			}
			for _, r := range s.arrived() {
				if r.Host != idnASCII {
					t.Errorf("Host is %q", r.Host)
				}
			}
		})
	}
}
