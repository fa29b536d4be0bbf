package b24pull

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestBeginners_Addresses: what New says of addresses that are none.
func TestBeginners_Addresses(t *testing.T) {
	const hook = "https://portal.bitrix24.com/rest/1/s3cr3tcode0/"
	var all []resttest.Mistake
	for _, w := range [][2]string{
		{"nothing", ""},
		{"a space", " "},
		{"a bare host", "portal.bitrix24.com"},
		{"the portal's address alone", "https://portal.bitrix24.com"},
		{"the same with a slash", "https://portal.bitrix24.com/"},
		{"no scheme", "portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"two slashes for a scheme", "//portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"a code alone", "s3cr3tcode0"},
		{"no user, no code", "https://portal.bitrix24.com/rest/"},
		{"no user, no code, no slash", "https://portal.bitrix24.com/rest"},
		{"no code", "https://portal.bitrix24.com/rest/1/"},
		{"no code of the newer REST", "https://portal.bitrix24.com/rest/api/1/"},
		{"user and code exchanged", "https://portal.bitrix24.com/rest/s3cr3tcode0/1/"},
		{"a method's name with slashes", hook + "crm/deal/list"},
		{"a query", hook + "?auth=s3cr3t"},
		{"a query with an address", hook + "profile?back=https://s3cr3t.example"},
		{"a fragment", hook + "profile.json#s3cr3t"},
		{"http", "http://portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"http on the own network", "http://192.168.0.5/rest/1/s3cr3tcode0/"},
		{"https:// twice", "https://https://portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"https// without a colon", "https//portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"https:/ with one slash", "https:/portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"backslashes", `https:\\portal.bitrix24.com\rest\1\s3cr3tcode0\`},
		{"a space within the code", "https://portal.bitrix24.com/rest/1/s3cr3t code0/"},
		{"quotes within", `https://portal.bitrix24.com/rest/1/"s3cr3tcode0"/`},
		{"a line break within", "https://portal.bitrix24.com/rest/1/s3cr3t\ncode0/"},
		{"a space within the host", "https://portal bitrix24.com/rest/1/s3cr3tcode0/"},
		{"words before it", "webhook: " + hook},
		{"a command", "curl " + hook},
		{"two of them", hook + " " + hook},
		{"a variable's name before it", "B24PULL_WEBHOOK=" + hook},
		{"a link of Markdown", "[webhook](" + hook + ")"},
		{"angle brackets around it", "<" + hook + ">"},
		{"USER and CODE", "https://portal.bitrix24.com/rest/USER/CODE/"},
		{"CODE", "https://portal.bitrix24.com/rest/1/CODE/"},
		{"PORTAL", "https://PORTAL/rest/1/s3cr3tcode0/"},
		{"stars for the code", "https://portal.bitrix24.com/rest/1/******/"},
		{"dots for the code", "https://portal.bitrix24.com/rest/1/…/"},
		{"braces for the host", "https://{portal}/rest/1/s3cr3tcode0/"},
		{"a variable for the host", "https://$PORTAL/rest/1/s3cr3tcode0/"},
		{"angle brackets for the host", "https://<portal>/rest/1/s3cr3tcode0/"},
		{"a profile's page", "https://portal.bitrix24.com/company/personal/user/1/"},
		{"the webhook's page", "https://portal.bitrix24.com/devops/edit/in-hook/5/"},
		{"the push server", "wss://rt.bitrix24.com/subws/?CHANNEL_ID=s3cr3t"},
		{"the push server without a query", "wss://rt.bitrix24.com/subws/"},
		{"ftp", "ftp://portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"a file", "/etc/webhook"},
		{"a user and a password", "https://me:s3cr3t@portal.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"a port that is a word", "https://portal.bitrix24.com:port/rest/1/s3cr3tcode0/"},
		{"a port that is too large", "https://portal.bitrix24.com:99999/rest/1/s3cr3tcode0/"},
		{"no host", "https:///rest/1/s3cr3tcode0/"},
		{"capitals", "https://portal.bitrix24.com/REST/1/s3cr3tcode0/"},
		{"two slashes in the path", "https://portal.bitrix24.com//rest/1/s3cr3tcode0/"},
		{"a full stop behind it", hook + "."},
		{"a comma behind it", hook + ","},
		{"an escape behind it", hook + "%0a"},
		{"an escape in the host", "https://portal%zz.bitrix24.com/rest/1/s3cr3tcode0/"},
		{"a code of other characters", "https://portal.bitrix24.com/rest/1/s3cr3t+code/"},
	} {
		_, err := New(Webhook(w[1]))
		all = append(all, resttest.Mistake{Name: "Webhook: " + w[0], Err: err})
	}
	tokens := resttest.Static("s3cr3t-token")
	for _, w := range [][2]string{
		{"nothing", ""},
		{"a webhook", hook},
		{"a webhook of the newer REST", "https://portal.bitrix24.com/rest/api/1/s3cr3tcode0"},
		{"a webhook without a scheme", "portal.bitrix24.com/rest/1/s3cr3tcode0/profile"},
		{"a page", "https://portal.bitrix24.com/company/"},
		{"http", "http://portal.bitrix24.com"},
		{"http on the own network", "http://192.168.0.5"},
		{"a query", "https://portal.bitrix24.com?auth=s3cr3t"},
		{"the authorization server", "https://oauth.bitrix.info"},
		{"a space within", "https://portal .bitrix24.com"},
		{"https// without a colon", "https//portal.bitrix24.com"},
		{"https:/ with one slash", "https:/portal.bitrix24.com"},
		{"the push server", "wss://rt.bitrix24.com"},
		{"an address of mail", "s3cr3t@portal.bitrix24.com"},
		{"PORTAL", "https://PORTAL"},
		{"a star", "*.bitrix24.com"},
		{"a port that is none", "portal.bitrix24.com:https"},
	} {
		_, err := New(OAuth(w[1], tokens))
		all = append(all, resttest.Mistake{Name: "OAuth: " + w[0], Err: err})
	}
	resttest.CheckMistakes(t, "testdata/beginners/addresses.golden", all)
}

// TestBeginners_Options: what New says of options, and Call of what it is given.
func TestBeginners_Options(t *testing.T) {
	auth := Webhook("https://portal.example/rest/1/s3cr3tcode0/")
	var all []resttest.Mistake
	add := func(name string, err error) { all = append(all, resttest.Mistake{Name: name, Err: err}) }
	made := func(name string, auth Auth, opts ...Option) {
		_, err := New(auth, opts...)
		add(name, err)
	}
	made("New: no auth", nil)
	made("OAuth: no token source", OAuth("portal.example", nil))
	made("New: no option", auth, nil)
	made("WithHTTPClient: none", auth, WithHTTPClient(nil))
	made("WithTimeout: 0", auth, WithTimeout(0))
	made("WithTimeout: negative", auth, WithTimeout(-time.Second))
	made("WithUserAgent: empty", auth, WithUserAgent(""))
	made("WithUserAgent: a line break", auth, WithUserAgent("a\nb"))
	made("WithRetry: negative", auth, WithRetry(Retry{Attempts: -1}))
	made("WithRetry: Min above Max", auth, WithRetry(Retry{Min: time.Minute, Max: time.Second}))
	made("WithMoved: none", auth, WithMoved(nil))

	c := mustNew(t, auth, WithHTTPClient(&http.Client{Transport: unasked{t}}))
	called := func(name, method string, params, result any) {
		_, err := c.Call(t.Context(), method, params, result)
		add("Call: "+name, err)
	}
	called("no method", "", nil, nil)
	called("capitals", "crm.Deal.List", nil, nil)
	called("a query", "crm.deal.list?start=50", nil, nil)
	called("json behind it", "crm.deal.list.json/", nil, nil)
	called("a list as parameters", "crm.deal.list", []int{1}, nil)
	called("a text as parameters", "crm.deal.list", "s3cr3t=1", nil)
	var none *struct{}
	called("a result that is no pointer", "crm.deal.list", nil, struct{}{})
	called("a map as the result", "crm.deal.list", nil, map[string]any{})
	called("a nil pointer as the result", "crm.deal.list", nil, none)
	called("a channel as a parameter", "crm.deal.list", map[string]any{"a": make(chan int)}, nil)
	_, err := (*Client)(nil).Call(t.Context(), "a.b", nil, nil)
	add("Call: no client", err)
	_, err = new(Client).GetConfig(t.Context(), true)
	add("GetConfig: a client of its own", err)
	_, err = c.GetPublicChannel(t.Context(), 0, ApplicationChannels)
	add("GetPublicChannel: user 0", err)
	_, err = c.ListPublicChannels(t.Context(), nil, ApplicationChannels)
	add("ListPublicChannels: nobody", err)
	_, err = c.GetPublicChannel(t.Context(), 2, 7)
	add("GetPublicChannel: no such owner", err)
	_, err = c.ExtendWatch(t.Context())
	add("ExtendWatch: no tags", err)
	add("AddApplicationEvent: no command", c.AddApplicationEvent(t.Context(), ApplicationEvent{}))
	add("AddApplicationEvent: a command with a space", c.AddApplicationEvent(t.Context(), ApplicationEvent{Command: "order changed"}))
	add("AddApplicationEvent: a module in capitals", c.AddApplicationEvent(t.Context(), ApplicationEvent{Command: "a", Module: "Main"}))
	add("AddApplicationEvent: a list", c.AddApplicationEvent(t.Context(), ApplicationEvent{Command: "a", Params: []int{1}}))
	for _, w := range [][2]string{{"a line break", "s3cr3t\ntoken"}, {"a space", "s3cr3t token"}, {"a quote", `s3cr3t"token`}, {"a mark that cannot be seen", "s3cr3t\u200btoken"}, {"nothing", " "}} {
		_, err := mustNew(t, OAuth("portal.example", resttest.Static(w[1])), WithHTTPClient(&http.Client{Transport: unasked{t}})).Call(t.Context(), "app.info", nil, nil)
		add("a token with "+w[0]+" in it", err)
	}
	resttest.CheckMistakes(t, "testdata/beginners/options.golden", all)
}

// unasked is the transport of calls that are refused before they are made.
type unasked struct{ t *testing.T }

func (u unasked) RoundTrip(*http.Request) (*http.Response, error) {
	u.t.Error("the portal was asked")
	return nil, errors.New("unasked")
}

// TestBeginners_Network: what a call says of a host that does not answer, or is
// none to be trusted.
func TestBeginners_Network(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := l.Addr().String()
	const nobody = "127.0.0.1:1" // of a service that is long gone
	defer l.Close()
	secure := resttest.Portal(t, resttest.Reply(200, "{}"))
	plain := httptest.NewServer(resttest.Reply(200, "{}"))
	defer plain.Close()
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	asking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer asking.Close()
	ssh := resttest.Serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1<<14))
		fmt.Fprint(conn, "SSH-2.0-OpenSSH_10.0\r\n")
	})

	trusted := secure.Client().Transport.(*http.Transport).TLSClientConfig
	to := func(address string, change func(*http.Transport)) *http.Client {
		tr := &http.Transport{TLSClientConfig: trusted.Clone(), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		if change != nil {
			change(tr)
		}
		return &http.Client{Transport: tr}
	}
	secureAt := secure.Listener.Addr().String()
	dns := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "portal.example", IsNotFound: true}}
	var all []resttest.Mistake
	call := func(name, portal string, hc *http.Client) {
		c := mustNew(t, Webhook(portal+"/rest/1/s3cr3tcode0/"), WithHTTPClient(hc), WithTimeout(50*time.Millisecond))
		if !strings.HasPrefix(name, "no answer") {
			c = mustNew(t, Webhook(portal+"/rest/1/s3cr3tcode0/"), WithHTTPClient(hc))
		}
		_, err := c.GetConfig(t.Context(), true)
		resttest.CheckError(t, err)
		text := fmt.Sprint(err)
		for _, address := range []string{nobody, silent, secureAt, plain.Listener.Addr().String()} {
			text = strings.ReplaceAll(text, address, "127.0.0.1:PORT")
		}
		all = append(all, resttest.Mistake{Name: name, Err: errors.New(text)})
		want := EndsStart
		if strings.HasPrefix(name, "no answer") || strings.HasPrefix(name, "nothing listens") || name == "no proxy listens" {
			want = EndsNothing // it may come
		}
		if got := EndingOf(err); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if runtime.GOOS == "linux" { // other systems have other words
		call("nothing listens", "https://portal.example", to(nobody, nil))
		call("nothing listens at an address", "https://"+nobody, to(nobody, nil))
		proxy := &url.URL{Scheme: "http", Host: nobody}
		call("no proxy listens", "https://portal.example", to(nobody, func(tr *http.Transport) { tr.Proxy = http.ProxyURL(proxy) }))
	}
	call("no such host", "https://portal.example", to("", func(tr *http.Transport) {
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, dns }
	}))
	call("no answer", "https://portal.example:8443", to(silent, nil))
	call("an authority that is not known", "https://example.com:8443", to(secureAt, func(tr *http.Transport) { tr.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()} }))
	call("the certificate of another host", "https://portal.example", to(secureAt, nil))
	call("a certificate that has expired", "https://example.com", to(secureAt, func(tr *http.Transport) {
		tr.TLSClientConfig.Time = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }
	}))
	call("https to a server of http", "https://portal.example", to(plain.Listener.Addr().String(), nil))
	call("http to a server of https", "http://localhost:8080", to(secureAt, nil))
	call("https to another service", "https://portal.example:22", to(ssh, nil))
	call("a proxy that wants a password", "https://portal.example", to(asking.Listener.Addr().String(), func(tr *http.Transport) {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"})
	}))
	if runtime.GOOS != "linux" {
		return
	}
	resttest.CheckMistakes(t, "testdata/beginners/network.golden", all)
}

