package realtime_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// TestPublic_Transport: none of the four is reached at a name that leads
// inward.
func TestPublic_Transport(t *testing.T) {
	t.Parallel()
	for _, of := range services {
		t.Run(string(of), func(t *testing.T) {
			t.Parallel()
			atHome := func() *site {
				s := newSite(t, of, "localhost", "localhost", nil)
				_, port, err := net.SplitHostPort(s.front)
				if err != nil {
					t.Fatal(err)
				}
				s.host, s.port = "localhost:"+port, port
				return s
			}
			s := atHome()
			usual := &http.Transport{TLSClientConfig: s.trust()}
			if err := s.call(&http.Client{Transport: usual}); err != nil || len(s.arrived()) == 0 {
				t.Fatalf("by another transport: %v", err)
			}
			s = atHome()
			public := b24pull.PublicTransport()
			public.TLSClientConfig = s.trust()
			err := s.call(&http.Client{Transport: public})
			if err == nil || !strings.Contains(err.Error(), "is not a public address") {
				t.Errorf("got %v", err)
			}
			if n := len(s.arrived()); n > 0 {
				t.Errorf("%d requests have arrived", n)
			}
		})
	}
}

// TestPublic_Transport_ProxyFromEnvironment: all four go through a proxy,
// wherever it is. net/http reads the variables once, so each case is a process
// of its own.
func TestPublic_Transport_ProxyFromEnvironment(t *testing.T) {
	const variable = "B24PULL_TEST_PUBLIC"
	if scheme := os.Getenv(variable); scheme != "" {
		throughPublic(t, scheme)
		return
	}
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		t.Run(scheme, func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPublic_Transport_ProxyFromEnvironment$")
			child.Env = append(os.Environ(), variable+"="+scheme)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func throughPublic(t *testing.T, scheme string) {
	var present atomic.Pointer[site]
	cert := newCertificate(t, siteHost)
	p := newProxy(t, scheme, cert, func(addr string) (net.Conn, error) { return present.Load().reach(addr) })
	for _, name := range []string{"https_proxy", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", p.url(proxyPassword).String())
	for _, of := range services {
		s := newSite(t, of, siteHost, siteHost, nil)
		present.Store(s)
		transport := b24pull.PublicTransport()
		transport.TLSClientConfig = s.trust()
		transport.TLSClientConfig.RootCAs.AddCert(cert.Leaf)
		before := len(p.connected())
		if err := s.call(&http.Client{Transport: transport}); err != nil {
			t.Fatalf("%s: %v", of, err)
		}
		if len(p.connected()) == before {
			t.Errorf("%s: the proxy was not used", of)
		}
	}
}
