package oauth

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestBeginners_Callbacks: what is said of requests that are not what a portal
// sends, in whole.
func TestBeginners_Callbacks(t *testing.T) {
	var all []resttest.Mistake
	parse := func(name, method, media, body string) {
		r := httptest.NewRequest(method, "/install?DOMAIN=portal.example", strings.NewReader(body))
		if media != "" {
			r.Header.Set("Content-Type", media)
		}
		_, err := ParseCallback(r)
		all = append(all, resttest.Mistake{Name: "ParseCallback: " + name, Err: err})
	}
	parse("a browser", "GET", "", "")
	parse("HEAD", "HEAD", "", "")
	parse("JSON", "POST", "application/json", `{"member_id":"s3cr3t"}`)
	parse("JSON of a charset", "POST", "application/json; charset=utf-8", `{"member_id":"s3cr3t"}`)
	parse("parts", "POST", "multipart/form-data; boundary=s3cr3t", "")
	parse("text", "POST", "text/plain", "member_id=s3cr3t")
	parse("no Content-Type", "POST", "", "member_id=s3cr3t")
	parse("a Content-Type that is none", "POST", "s3cr3t; ; ;", "member_id=s3cr3t")
	parse("an empty body", "POST", formMedia, "")
	parse("an escape that is none", "POST", formMedia, "member_id=%zz&s3cr3t")
	parse("too much", "POST", formMedia, "member_id=s3cr3t&x="+strings.Repeat("x", callbackLimit))
	parse("another form", "POST", formMedia, "name=s3cr3t")
	parse("a member that is a path", "POST", formMedia, "member_id=../s3cr3t")
	parse("no token", "POST", formMedia, "member_id=m1")
	r := httptest.NewRequest("POST", "/install", strings.NewReader("member_id=m1&AUTH_ID=s3cr3t"))
	r.Header.Set("Content-Type", formMedia)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	_, err := ParseCallback(r)
	all = append(all, resttest.Mistake{Name: "ParseCallback: a body that was read before", Err: err})
	for _, w := range [][3]string{
		{"nothing", "/", "st"},
		{"no state kept", "/?state=st&code=s3cr3t", ""},
		{"another state", "/?state=s3cr3t&code=s3cr3t", "st"},
		{"no domain", "/?state=st&code=s3cr3t", "st"},
		{"no code", "/?state=st&domain=portal.example", "st"},
		{"the user's refusal", "/?state=st&error=access_denied", "st"},
	} {
		_, err := ParseRedirect(httptest.NewRequest("GET", w[1], nil), w[2])
		all = append(all, resttest.Mistake{Name: "ParseRedirect: " + w[0], Err: err})
	}
	resttest.CheckMistakes(t, "testdata/beginners/callbacks.golden", all)
}

// TestBeginners_Applications: what is said of an Application that is none.
func TestBeginners_Applications(t *testing.T) {
	var all []resttest.Mistake
	add := func(name string, err error) { all = append(all, resttest.Mistake{Name: name, Err: err}) }
	link := func(name string, a *Application, portal, state string) {
		_, err := a.AuthCodeURL(portal, state)
		add("AuthCodeURL: "+name, err)
	}
	good := Application{ClientID: "app.1", ClientSecret: "s3cr3t"}
	link("no application", nil, "portal.example", "st")
	_, err := NewTokens(nil, new(MemoryStore))
	add("NewTokens: no application", err)
	link("no client_id", &Application{ClientSecret: "s3cr3t"}, "portal.example", "st")
	link("neither", &Application{ClientSecret: " "}, "portal.example", "st")
	link("no client_secret", &Application{ClientID: "app.1"}, "portal.example", "st")
	link("no portal", &good, "", "st")
	link("a webhook", &good, "https://portal.example/rest/1/s3cr3t/", "st")
	link("the authorization server", &good, AuthServerWest, "st")
	link("http", &good, "http://portal.example", "st")
	link("no state", &good, "portal.example", "")
	link("an AuthServer over http", &Application{ClientID: "a", ClientSecret: "s3cr3t", AuthServer: "http://oauth.example"}, "portal.example", "st")
	link("an AuthServer without a scheme", &Application{ClientID: "a", ClientSecret: "s3cr3t", AuthServer: "oauth.example"}, "portal.example", "st")
	link("a UserAgent of two lines", &Application{ClientID: "a", ClientSecret: "s3cr3t", UserAgent: "a\nb"}, "portal.example", "st")
	_, err = NewTokens(&good, nil)
	add("NewTokens: no store", err)
	folder, err := NewTokenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]TokenStore{"memory": new(MemoryStore), "a folder": folder} {
		ts, err := NewTokens(&good, store)
		if err != nil {
			t.Fatal(err)
		}
		_, got := ts.Source("").Token()
		_, refreshed := ts.Source("").Refresh(t.Context(), &oauth2.Token{AccessToken: "s3cr3t"})
		put := ts.Put(t.Context(), "", &Token{Token: oauth2.Token{AccessToken: "s3cr3t"}})
		changed := ts.Update(t.Context(), "", func(*Token) error { return nil })
		for from, err := range map[string]error{"Source's Token": got, "Source's Refresh": refreshed, "Put": put, "Update": changed} {
			if err == nil || !strings.Contains(err.Error(), "the key is empty; give the one ") {
				t.Errorf("%s with an empty key, %s: %v", from, name, err)
			}
		}
	}

	if runtime.GOOS == "linux" { // other systems have other words
		nobody := &Application{ClientID: "app.1", ClientSecret: "s3cr3t", AuthServer: "https://oauth.example", HTTPClient: &http.Client{Transport: &http.Transport{
			Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:1")
			},
		}}}
		_, err := nobody.Exchange(t.Context(), AuthCode{Code: "s3cr3tcode0", Portal: "https://portal.example"})
		add("Exchange: nothing listens", err)
		resttest.CheckMistakes(t, "testdata/beginners/applications.golden", all)
	}
}

// TestBeginners_LocalServer: an authorization server of one's own on this
// machine may be asked over http; what a callback names is not.
func TestBeginners_LocalServer(t *testing.T) {
	a := &Application{ClientID: "app.1", ClientSecret: "s3cr3t", AuthServer: "http://127.0.0.1:8080"}
	address, err := a.AuthCodeURL("http://localhost:8081", "st")
	if err != nil || !strings.HasPrefix(address, "http://localhost:8081/oauth/authorize/?") {
		t.Errorf("not taken: %v", err)
	}
	for named, own := range map[string]bool{"http://127.0.0.1:8080/rest/": true, "http://127.0.0.1:6379/rest/": false, "http://localhost/": false, "http://oauth.bitrix.info": false} {
		if u := a.namedServer(named); (u != nil) != own {
			t.Errorf("%s: taken is %t", named, u != nil)
		}
	}
	if portal := (&Application{}); portal.namedServer("http://127.0.0.1:8080") != nil {
		t.Error("a server of this machine may see a client_secret that is not for it")
	}
}
