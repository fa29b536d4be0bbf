package b24pull

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/redact"
	"github.com/b24pull/b24pull/internal/resttest"
)

func TestPublic(t *testing.T) {
	for _, inner := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.1.2.3", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
		"::", "::1", "::7f00:1", "::10.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:10.0.0.1",
		"64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::ffff:ffff", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:2::1", "2001:10::1",
		"2001:db8::1", "2002:7f00:1::", "2002:808:808::", "3fff::1", "5f00::1", "4000::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0",
		"fec0::1", "ff02::1", "ff0e::1", "2606:4700::1%eth0",
	} {
		if public(netip.MustParseAddr(inner)) {
			t.Errorf("%s is taken for public", inner)
		}
	}
	for _, outer := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
		"172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1", "2003::1",
	} {
		if !public(netip.MustParseAddr(outer)) {
			t.Errorf("%s is not taken for public", outer)
		}
	}
	for host, want := range map[string]bool{"localhost": true, "LOCALHOST.": true, "a.localhost": true, "127.0.0.1": true, "::1": true, "fe80::1": true,
		"169.254.169.254": true, "8.8.8.8": false, "portal.example": false, "": false, "localhost.example": false,
		"169。254。169。254": true, "127.1": true, "2130706433": true, "0x7f000001": true, "0177.0.0.1": true, "0": true, "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ": true,
		"localhost..": true, "168.63.129.16": true, "портал.рф": false, "4.example": false, "0x7f.example": false} {
		if inward(host) != want {
			t.Errorf("%q: inward is %t", host, !want)
		}
	}
}

// TestPublic_OnlyPublic: what is no TCP to a public address is not connected to.
func TestPublic_OnlyPublic(t *testing.T) {
	for _, refused := range [][2]string{{"tcp4", "127.0.0.1:443"}, {"tcp6", "[::1]:443"}, {"tcp6", "[fe80::1%lo]:443"}, {"unix", "/run/x"},
		{"udp4", "8.8.8.8:53"}, {"tcp4", "portal.example:443"}, {"tcp4", ""}} {
		var inner *inwardError
		if err := onlyPublic(refused[0], refused[1], nil); !errors.As(err, &inner) {
			t.Errorf("%v: %v", refused, err)
		}
	}
	for _, taken := range [][2]string{{"tcp4", "8.8.8.8:443"}, {"tcp6", "[2001:4860:4860::8888]:443"}} {
		if err := onlyPublic(taken[0], taken[1], nil); err != nil {
			t.Error(err)
		}
	}
}

// accepting counts the connections to a server.
func accepting(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	var accepted atomic.Int32
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, &accepted
}

// TestPublicTransport_Refuses: a name that leads inward is not connected to,
// also after a portal has moved there, and trying again would not help.
func TestPublicTransport_Refuses(t *testing.T) {
	inner, accepted := accepting(t, resttest.Reply(200, `{"result":true}`))
	transport := PublicTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: inner.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	t.Cleanup(transport.CloseIdleConnections)
	hc := &http.Client{Transport: transport}
	port := inner.Listener.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		address := (&url.URL{Scheme: "https", Host: host + ":" + strconv.Itoa(port), Path: "/rest/1/" + resttest.Mark + "code/"}).String()
		client, err := New(Webhook(address), WithHTTPClient(hc))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = client.Call(t.Context(), "server.time", nil, nil, Idempotent())
		var inner *inwardError
		if !errors.As(err, &inner) || ClassOf(err) != ClassFinal || !strings.Contains(err.Error(), "is not a public address") {
			t.Errorf("%s: class %v, %v after %v", host, ClassOf(err), err, time.Since(began))
		}
		resttest.CheckError(t, err)
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// TestPublicTransport_Proxy: a proxy may be anywhere, but is not asked for what
// is surely inside, and what is not a proxy is no exception.
func TestPublicTransport_Proxy(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) { asked.Add(1) }, Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		return resttest.JSONResponse(r, 200, "through the proxy"), nil
	})})
	t.Cleanup(proxy.Close)
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := publicTransport(func(r *http.Request) (*url.URL, error) {
		if r.URL.Hostname() == "direct.example" || r.URL.Host == via.Host {
			return nil, nil
		}
		return via, nil
	})
	t.Cleanup(transport.CloseIdleConnections)
	get := func(address string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport.Clone()}).Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if body, err := get("http://portal.example/"); err != nil || body != "through the proxy" {
		t.Errorf("%q, %v", body, err)
	}
	before := asked.Load()
	for _, address := range []string{"http://169.254.169.254/latest/", "http://localhost/", "http://[fd00::1]/", "https://10.0.0.1/"} {
		if _, err := get(address); !ledInward(err) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if asked.Load() != before {
		t.Error("the proxy was asked")
	}
	own := PublicTransport()
	own.Proxy = http.ProxyURL(via)
	transport = own
	if _, err := get("http://portal.example/"); !ledInward(err) {
		t.Errorf("a proxy that was set: %v", err)
	}
}

// TestPublicTransport_ProxyIsNoTarget: the address of a proxy is dialed for what
// goes through it, and for nothing else.
func TestPublicTransport_ProxyIsNoTarget(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.IsAbs() {
			asked.Add(1)
		}
	}))
	t.Cleanup(proxy.Close)
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := publicTransport(func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == via.Host {
			return nil, nil
		}
		return via, nil
	})
	t.Cleanup(transport.CloseIdleConnections)
	for name, base := range map[string]http.RoundTripper{"by itself": transport, "by a Client": redact.NewTransport(transport)} {
		for _, test := range []struct {
			address string
			inward  bool
		}{{"http://portal.example/", false}, {proxy.URL + "/admin", true}, {"http://portal.example/", false}, {proxy.URL + "/admin", true}} {
			resp, err := (&http.Client{Transport: base}).Get(test.address)
			if err == nil {
				resp.Body.Close()
			}
			if ledInward(err) != test.inward || !test.inward && err != nil {
				t.Errorf("%s: %s: %v", name, test.address, err)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the proxy was asked directly %d times", n)
	}
}
