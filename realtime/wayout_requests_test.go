package realtime_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/realtime"
)

// overEach runs a test for each of the services of a site.
func overEach(t *testing.T, test func(t *testing.T, s *site, transport *http.Transport)) {
	for _, of := range services {
		t.Run(string(of), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, of, siteHost, siteHost, nil)
			test(t, s, &http.Transport{TLSClientConfig: s.trust(), DialContext: s.dialContext})
		})
	}
}

// TestWayOut_Cookies: the jar of the HTTP client is asked and told by all four.
func TestWayOut_Cookies(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		at := &url.URL{Scheme: "https", Host: siteHost, Path: "/"}
		jar.SetCookies(at, []*http.Cookie{{Name: "gateway", Value: "s3cr3t-cookie", Path: "/", Secure: true}})
		s.gateway(func(*httputil.ProxyRequest) {}, func(r *http.Response) { r.Header.Set("Set-Cookie", "node=s3cr3t-node; Path=/; Secure") })
		if err := s.call(&http.Client{Transport: transport, Jar: jar}); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.arrived() {
			if c, err := r.Cookie("gateway"); err != nil || c.Value != "s3cr3t-cookie" {
				t.Error("the cookie was not sent")
			}
		}
		var kept bool
		for _, c := range jar.Cookies(at) {
			kept = kept || c.Name == "node" && c.Value == "s3cr3t-node"
		}
		if !kept {
			t.Error("the cookie of the answer was not kept")
		}
	})
}

// TestWayOut_ClientWithTimeout: an HTTP client with a Timeout, as most programs
// have one, serves all four.
func TestWayOut_ClientWithTimeout(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
		if err := s.call(&http.Client{Transport: transport, Timeout: 30 * time.Second}); err != nil {
			t.Error(err)
		}
	})
}

// TestWayOut_UserAgent: all four call themselves what they are told to, or by
// the package's name.
func TestWayOut_UserAgent(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"", "mine/1.0"} {
		overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
			want := b24pull.DefaultUserAgent
			if agent != "" {
				s.agent, want = agent, agent
			}
			if err := s.call(&http.Client{Transport: transport}); err != nil {
				t.Fatal(err)
			}
			for _, r := range s.arrived() {
				if got := r.Header.Get("User-Agent"); got != want {
					t.Errorf("the User-Agent is %q, want %q", got, want)
				}
			}
		})
	}
	client, err := b24pull.New(b24pull.OAuth("https://"+siteHost, oauth2.StaticTokenSource(&oauth2.Token{})), b24pull.WithUserAgent("mine/1.0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []any{client, realtime.PortalConfig(client)} {
		if s, ok := source.(interface{ UserAgent() string }); !ok || s.UserAgent() != "mine/1.0" {
			t.Errorf("%T does not tell its User-Agent", source)
		}
	}
}

// TestWayOut_Header: what WithHeader gives is in each poll and each handshake,
// and in no error.
func TestWayOut_Header(t *testing.T) {
	given := http.Header{"x-gateway-token": {"s3cr3t-token"}, "Authorization": {"Bearer s3cr3t-bearer-token"},
		"Cookie": {"sso=s3cr3t-sso-cookie"}, "User-Agent": {"gateway/2"}, "X-Two": {"a", "b"}}
	for _, of := range []service{overPolls, overWebSocket} {
		for _, byDialer := range []bool{false, true} {
			if byDialer && of == overPolls {
				continue
			}
			t.Run(fmt.Sprintf("%s, dialer %t", of, byDialer), func(t *testing.T) {
				s := newSite(t, of, siteHost, siteHost, nil)
				opts := []realtime.Option{realtime.WithHeader(given)}
				if byDialer {
					opts = append(opts, realtime.WithDialer(&websocket.Dialer{NetDialContext: s.dialContext, TLSClientConfig: s.trust()}))
				}
				client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust(), DialContext: s.dialContext}}
				if err := s.call(client, opts...); err != nil {
					t.Fatal(err)
				}
				if len(s.arrived()) == 0 {
					t.Error("nothing has arrived")
				}
				for _, r := range s.arrived() {
					for name, values := range given {
						if got := r.Header.Values(name); fmt.Sprint(got) != fmt.Sprint(values) {
							t.Errorf("%s has %d values, and not those that were given", name, len(got))
						}
					}
				}
				s.answerInstead(func(w http.ResponseWriter, r *http.Request) {
					http.Error(w, "no entry for "+r.Header.Get("X-Gateway-Token"), http.StatusForbidden)
				})
				err := s.call(client, opts...)
				var status *realtime.StatusError
				if !errors.As(err, &status) || !strings.Contains(status.Reason, "no entry") || strings.Contains(fmt.Sprintf("%+v", err), "s3cr3t") {
					t.Error("no error with the server's reason, or one that tells a secret")
				}
			})
		}
	}
}

