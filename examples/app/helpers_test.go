package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// get is a browser that follows no redirect.
func (w *world) get(address string, cookies []*http.Cookie) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := w.client.Transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// authorized is where the user who is signed in comes back to, and with what
// cookies.
func (w *world) authorized(portal *pulltest.Portal, app string) (back string, cookies []*http.Cookie) {
	w.t.Helper()
	sent, _ := w.get(app+"/authorize?portal="+strings.TrimPrefix(portal.URL(), "https://"), nil)
	answer, _ := w.get(sent.Header.Get("Location"), nil)
	back = strings.Replace(answer.Header.Get("Location"), "https://app.example", app, 1) // as the proxy before the program does
	return back, sent.Cookies()
}

// read returns the file of a portal's token.
func (w *world) read(portal *pulltest.Portal) (string, error) {
	data, err := os.ReadFile(filepath.Join(w.folder, portal.MemberID()+".json"))
	return string(data), err
}

// world is real portals, as far as the program can tell, and their
// authorization server.
type world struct {
	t       *testing.T
	portals []*pulltest.Portal
	client  *http.Client
	env     map[string]string
	folder  string

	mu     sync.Mutex
	issued []string // by the authorization server

	stalled   chan struct{} // until it is closed the authorization server answers nobody; nil: it does
	now, most int           // that ask it at once
}

// newWorld has so many portals, all of which have the application. Only the
// first takes bindings of events.
func newWorld(t *testing.T, portals int) *world {
	w := &world{t: t, folder: t.TempDir()}
	roots := x509.NewCertPool()
	for i := range portals {
		opts := []pulltest.Option{pulltest.WithApplication(registered)}
		if i > 0 {
			opts = append(opts, pulltest.WithHandler(withoutEvents))
		}
		p := pulltest.NewPortal(opts...)
		t.Cleanup(p.Close)
		roots.AddCert(p.Certificate())
		p.Emit(pulltest.Message{Command: "long.past", To: pulltest.Shared})
		w.portals = append(w.portals, p)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.authServer))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots.AddCert(server.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport}
	w.env = map[string]string{
		"B24PULL_CLIENT_ID": registered.ClientID, "B24PULL_CLIENT_SECRET": registered.ClientSecret, "B24PULL_AUTH_SERVER": server.URL,
		"B24PULL_REDIRECT_URL": "https://app.example/redirect", "B24PULL_TOKEN_FOLDER": w.folder,
	}
	return w
}

// authServer serves all portals: it asks each of theirs.
func (w *world) authServer(rw http.ResponseWriter, r *http.Request) {
	form, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	stalled := w.stalled
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
	}()
	if stalled != nil {
		select {
		case <-stalled:
		case <-r.Context().Done():
			return
		}
	}
	for i, p := range w.portals {
		resp, err := p.HTTPClient().Post(p.AuthServer()+r.URL.Path, r.Header.Get("Content-Type"), bytes.NewReader(form))
		if err != nil {
			w.t.Error(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK && i < len(w.portals)-1 {
			continue
		}
		var token struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if json.Unmarshal(body, &token) == nil && token.Access != "" {
			w.mu.Lock()
			w.issued = append(w.issued, token.Access, token.Refresh)
			w.mu.Unlock()
		}
		rw.WriteHeader(resp.StatusCode)
		rw.Write(body)
		return
	}
}

// withoutEvents refuses what has to do with events.
func withoutEvents(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/rest/event.") {
			rw.WriteHeader(http.StatusNotFound)
			io.WriteString(rw, `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// checkBound checks that the first portal's event was bound, and once.
func (w *world) checkBound() {
	w.t.Helper()
	p := w.portals[0]
	resp, err := p.HTTPClient().PostForm(p.URL()+"/rest/event.get", url.Values{"auth": {p.AccessToken()}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var bound struct {
		Result []struct{ Event, Handler string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&bound); err != nil {
		w.t.Fatal(err)
	}
	if r := bound.Result; len(r) != 1 || r[0].Event != "ONAPPUNINSTALL" || r[0].Handler != "https://app.example/event" {
		w.t.Errorf("bound %v", r)
	}
}

// helloOf is a line of a portal's event.
func helloOf(portal, text string) string { return fmt.Sprintf("portal=%s text=%q", portal, text) }

// run starts the program and returns the address of its callbacks.
func (w *world) run() (*running, string) {
	w.t.Helper()
	r := start(w.t, w.env, w.client, "127.0.0.1:0")
	r.says("callbacks are served", "at=http://")
	return r, regexp.MustCompile(`at=(http://\S+)`).FindStringSubmatch(r.out.String())[1]
}

// checkSecrets looks for everything that may not be printed.
func (w *world) checkSecrets(r *running) {
	w.t.Helper()
	text := r.out.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	secrets := append(slices.Clone(w.issued), "s3cr3t")
	for _, p := range w.portals {
		for _, id := range regexp.MustCompile(`"id":"([^"]+)"`).FindAllSubmatch(p.ConfigJSON(), -1) {
			secrets = append(secrets, string(id[1]))
		}
	}
	if len(secrets) < 5 {
		w.t.Errorf("only %d secrets", len(secrets))
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			w.t.Errorf("the secret %q in\n%s", secret, text)
		}
	}
}

// files are the names of the stored tokens and cursors.
func (w *world) files() (names []string) {
	for _, pattern := range []string{"*.json", "*.cursor"} {
		found, err := filepath.Glob(filepath.Join(w.folder, pattern))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}

// post sends an event as anybody can, and returns the status.
func post(t *testing.T, address string, form url.Values) int {
	t.Helper()
	resp, err := http.PostForm(address, form)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode
}

func forged(p *pulltest.Portal, applicationToken string) url.Values {
	return url.Values{"event": {"ONAPPUNINSTALL"}, "auth[member_id]": {p.MemberID()}, "auth[application_token]": {applicationToken}}
}

// stall has the authorization server answer nobody until release.
func (w *world) stall() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stalled := make(chan struct{})
	w.stalled, w.most = stalled, 0
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stalled = nil
		close(stalled)
	})
}

// asking is how many ask the authorization server, now and at most.
func (w *world) asking() (now, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.most
}

// crowd sends so many requests at once. answered counts the statuses of those
// that have been answered.
func (w *world) crowd(ctx context.Context, n int, request func(i int) *http.Request) (wait func(), answered func() map[int]int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	browser := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i := range n {
		wg.Go(func() {
			resp, err := browser.Do(request(i).WithContext(ctx))
			status := 0
			if err == nil {
				resp.Body.Close()
				status = resp.StatusCode
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wait = func() {
		wg.Wait()
		browser.CloseIdleConnections()
	}
	return wait, func() map[int]int {
		mu.Lock()
		defer mu.Unlock()
		total := map[int]int{}
		for status, n := range statuses {
			total[status] = n
		}
		return total
	}
}
