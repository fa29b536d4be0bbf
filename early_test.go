package b24pull

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestNothingEarlyIsLogged: what a server sends after the TLS handshake, before
// the call, reaches no log. Without a connection that waits for the call
// net/http prints it in some of a hundred calls.
func TestNothingEarlyIsLogged(t *testing.T) {
	for _, version := range resttest.TLSVersions {
		for _, whose := range []string{"own", "a user's", "public, through a proxy", "DialTLSContext"} {
			t.Run(version.Name+" "+whose, func(t *testing.T) {
				told := resttest.CaptureLog(t)
				server := resttest.Early(t, version.Number, "HTTP/1.1 200 OK\r\nX-Asked: /rest/1/"+resttest.HookCode+"/\r\nContent-Length: 15\r\n\r\n{\"result\":true}")
				var opts []Option
				transport := &http.Transport{TLSClientConfig: server.TLS}
				switch whose {
				case "own":
					transport = nil
				case "public, through a proxy":
					proxy := &url.URL{Scheme: "http", Host: resttest.ConnectProxy(t, server.Address)}
					transport = publicTransport(http.ProxyURL(proxy))
					transport.TLSClientConfig = server.TLS
				case "DialTLSContext":
					transport.DialTLSContext = server.DialTLS
				}
				if transport != nil {
					opts = append(opts, WithHTTPClient(&http.Client{Transport: transport}))
				}
				host := server.Address
				if strings.HasPrefix(whose, "public") {
					host = "portal.example"
				}
				c, err := New(Webhook("https://"+host+"/rest/1/"+resttest.HookCode+"/"), append(opts, WithLimiter(nil))...)
				if err != nil {
					t.Fatal(err)
				}
				if transport == nil {
					c.http.Transport.(*http.Transport).TLSClientConfig = server.TLS
				}
				for range calls(t) {
					if _, err := c.Call(t.Context(), "app.info", nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				if text := told.String(); text != "" {
					t.Errorf("the process's log has been told %d lines, a secret among them: %v", strings.Count(text, "\n"), strings.Contains(text, resttest.Mark))
				}
			})
		}
	}
}

func calls(t *testing.T) int {
	if testing.Short() {
		return 100
	}
	return 500
}
