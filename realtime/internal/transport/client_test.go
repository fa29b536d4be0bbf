package transport

import (
	"net/http"
	"net/url"
	"runtime"
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
