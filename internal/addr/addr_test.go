package addr

import (
	"net/url"
	"strings"
	"testing"
)

func TestAddr_Parse(t *testing.T) {
	for raw, want := range map[string]string{
		"wss://rt.example/sub/":                        "",
		"ws://rt.example":                              "",
		" \"wss://rt.example:8894/sub/?s3cr3t=1\"\r\n": "",
		"wss://[::1]/sub/":                             "",
		"rt.example/s3cr3t":                            "no scheme",
		"garbage s3cr3t":                               "no scheme",
		"":                                             "no scheme",
		"https://rt.example/s3cr3t":                    "scheme is not wss or ws",
		"wss:/s3cr3t":                                  "no host",
		"wss:s3cr3t":                                   "no host",
		"wss://:443/s3cr3t":                            "no host",
		"wss://#DOMAIN#/s3cr3t":                        "no host",
		"wss://rt.example:s3cr3t/":                     "not a URL",
		"wss://rt.example/%zz/s3cr3t":                  "not a URL",
	} {
		u, err := Parse(raw, "wss", "ws")
		switch {
		case want == "" && (err != nil || u.Host == ""):
			t.Errorf("not taken: %v", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "wss://host/path")):
			t.Errorf("want %q: got %v", want, err)
		case err != nil && strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("an address is told where it is %s", want)
		}
	}
}

func TestAddr_Trim(t *testing.T) {
	for _, around := range [][2]string{
		{"", ""}, {" ", "\n"}, {"\ufeff", "\r\n"}, {`"`, `"`}, {"'", "'"}, {"“", "”"}, {"«\u00a0", "\u00a0»"}, {"\u200b\t\"'", "'\" \u2060"}, {"\x00", "\x1b"},
	} {
		if got := Trim(around[0] + `a "b" c` + around[1]); got != `a "b" c` {
			t.Errorf("%q: got %q", around, got)
		}
	}
	if got := Trim(" \ufeff\"\" "); got != "" {
		t.Errorf("nothing within: %q", got)
	}
}

func TestAddr_HasUser(t *testing.T) {
	for raw, want := range map[string]bool{
		"": false, "portal.example": false, "https://portal.example/a@b": false, "portal.example?a@b": false, "/login//a@b": false, "/a@b": false, "portal.example#@": false,
		"a@portal.example": true, "https://a:b@portal.example/": true, "//a@b": true, "a@b@c": true, "https://@portal.example": true, "https://a%zz@b": true,
		"portal.example:443@10.0.0.1": true,
	} {
		if HasUser(raw) != want {
			t.Errorf("%q: %t", raw, !want)
		}
	}
}

func TestAddr_ASCII(t *testing.T) {
	for host, want := range map[string]string{
		"портал.рф": "xn--80awhdgm.xn--p1ai", "ПОРТАЛ.РФ": "xn--80awhdgm.xn--p1ai", "bücher.example": "xn--bcher-kva.example",
		"Portal.Bitrix24.com": "Portal.Bitrix24.com", "xn--80awhdgm.xn--p1ai": "xn--80awhdgm.xn--p1ai",
		"127.0.0.1": "127.0.0.1", "::1": "::1", "a_b.local": "a_b.local", "": "", "портал рф": "портал рф",
	} {
		if got := ASCII(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func TestAddr_SameHost(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"https://портал.рф/rest/", "https://xn--80awhdgm.xn--p1ai:443/", true},
		{"https://ПОРТАЛ.РФ:8443/", "https://xn--80awhdgm.xn--p1ai:8443/", true},
		{"https://портал.рф:8443/", "https://xn--80awhdgm.xn--p1ai/", false},
		{"https://Portal.example./", "https://portal.example/", true},
		{"https://портал.рф/", "https://другой.рф/", false},
	} {
		a, err := url.Parse(tt.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := url.Parse(tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if SameHost(a, b) != tt.same {
			t.Errorf("%s and %s: want %t", tt.a, tt.b, tt.same)
		}
	}
}
