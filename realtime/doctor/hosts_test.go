package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	t.Parallel()
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
	t.Parallel()
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

// TestCheck_Overall: all checks together end after a minute, however slow each
// of them is.
func TestCheck_Overall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()))
		defer portal.Close()
		portal.Misbehave(pulltest.REST, pulltest.Delay(8*time.Second))
		portal.Misbehave(pulltest.Polls, pulltest.Stall)
		began := time.Now()
		report := doctor.Check(t.Context(), application(t, portal, ""))
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		want(t, report, "REST", doctor.Warn, "which is slow")
		want(t, report, "polls", doctor.Skip, "no time was left: all checks have 1m0s")
		want(t, report, "history", doctor.Skip, "no time was left: all checks have 1m0s")
	})
}

// TestCheck_Unmarked: a poll that is held and then ended without the headers of
// a push server may have been ended by something else.
func TestCheck_Unmarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unmarked := pulltest.WithHandler(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "/sub") || r.Header.Get("Upgrade") != "" {
					next.ServeHTTP(w, r)
					return
				}
				time.Sleep(40 * time.Second)
				w.WriteHeader(http.StatusNotModified)
			})
		})
		portal := pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()), unmarked)
		defer portal.Close()
		report := doctor.Check(t.Context(), application(t, portal, ""))
		want(t, report, "polls", doctor.Warn, "held for 40s, then HTTP 304 Not Modified that does not show that it is a push server's", "pass on the headers")
	})
}

// sending has f see each event that the portal is to send. If it returns false,
// the portal says that it has sent it, and has not.
func sending(t *testing.T, f func(command string, params map[string]any) bool) pulltest.Option {
	return pulltest.WithHandler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "pull.application.event.add") {
				next.ServeHTTP(w, r)
				return
			}
			var asked map[string]any
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			command, _ := asked["COMMAND"].(string)
			params, ok := asked["PARAMS"].(map[string]any)
			if !ok {
				t.Error("the call is another")
			}
			if !f(command, params) {
				_, _ = io.WriteString(w, `{"result":true}`)
				return
			}
			body, err := json.Marshal(asked)
			if err != nil {
				t.Error(err)
			}
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			next.ServeHTTP(w, r)
		})
	})
}

// TestCheck_Events: an event that a user's browser has published is not taken
// for one of the portal's, one that is read in the history not for one that has
// come live, and what is shorter than it was sent is not whole.
func TestCheck_Events(t *testing.T) {
	for name, tt := range map[string]struct {
		send func(portal *pulltest.Portal, command string, params map[string]any) bool
		want func(t *testing.T, report doctor.Report)
	}{
		"forged": {
			func(portal *pulltest.Portal, command string, params map[string]any) bool {
				portal.EmitAsClient(pulltest.Message{Module: "application", Command: command, Params: params})
				return false
			},
			func(t *testing.T, report doctor.Report) {
				want(t, report, "shared event", doctor.Fail)
				want(t, report, "private event", doctor.Fail)
			},
		},
		"not live": {
			func(portal *pulltest.Portal, _ string, _ map[string]any) bool {
				if _, err := portal.Cut(); err != nil {
					t.Error(err)
				}
				return true
			},
			func(t *testing.T, report doctor.Report) {
				want(t, report, "shared event", doctor.Warn, "out of the history, not live")
				want(t, report, "private event", doctor.Warn, "out of the history, not live")
			},
		},
		"cut": {
			func(_ *pulltest.Portal, _ string, params map[string]any) bool {
				if text, ok := params["text"].(string); ok {
					params["text"] = text[:16<<10]
				}
				return true
			},
			func(t *testing.T, report doctor.Report) {
				want(t, report, "shared event", doctor.Pass)
				want(t, report, "large event", doctor.Fail, "of 20000 bytes 16384 came back")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var portal *pulltest.Portal
				portal = pulltest.NewPortal(pulltest.WithNetwork(pulltest.NewNetwork()),
					sending(t, func(command string, params map[string]any) bool { return tt.send(portal, command, params) }))
				defer portal.Close()
				tt.want(t, doctor.Check(t.Context(), application(t, portal, ""), doctor.WithEvents()))
			})
		})
	}
}