// TestBeginners_Answers: what a call says of an answer that is no portal's, and
// of a portal's refusal.
func TestBeginners_Answers(t *testing.T) {
	var all []resttest.Mistake
	answer := func(name string, status int, media, body string, call func(*Client) error) {
		c := mustNew(t, Webhook("https://portal.example/rest/1/s3cr3tcode0/"), WithHTTPClient(&http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			resp := resttest.JSONResponse(r, status, body)
			resp.Header.Set("Content-Type", media)
			return resp, nil
		})}))
		all = append(all, resttest.Mistake{Name: name, Err: call(c)})
	}
	config := func(c *Client) error { _, err := c.GetConfig(context.Background(), true); return err }
	application := func(c *Client) error { _, err := c.GetApplicationConfig(context.Background(), true); return err }
	page := "<html>s3cr3t page</html>"
	answer("no portal, 404", 404, "text/html", page, config)
	answer("no portal, 200", 200, "text/html", page, config)
	answer("no portal, 403", 403, "text/html; charset=utf-8", page, config)
	answer("no portal, 401", 401, "text/plain", "unauthorized", config)
	answer("no portal, nothing", 200, "", "", config)
	answer("another JSON, 404", 404, "application/json", `{"message":"s3cr3t"}`, config)
	answer("another JSON, a list", 200, "application/json", `["s3cr3t"]`, config)
	answer("a gateway, 502", 502, "text/html", page, config)
	answer("a gateway, 429", 429, "text/html", page, config)
	for _, refusal := range []struct {
		code, description string
		status            int
	}{
		{"NO_AUTH_FOUND", "Wrong authorization data", 401}, {"INVALID_CREDENTIALS", "Invalid request credentials", 401},
		{"insufficient_scope", "The request requires higher privileges than provided by the access token", 403},
		{"expired_token", "The access token provided has expired.", 401}, {"ACCESS_DENIED", "REST API is available only on commercial plans.", 403},
		{"ERROR_METHOD_NOT_FOUND", "Method not found!", 404}, {"INVALID_REQUEST", "Https required.", 400}, {"INVALID_REQUEST", "", 400},
		{"SERVER_ERROR", "Push server is not configured", 500}, {"WRONG_AUTH_TYPE", "Current authorization type is denied for this method", 403},
		{"user_access_error", "The user does not have acccess to the application.", 403}, {"PORTAL_DELETED", "Portal was deleted", 500},
	} {
		body, _ := json.Marshal(map[string]string{"error": refusal.code, "error_description": refusal.description})
		answer(refusal.code, refusal.status, "application/json", string(body), config)
		if refusal.code == "WRONG_AUTH_TYPE" || refusal.code == "insufficient_scope" {
			answer(refusal.code+" for the application", refusal.status, "application/json", string(body), application)
		}
		if refusal.code == "SERVER_ERROR" {
			answer("SERVER_ERROR for public channels", refusal.status, "application/json", string(body), func(c *Client) error {
				_, err := c.ListPublicChannels(context.Background(), []int64{2}, ApplicationChannels)
				return err
			})
		}
	}
	answer("insufficient_scope for a deal", 403, "application/json", `{"error":"insufficient_scope","error_description":""}`, func(c *Client) error {
		_, err := c.Call(context.Background(), "crm.deal.list", nil, nil)
		return err
	})
	for name, source := range map[string]oauth2.TokenSource{"a token source of nothing": resttest.Static("")} {
		c := mustNew(t, OAuth("portal.example", source))
		all = append(all, resttest.Mistake{Name: name, Err: application(c)})
	}
	resttest.CheckMistakes(t, "testdata/beginners/answers.golden", all)
}

