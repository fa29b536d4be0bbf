package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestAllowed_AuthorizeWhere: a browser is sent to portals only, and to no other host
// that somebody names.
func TestAllowed_AuthorizeWhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.env["B24PULL_PORTALS"] = "portal.example, *.Company.example:8443"
	r, app := w.run()
	known := w.portals[0]
	get := func(portal string) (status int, location, page string) {
		t.Helper()
		resp, err := w.client.Transport.RoundTrip(request(t, app+"/authorize?portal="+url.QueryEscape(portal)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Location"), string(body)
	}
	refused := func(portal string) {
		t.Helper()
		status, location, page := get(portal)
		if status != http.StatusForbidden || location != "" || !strings.Contains(page, "does not know this portal") || strings.Contains(page, "evil") {
			t.Errorf("%s: %d, to %q: %s", portal, status, location, page)
		}
	}
	sent := func(portal, host string) {
		t.Helper()
		if status, location, page := get(portal); status != http.StatusFound || !strings.HasPrefix(location, "https://"+host+"/oauth/authorize/?") {
			t.Errorf("%s: %d, to %q: %s", portal, status, location, page)
		}
	}
	host := strings.TrimPrefix(known.URL(), "https://")
	refused(host)
	if err := known.InstallByEvent(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	sent(host, host)
	sent(known.URL(), host)
	for _, portal := range []string{"evil.example", "https://evil.example/", "bitrix24.com", "portal.bitrix24.evil.example", "portal.bitrix24.com.evil",
		"portal.bitrix24.site", "portal.bitrix24.shop", "portal.bitrix24.tk", "portal.bitrix24.me", "portal.bitrix24.com.cn", "portal.bitrix24.com.de",
		"portal.bitrix24.br", "portal.bitrix24.com.com", "portal.bitrix24.", "portal.bitrix24.COM.evil", strings.Repeat("a", 64) + ".bitrix24.com", "portal.evilbitrix24.com", "a.portal.bitrix24.com", "portal.bitrix24.com:8443", "portal.bitrix24.com.evil.de",
		"evil.portal.example", "portal.example:8443", "company.example:8443", "a.company.example", "a.b.company.example:8443", "-.bitrix24.com"} {
		refused(portal)
	}
	for _, portal := range []string{"portal.bitrix24.com", "my-portal.bitrix24.de", "portal.bitrix24.com.br", "b24-abc123.bitrix24.eu", "portal.example", "a.company.example:8443"} {
		sent(portal, portal)
	}
	sent("https://PORTAL.bitrix24.RU/rest/", "portal.bitrix24.ru")
	for _, bad := range []string{"", "http://portal.bitrix24.com", "https://a@portal.bitrix24.com", "portal.bitrix24.com/x/"} {
		if status, location, _ := get(bad); status != http.StatusBadRequest || location != "" {
			t.Errorf("%q: %d, to %q", bad, status, location)
		}
	}
	r.says(`path=/authorize err="\"evil.example\": This application does not know this portal.`)
	r.stop()
	w.checkSecrets(r)
}

func request(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