// TestWayOut_HeaderIsTheSubscriptions: changing a header that was given changes
// nothing.
func TestWayOut_HeaderIsTheSubscriptions(t *testing.T) {
	s := newSite(t, overPolls, siteHost, siteHost, nil)
	header := http.Header{"X-Gateway": {"one"}}
	opt := realtime.WithHeader(header)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust(), DialContext: s.dialContext}}
	sub := func() error { return s.call(client, opt) }
	if err := sub(); err != nil {
		t.Fatal(err)
	}
	header.Set("X-Gateway", "two")
	if err := sub(); err != nil {
		t.Fatal(err)
	}
	if first := s.arrived()[0].Header.Get("X-Gateway"); first != "one" {
		t.Errorf("sent %q", first)
	}
}

func TestWayOut_HeaderIsChecked(t *testing.T) {
	for name, want := range map[string]string{
		"Host": "Host", "host": "Host", "connection": "Connection", "Upgrade": "Upgrade", "Transfer-Encoding": "Transfer-Encoding", "TE": "Te",
		"Trailer": "Trailer", "Keep-Alive": "Keep-Alive", "Content-Length": "Content-Length", "x-idempotency-key": "repeat", "Sec-WebSocket-Key": "handshake",
		"sec-websocket-protocol": "handshake", "Sec-Websocket-Extensions": "handshake", "Proxy-Authorization": "ProxyConnectHeader",
		"Proxy-Connection": "Proxy", "Accept-Encoding": "Accept-Encoding", "If-Modified-Since": "If-Modified-Since", "Range": "Range",
		"": "name", "a b": "name", "ключ": "name", "a:b": "name", "X-Ok": "value of X-Ok",
	} {
		_, err := realtime.Subscribe(source{}, realtime.WithHeader(http.Header{name: {"s3cr3t\r\nHost: x"}}))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "WithHeader") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: the error does not name %q, or not only that", name, want)
		}
	}
	if _, err := realtime.Subscribe(source{}, realtime.WithHeader(nil)); err != nil {
		t.Error(err)
	}
}

// TestWayOut_RedirectIsNotFollowed: channel ids go nowhere but to the push
// server.
func TestWayOut_RedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, of := range []service{overPolls, overWebSocket} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprintf("%s/%d", of, code), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, of, siteHost, siteHost, nil)
				s.answerInstead(func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://"+siteHost+"/elsewhere", code)
				})
				err := s.call(&http.Client{Transport: &http.Transport{TLSClientConfig: s.trust(), DialContext: s.dialContext}})
				var status *realtime.StatusError
				if !errors.As(err, &status) || status.Status != code {
					t.Errorf("got %v", err)
				}
				for _, r := range s.arrived() {
					if r.URL.Path == "/elsewhere" {
						t.Error("the redirect was followed")
					}
				}
			})
		}
	}
}

// roundTripper is not an *http.Transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWayOut_RoundTripper: one that has an *http.Transport make its requests
// serves all four.
func TestWayOut_RoundTripper(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
		var mu sync.Mutex
		passed := 0
		wrapped := roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			passed++
			r = r.Clone(r.Context())
			r.Header.Set("X-Wrapped", "yes")
			return transport.RoundTrip(r)
		})
		if err := s.call(&http.Client{Transport: wrapped}); err != nil {
			t.Fatal(err)
		}
		transport.CloseIdleConnections()
		for _, r := range s.arrived() {
			if r.Header.Get("X-Wrapped") != "yes" {
				t.Error("a request has gone another way")
			}
		}
		if passed == 0 {
			t.Error("nothing has passed")
		}
	})
}

// TestWayOut_RoundTripperWithoutUpgrade: one that hides what net/http returns
// is refused when a websocket is dialed, and serves the others.
func TestWayOut_RoundTripperWithoutUpgrade(t *testing.T) {
	t.Parallel()
	hides := map[string]func(r *http.Request, base http.RoundTripper) (*http.Response, error){
		"body": func(r *http.Request, base http.RoundTripper) (*http.Response, error) {
			answer, err := base.RoundTrip(r)
			if err == nil {
				answer.Body = struct{ io.ReadCloser }{answer.Body}
			}
			return answer, err
		},
		"context": func(r *http.Request, base http.RoundTripper) (*http.Response, error) {
			ctx, cancel := context.WithCancel(t.Context()) // without the values
			context.AfterFunc(r.Context(), cancel)
			return base.RoundTrip(r.Clone(ctx))
		},
	}
	for what, hide := range hides {
		t.Run(what, func(t *testing.T) {
			overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
				wrapped := roundTripper(func(r *http.Request) (*http.Response, error) { return hide(r, transport) })
				err := s.call(&http.Client{Transport: wrapped})
				transport.CloseIdleConnections()
				switch {
				case s.service != overWebSocket && err != nil:
					t.Error(err)
				case s.service == overWebSocket && (err == nil || errors.Is(err, errTriesAgain) || !strings.Contains(err.Error(), "WithDialer")):
					t.Errorf("got %v, want the end by an error that names WithDialer", err)
				case s.service == overWebSocket && len(s.arrived()) > 2: // one for the history
					t.Errorf("tried %d times", len(s.arrived()))
				}
			})
		})
	}
}

