package pulltest_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// TestPlainHTTP: at an address of its own everything is served without TLS, and
// the portal still tells of https only.
func TestPlainHTTP(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) {
		if !strings.HasPrefix(p.URL(), "https://") || !strings.HasPrefix(p.PushURL(), "https://") {
			t.Errorf("it is at %s and %s", p.URL(), p.PushURL())
		}
		p.Emit(text("kept"))
		r := get(t, p, strings.Replace(subURL(t, p, zeros), "https://portal.example", "http://plain.example:8080", 1))
		expect(t, "a poll", texts(t, decode(t, r.body)), "kept")
		r = get(t, p, strings.Replace(p.Webhook(), "https://portal.example", "http://plain.example:8080", 1)+"server.time")
		if r.header.Get("Content-Type") == "" || p.Stats().Insecure != 2 {
			t.Errorf("REST: %d %v, %+v", r.status, r.header, p.Stats())
		}
	}, pulltest.WithPlainHTTP("plain.example:8080"))
}

func TestPlainHTTP_Sockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	addr := l.Addr().String()
	p := pulltest.NewPortal(pulltest.WithPlainHTTP(addr))
	defer p.Close()
	resp, err := http.Get("http://" + addr + "/push/server-stat/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second portal at the same address")
		}
	}()
	pulltest.NewPortal(pulltest.WithPlainHTTP(addr)).Close()
}

// TestMove_PlainURLs: a portal that tells of plain http stays with it when it
// moves, unless it is told otherwise.
func TestMove_PlainURLs(t *testing.T) {
	for _, network := range []bool{true, false} {
		var opts []pulltest.Option
		addr := "127.0.0.1:0"
		test := func(t *testing.T, run func(t *testing.T, p *pulltest.Portal)) {
			t.Helper()
			if network {
				inBubble(t, func(t *testing.T, p *pulltest.Portal, _ *pulltest.Network) { run(t, p) }, append(opts, pulltest.WithPlainHTTP("portal.example:80"))...)
				return
			}
			p := pulltest.NewPortal(append(opts, pulltest.WithPlainHTTP(addr))...)
			defer p.Close()
			run(t, p)
		}
		answers := func(t *testing.T, p *pulltest.Portal, url string, status int, location string) {
			t.Helper()
			const method = "/rest/server.time"
			r, err := postOnce(t, p, url+method, "{}")
			if location != "" {
				location += method
			}
			if err != nil || r.status != status || r.header.Get("Location") != location {
				t.Errorf("%s: %d to %q, %v; want %d to %q", url, r.status, r.header.Get("Location"), err, status, location)
			}
		}
		opts = []pulltest.Option{pulltest.WithPlainURLs()}
		test(t, func(t *testing.T, p *pulltest.Portal) {
			first := p.URL()
			to := p.Move("new.example")
			if !strings.HasPrefix(to, "http://") || to == first || p.URL() != to || p.PlainURL() != to || !strings.HasPrefix(p.Webhook(), to+"/") {
				t.Errorf("moved from %s to %s; URL %s, PlainURL %s", first, to, p.URL(), p.PlainURL())
			}
			answers(t, p, first, http.StatusFound, to)
			answers(t, p, to, http.StatusUnauthorized, "")
			secure := p.Move("https://portal.example")
			if !strings.HasPrefix(secure, "https://") || p.URL() != secure || p.PlainURL() != to {
				t.Errorf("moved to %s; URL %s, PlainURL %s", secure, p.URL(), p.PlainURL())
			}
			answers(t, p, to, http.StatusFound, secure)
			answers(t, p, secure, http.StatusUnauthorized, "")
			if again := p.Move("newer.example"); !strings.HasPrefix(again, "http://") || p.PlainURL() != again {
				t.Errorf("moved to %s, PlainURL %s", again, p.PlainURL())
			}
			if err := p.Reset(); err != nil || p.URL() != first || p.PlainURL() != first {
				t.Errorf("after a reset: %v, URL %s, PlainURL %s", err, p.URL(), p.PlainURL())
			}
			answers(t, p, first, http.StatusUnauthorized, "")
		})
		opts = nil
		test(t, func(t *testing.T, p *pulltest.Portal) {
			plain := p.PlainURL()
			if to := p.Move("new.example"); !strings.HasPrefix(to, "https://") || p.PlainURL() != plain {
				t.Errorf("moved to %s, PlainURL %s", to, p.PlainURL())
			}
			answers(t, p, plain, http.StatusUnauthorized, "")
			to := p.Move("http://newer.example")
			if p.PlainURL() != plain {
				t.Errorf("PlainURL %s", p.PlainURL())
			}
			answers(t, p, to, http.StatusUnauthorized, "")
		})
	}
}
