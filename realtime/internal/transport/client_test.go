package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"weak"
)

// Subscriptions of one portal, or of thousands, have one transport where the
// user has given one: its buffers, its TLS configuration and what it knows of
// HTTP/2 are tens of kilobytes.
func TestOwnClient_shares(t *testing.T) {
	mine := &http.Transport{}
	first, second := OwnClient(&http.Client{Transport: mine}), OwnClient(&http.Client{Transport: mine})
	if sharedOf(first) != sharedOf(second) {
		t.Error("two clients of one transport have a copy each")
	}
	if first.Transport.(ownTransport).Transport == second.Transport.(ownTransport).Transport {
		t.Error("what one client has learned of its server is the other's as well")
	}
	if other := OwnClient(&http.Client{Transport: mine.Clone()}); sharedOf(other) == sharedOf(first) {
		t.Error("another transport has the same copy")
	}
	if plain := OwnClient(&http.Client{}); sharedOf(plain) != sharedOf(OwnClient(&http.Client{Transport: http.DefaultTransport})) {
		t.Error("no transport is not the default one")
	}

	mine.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	changed := OwnClient(&http.Client{Transport: mine})
	if sharedOf(changed) == sharedOf(first) || sharedOf(changed).own.Proxy == nil {
		t.Error("a transport that has been changed is used as it was before")
	}
	if sharedOf(OwnClient(&http.Client{Transport: mine})) != sharedOf(changed) {
		t.Error("and is copied each time")
	}
}

// Whatever a user changes of a transport counts for the subscriptions that are
// made afterwards.
func TestOwnClient_seesChanges(t *testing.T) {
	var proxies []func(*http.Request) (*url.URL, error) // which have the same code
	for _, host := range []string{"first.test", "second.test"} {
		proxies = append(proxies, http.ProxyURL(&url.URL{Scheme: "http", Host: host}))
	}
	mine := &http.Transport{Proxy: proxies[0], TLSClientConfig: new(tls.Config), Protocols: new(http.Protocols)}
	mine.Protocols.SetHTTP1(true)
	for what, change := range map[string]func(){
		"another proxy":                  func() { mine.Proxy = proxies[1] },
		"another root":                   func() { mine.TLSClientConfig.RootCAs = x509.NewCertPool() },
		"a certificate":                  func() { mine.TLSClientConfig.Certificates = make([]tls.Certificate, 1) },
		"a source of randomness":         func() { mine.TLSClientConfig.Rand = bytes.NewReader(nil) },
		"one that cannot be compared":    func() { mine.TLSClientConfig.Rand = uncomparable{nil} },
		"a look at what has been agreed": func() { mine.TLSClientConfig.VerifyConnection = func(tls.ConnectionState) error { return nil } },
		"a key for tickets":              func() { mine.TLSClientConfig.SessionTicketKey[31] = 1 }, //lint:ignore SA1019 users may still set it
		"another protocol":               func() { mine.Protocols.SetHTTP2(true) },
	} {
		before := OwnClient(&http.Client{Transport: mine})
		change()
		after := OwnClient(&http.Client{Transport: mine})
		if sharedOf(after) == sharedOf(before) {
			t.Errorf("%s: what was copied before is in use", what)
		}
		if sharedOf(OwnClient(&http.Client{Transport: mine})) != sharedOf(after) {
			t.Errorf("%s: it is copied each time", what)
		}
		runtime.KeepAlive(before)
	}
}

// uncomparable is a reader of a type whose values cannot be compared.
type uncomparable struct{ _ []byte }

func (uncomparable) Read([]byte) (int, error) { return 0, nil }

// Connections to a server go on with a TLS session of before, also those of
// other clients, unless the user looks at its certificate each time.
func TestOwnClient_resumes(t *testing.T) {
	var resumed atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			resumed.Add(1)
		}
	}))
	defer server.Close()
	for looks, want := range map[bool]int64{false: 2, true: 0} {
		mine := server.Client().Transport.(*http.Transport).Clone()
		seen := 0
		if looks {
			mine.TLSClientConfig.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
				seen++
				return nil
			}
		}
		resumed.Store(0)
		for range 3 {
			answer, err := OwnClient(&http.Client{Transport: mine}).Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
		}
		if resumed.Load() != want || looks && seen != 3 {
			t.Errorf("looks %v: %d of 3 connections go on with a session, want %d; %d certificates seen", looks, resumed.Load(), want, seen)
		}
		if mine.TLSClientConfig.ClientSessionCache != nil {
			t.Error("the user's own transport was changed")
		}
	}
}

// A client that says with which certificate it comes is asked each time: a
// session of before would go on with the one of then.
func TestOwnClient_asksForCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	mine := server.Client().Transport.(*http.Transport).Clone()
	var asked atomic.Int64
	mine.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked.Add(1)
		return new(tls.Certificate), nil
	}
	for range 3 {
		answer, err := OwnClient(&http.Client{Transport: mine}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times over 3 connections", asked.Load())
	}
}

// A copy lasts as long as it is in use.
func TestOwnClient_forgets(t *testing.T) {
	mine := &http.Transport{}
	known := func() bool {
		copies.mu.Lock()
		defer copies.mu.Unlock()
		_, known := copies.byOf[weak.Make(mine)]
		return known
	}
	client := OwnClient(&http.Client{Transport: mine})
	runtime.GC()
	if again := OwnClient(&http.Client{Transport: mine}); sharedOf(again) != sharedOf(client) {
		t.Error("a copy that is in use was forgotten")
	}
	runtime.KeepAlive(client)
	for known() { // or else the test does not end
		runtime.GC()
		runtime.Gosched()
	}
}

func sharedOf(c *http.Client) *sharedCopy { return c.Transport.(ownTransport).shared }

// TestFingerprint_HiddenInterface: what cannot be looked at does not panic.
func TestFingerprint_HiddenInterface(t *testing.T) {
	type hidden struct{ value any }
	for _, value := range []any{nil, 1} {
		var h maphash.Hash
		addFields(&h, reflect.ValueOf(&struct{ Of *hidden }{&hidden{value}}).Elem(), false)
	}
}