// TestBeginners_Configs: what Config says of a file that holds something else.
func TestBeginners_Configs(t *testing.T) {
	var all []resttest.Mistake
	for _, w := range [][2]string{
		{"nothing", ""},
		{"white space", " \n"},
		{"null", "null"},
		{"no JSON", "s3cr3t"},
		{"a page", "<!DOCTYPE html><html>s3cr3t</html>"},
		{"half of it", `{"server":{"version":4,`},
		{"a list", `[{"server":{}}]`},
		{"an empty object", `{}`},
		{"an empty answer", `{"result":[]}`},
		{"the portal's error", `{"error":"expired_token","error_description":"The access token provided has expired."}`},
		{"an error of the newer REST", `{"error":{"code":"INVALID_CREDENTIALS","message":"s3cr3t"}}`},
		{"an error that may be a secret", `{"error":"s3cr3t and more","error_description":"s3cr3t"}`},
		{"a token", `{"access_token":"s3cr3t","refresh_token":"s3cr3t","expires_in":3600}`},
		{"a saved error in a result", `{"result":{"error":"QUERY_LIMIT_EXCEEDED"}}`},
		{"a true", `{"result":true}`},
		{"no channels", `{"server":{"version":4,"websocket_secure":"wss://rt.example/"}}`},
		{"no addresses", `{"server":{"version":4},"channels":{"shared":{"id":"s3cr3t"}}}`},
		{"a config in a text", `"{\"server\":{}}"`},
	} {
		all = append(all, resttest.Mistake{Name: w[0], Err: new(Config).UnmarshalJSON([]byte(w[1]))})
	}
	resttest.CheckMistakes(t, "testdata/beginners/configs.golden", all)
}
