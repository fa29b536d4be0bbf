package doctor_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime/doctor"
)

// want wants a check's result to have a status, and parts in its text.
func want(t *testing.T, report doctor.Report, name string, status doctor.Status, parts ...string) {
	t.Helper()
	for _, c := range report.Checks {
		if c.Name != name {
			continue
		}
		if c.Status != status {
			t.Errorf("want %s: %s", status, c)
		}
		for _, part := range parts {
			if !strings.Contains(c.String(), part) {
				t.Errorf("want %q in: %s", part, c)
			}
		}
		return
	}
	t.Errorf("there is no check %q", name)
}

// TestCheck_PushHosts: where one of the push server's hosts swallows what comes
// to it, the other one is looked at all the same, and polls may do.
func TestCheck_PushHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		portal.Emit(pulltest.Message{Command: "order.changed"})
		cfg := new(b24pull.Config)
		if err := cfg.UnmarshalJSON(portal.ConfigJSON()); err != nil {
			t.Fatal(err)
		}
		cfg.Server.WebSocketSecure = strings.Replace(cfg.Server.WebSocketSecure, "portal.example", "10.0.0.5:8894", 1)
		transport := portal.HTTPClient().Transport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "10.0.0.5:") {
				return swallow(ctx, network, address)
			}
			return dial(ctx, network, address)
		}
		report := doctor.Check(t.Context(), nil, doctor.WithConfig(cfg), doctor.WithHTTPClient(&http.Client{Transport: transport}))
		want(t, report, "push address", doctor.Warn, "10.0.0.5:8894: no answer came in time; portal.example, connected", "of a private network")
		want(t, report, "push certificate", doctor.Pass, "10.0.0.5:8894 was not reached; portal.example: for")
		want(t, report, "websocket", doctor.Warn)
		want(t, report, "polls", doctor.Pass)
		if err := report.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestCheck_Deadline: what a deadline of the caller's leaves no time for is not
// said to be for lack of that of a Check.
func TestCheck_Deadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		report := doctor.Check(ctx, application(t, portal, ""))
		want(t, report, "polls", doctor.Skip, "no time was left: the context's deadline has passed")
		want(t, report, "clock", doctor.Skip, "no time was left: the context's deadline has passed")
	})
}

// TestCheck_IdleHangs: a websocket that does not open is not waited for longer
// than another check.
func TestCheck_IdleHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		portal.Misbehave(pulltest.WebSockets, pulltest.Stall)
		report := doctor.Check(t.Context(), application(t, portal, ""), doctor.WithIdle(time.Second))
		want(t, report, "idle", doctor.Skip, "there is no websocket to leave alone")
		if took := report.Checks[len(report.Checks)-1].Duration; took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestCheck_ThroughProxy: what a proxy's name is resolved to is not taken for
// the portal's addresses.
func TestCheck_ThroughProxy(t *testing.T) {
	portal := pulltest.NewPortal()
	defer portal.Close()
	proxy := httptest.NewServer(http.HandlerFunc(tunnel))
	defer proxy.Close()
	address, err := url.Parse(strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1))
	if err != nil {
		t.Fatal(err)
	}
	through := *address
	through.User = url.UserPassword("user", pulltest.SecretMark)
	transport := portal.HTTPClient().Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.Proxy = http.ProxyURL(&through)
	tokens := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: portal.AccessToken()})
	client := newClient(t, portal, b24pull.OAuth(portal.URL(), tokens), b24pull.WithHTTPClient(&http.Client{Transport: transport}))
	report := doctor.Check(t.Context(), client, doctor.WithEvents())
	withoutSecrets(t, report)
	host := strings.TrimPrefix(portal.URL(), "https://")
	want(t, report, "portal address", doctor.Pass, host+", connected")
	want(t, report, "push address", doctor.Pass, host+", connected")
	want(t, report, "proxy", doctor.Pass, host+" is reached through "+address.String())
	want(t, report, "shared event", doctor.Pass)
}

// tunnel is a proxy.
func tunnel(w http.ResponseWriter, r *http.Request) {
	server, err := net.Dial("tcp", r.Host)
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
	client.Close()
	<-done
}
