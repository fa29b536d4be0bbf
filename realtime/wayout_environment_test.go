package realtime_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestWayOut_ProxyFromEnvironment: the variables hold for all four, and
// NO_PROXY does. net/http reads them once, so each case is a process of its
// own.
func TestWayOut_ProxyFromEnvironment(t *testing.T) {
	const variable = "B24PULL_TEST_ENVIRONMENT"
	if how := os.Getenv(variable); how != "" {
		scheme, except, _ := strings.Cut(how, " ")
		throughEnvironment(t, scheme, except)
		return
	}
	for _, how := range []string{"http ", "https ", "socks5 ", "socks5h ", "http portal.test"} {
		t.Run(strings.TrimSpace(how), func(t *testing.T) {
			resttest.Sample(t)
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWayOut_ProxyFromEnvironment$")
			child.Env = append(os.Environ(), variable+"="+how)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func throughEnvironment(t *testing.T, scheme, except string) {
	var present atomic.Pointer[site]
	cert := newCertificate(t, siteHost)
	p := newProxy(t, scheme, cert, func(addr string) (net.Conn, error) { return present.Load().reach(addr) })
	for _, name := range []string{"https_proxy", "http_proxy", "HTTP_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", p.url(proxyPassword).String())
	t.Setenv("NO_PROXY", except)
	for _, of := range services {
		s := newSite(t, of, siteHost, siteHost, nil)
		present.Store(s)
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = s.trust()
		transport.TLSClientConfig.RootCAs.AddCert(cert.Leaf)
		transport.DialContext = s.dialContext
		before := len(p.connected())
		if err := s.call(&http.Client{Transport: transport}); err != nil {
			t.Fatalf("%s: %v", of, err)
		}
		if used := len(p.connected()) > before; used == (except != "") {
			t.Errorf("%s: the proxy was used: %t", of, used)
		}
	}
}