// TestWayOut_HTTP2Site: where the server and the transport prefer HTTP/2, all
// that can goes by it, and a websocket by HTTP/1.1.
func TestWayOut_HTTP2Site(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, s *site, transport *http.Transport) {
		var mu sync.Mutex
		versions := make(map[int]int)
		s.gateway(func(r *httputil.ProxyRequest) {
			mu.Lock()
			defer mu.Unlock()
			versions[r.In.ProtoMajor]++
		}, func(*http.Response) {})
		transport.ForceAttemptHTTP2 = true
		if err := s.call(&http.Client{Transport: transport}); err != nil {
			t.Fatal(err)
		}
		want := 2
		if s.service == overWebSocket {
			want = 1
		}
		mu.Lock()
		defer mu.Unlock()
		if versions[want] == 0 || len(versions) != 1 {
			t.Errorf("requests by version of HTTP: %v, want all by %d", versions, want)
		}
	})
}

// TestWayOut_RefusedWay: where the way is barred the error says why, tells no
// secret, and nothing goes around it.
func TestWayOut_RefusedWay(t *testing.T) {
	t.Parallel()
	proxied := func(scheme string, password string) func(*site, *http.Transport) {
		return func(s *site, t *http.Transport) {
			p := newProxy(s.t, scheme, s.cert, s.reach)
			t.Proxy = http.ProxyURL(p.url(password))
		}
	}
	const wrong = "s3cr3t-wrong-password"
	tests := []struct {
		name string
		bar  func(*site, *http.Transport)
		want string
	}{
		{"an http proxy refuses the password", proxied("http", wrong), "Proxy Authentication Required"},
		{"an https proxy refuses the password", proxied("https", wrong), "Proxy Authentication Required"},
		{"a socks5 proxy refuses the password", proxied("socks5", wrong), "username/password authentication failed"},
		{"the proxy is down", func(s *site, t *http.Transport) {
			t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: vacant(s.t), User: url.UserPassword(proxyUser, proxyPassword)})
		}, "connection refused"},
		{"the proxy cannot reach the site", func(s *site, t *http.Transport) {
			p := newProxy(s.t, "http", s.cert, func(string) (net.Conn, error) { return nil, errors.New("no way") })
			t.Proxy = p.use()
		}, "Bad Gateway"},
		{"the proxy is no URL", func(s *site, t *http.Transport) {
			t.Proxy = func(*http.Request) (*url.URL, error) {
				return url.Parse(fmt.Sprintf("http://corp:%s@proxy.test:8080", "s3cr3t/word"))
			}
		}, "invalid port"},
		{"the proxy's answer is refused", func(s *site, t *http.Transport) {
			proxied("http", proxyPassword)(s, t)
			t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, _ *http.Response) error {
				return errors.New("not this proxy")
			}
		}, "not this proxy"},
		{"an unknown authority of the site", func(_ *site, t *http.Transport) { t.TLSClientConfig.RootCAs = nil }, "unknown authority"},
		{"an unknown authority of the proxy", func(s *site, t *http.Transport) {
			proxied("https", proxyPassword)(s, t)
			t.TLSClientConfig.RootCAs = nil
		}, "unknown authority"},
		{"another name", func(_ *site, t *http.Transport) { t.TLSClientConfig.ServerName = "elsewhere.test" }, "elsewhere.test"},
		{"a version of TLS", func(_ *site, t *http.Transport) { t.TLSClientConfig.MaxVersion = tls.VersionTLS12 }, "protocol version not supported"},
		{"DialContext fails", func(_ *site, t *http.Transport) {
			t.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no way out") }
		}, "no way out"},
		{"Dial fails", func(_ *site, t *http.Transport) {
			t.DialContext = nil
			//lint:ignore SA1019 who has set it wants it used
			t.Dial = func(string, string) (net.Conn, error) { return nil, errors.New("no way out") }
		}, "no way out"},
	}
	for _, tt := range tests {
		for _, of := range services {
			t.Run(fmt.Sprintf("%s/%s", tt.name, of), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, of, siteHost, siteHost, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })
				transport := &http.Transport{TLSClientConfig: s.trust(), DialContext: s.dialContext}
				tt.bar(s, transport)
				err := s.call(&http.Client{Transport: transport})
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q", err, tt.want)
				}
				if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "s3cr3t") || strings.Contains(text, "word@") {
					t.Error("the error tells a secret")
				}
				if n := len(s.arrived()); n > 0 {
					t.Errorf("%d requests have arrived", n)
				}
			})
		}
	}
}
