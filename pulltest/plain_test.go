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
