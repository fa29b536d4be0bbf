package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/b24pull/b24pull/realtime"
)

// TestTunnel_PlainWebSocketBehindProxies: a websocket without TLS gets a
// tunnel, since a proxy need not pass on Upgrade.
func TestTunnel_PlainWebSocketBehindProxies(t *testing.T) {
	t.Parallel()
	hooks := map[string]func(*site, *http.Transport){
		"none": nil, "DialContext": byDialContext, "Dial": byDial, "DialTLSContext": byDialTLSContext, "DialTLS": byDialTLS,
		"connect": func(s *site, t *http.Transport) {
			t.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) {
				return http.Header{"X-Corp": {"s3cr3t-connect-header"}}, nil
			}
			t.ProxyConnectHeader = nil
			byDialContext(s, t)
			t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
				if r.Header.Get("X-Proxy") != "here" {
					return errors.New("not the proxy's answer")
				}
				return nil
			}
		},
	}
	for _, scheme := range []string{"http", "https", "socks5"} {
		for name, hook := range hooks {
			secure := strings.HasPrefix(name, "DialTLS")
			if secure && scheme != "https" || name == "connect" && scheme == "socks5" {
				continue
			}
			t.Run(scheme+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newPlainSite(t)
				transport := &http.Transport{TLSClientConfig: s.trust()}
				used := behind(scheme, hook)(s, transport)
				if err := s.call(&http.Client{Transport: transport}, realtime.WithInsecureURLs()); err != nil {
					t.Fatal(err)
				}
				if err := used(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestTunnel_ProxyWithIDNHost: a proxy whose name is not ASCII is dialed by the
// name that net/http dials it by, with TLS and without.
func TestTunnel_ProxyWithIDNHost(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		for _, of := range append(services, "plain websocket") {
			t.Run(scheme+"/"+string(of), func(t *testing.T) {
				t.Parallel()
				var s *site
				var opts []realtime.Option
				if of == "plain websocket" {
					s, opts = newPlainSite(t), append(opts, realtime.WithInsecureURLs())
				} else {
					s = newSite(t, of, siteHost, siteHost, nil)
				}
				cert := newCertificate(t, "xn--h1adldfi.xn--p1ai")
				p := newProxy(t, scheme, cert, s.reach)
				var mu sync.Mutex
				dialed := make(map[string]bool)
				transport := &http.Transport{
					Proxy:           http.ProxyURL(&url.URL{Scheme: scheme, Host: "Прокси.РФ:3128", User: url.UserPassword(proxyUser, proxyPassword)}),
					TLSClientConfig: s.trust(),
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						mu.Lock()
						defer mu.Unlock()
						dialed[addr] = true
						return new(net.Dialer).DialContext(ctx, network, p.addr)
					},
				}
				transport.TLSClientConfig.RootCAs.AddCert(cert.Leaf)
				if err := s.call(&http.Client{Transport: transport}, opts...); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(dialed) != 1 || !dialed["xn--h1adldfi.xn--p1ai:3128"] {
					t.Errorf("dialed %v", dialed)
				}
			})
		}
	}
}

// TestTunnel_PlainWebSocket: without a proxy it goes as a plain poll does.
func TestTunnel_PlainWebSocket(t *testing.T) {
	for name, hook := range map[string]func(*site, *http.Transport){"DialContext": byDialContext, "Dial": byDial} {
		s := newPlainSite(t)
		transport := &http.Transport{}
		used := direct(hook)(s, transport)
		if err := s.call(&http.Client{Transport: transport}, realtime.WithInsecureURLs()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := used(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTunnel_PlainWebSocketIsRefused as one with TLS is.
func TestTunnel_PlainWebSocketIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		bar  func(s *site, p *proxy, t *http.Transport)
		want string
	}{
		{"wrong password", func(_ *site, p *proxy, t *http.Transport) { t.Proxy = http.ProxyURL(p.url("s3cr3t-wrong-password")) }, "Proxy Authentication Required"},
		{"unknown authority", func(_ *site, _ *proxy, t *http.Transport) { t.TLSClientConfig = nil }, "unknown authority"},
		{"no header", func(_ *site, _ *proxy, t *http.Transport) {
			t.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) {
				return nil, errors.New("no header today")
			}
		}, "no header today"},
		{"answer refused", func(_ *site, _ *proxy, t *http.Transport) {
			t.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error {
				return errors.New("not this proxy")
			}
		}, "not this proxy"},
		{"no way", func(_ *site, p *proxy, _ *http.Transport) {
			p.dial = func(string) (net.Conn, error) { return nil, errors.New("no way") }
		}, "Bad Gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newPlainSite(t)
			p := newProxy(t, "https", s.cert, s.reach)
			transport := &http.Transport{TLSClientConfig: s.trust(), Proxy: p.use()}
			tt.bar(s, p, transport)
			err := s.call(&http.Client{Transport: transport}, realtime.WithInsecureURLs())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, err), "s3cr3t") {
				t.Error("the error tells a secret")
			}
			if n := len(s.arrived()); n > 0 {
				t.Errorf("%d requests have arrived", n)
			}
		})
	}
}
