package oauth

import (
	"strings"
	"testing"
)

// TestHosts: portals of the cloud and those that are named, and nothing that
// looks like one.
func TestHosts(t *testing.T) {
	h, err := ParseHosts("portal.example", " *.Company.example:8443 ", "plain.example:443")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"portal.bitrix24.com", "my-portal.bitrix24.de", "portal.bitrix24.com.br", "b24-abc123.bitrix24.eu", "portal.example", "PORTAL.example.",
		"a.company.example:8443", "https://portal.example", "https://portal.bitrix24.ru:443", "plain.example"} {
		if !h.Allow(host) {
			t.Errorf("%s is none", host)
		}
	}
	for _, host := range []string{"", "evil.example", "https://evil.example/", "bitrix24.com", "portal.bitrix24.evil.example", "portal.bitrix24.com.evil",
		"portal.bitrix24.site", "portal.bitrix24.shop", "portal.bitrix24.tk", "portal.bitrix24.me", "portal.bitrix24.com.cn", "portal.bitrix24.com.de",
		"portal.bitrix24.br", "portal.bitrix24.com.com", "portal.bitrix24.COM.evil", strings.Repeat("a", 64) + ".bitrix24.com",
		"portal.evilbitrix24.com", "a.portal.bitrix24.com", "portal.bitrix24.com:8443", "portal.bitrix24.com.evil.de", "evil.portal.example", "portal.example:8443",
		"company.example:8443", "a.company.example", "a.b.company.example:8443", "-.bitrix24.com", "http://portal.bitrix24.com", "https://a@portal.bitrix24.com",
		"portal.bitrix24.com@evil.example", "evil.example#portal.bitrix24.com", "evil.example?.bitrix24.com", "evil.example\\.bitrix24.com"} {
		if h.Allow(host) {
			t.Errorf("%s is one", host)
		}
	}
	var none Hosts
	if !none.Allow("portal.bitrix24.com") || none.Allow("portal.example") {
		t.Error("the zero Hosts is not the cloud")
	}
	for _, bad := range []string{"", "*", "*.", "http://portal.example", "portal.example/path", "a@portal.example", "*.*.example", "a b"} {
		if _, err := ParseHosts(bad); err == nil || !strings.Contains(err.Error(), "want a name like") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
