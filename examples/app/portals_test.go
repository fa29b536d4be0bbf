package main

import (
	"bytes"
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

var registered = pulltest.Application{Name: "App", ClientID: "app.1", ClientSecret: "s3cr3tclient", ApplicationToken: "s3cr3tapp"}

// world is real portals, as far as the program can tell, and their
// authorization server.
type world struct {
	t       *testing.T
	portals []*pulltest.Portal
	client  *http.Client
	env     map[string]string
	folder  string

	mu     sync.Mutex
	bound  []map[string]string // what event.bind was told
	issued []string            // by the authorization server

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
		if i == 0 {
			opts = append(opts, pulltest.WithHandler(w.bindings))
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

// bindings is event.get and event.bind, which the portal in memory does not
// know.
func (w *world) bindings(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch r.URL.Path {
		case "/rest/event.get":
			json.NewEncoder(rw).Encode(map[string]any{"result": w.bound})
		case "/rest/event.bind":
			var call map[string]string
			if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
				w.t.Error(err)
			}
			delete(call, "auth")
			w.bound = append(w.bound, call)
			io.WriteString(rw, `{"result":true}`)
		default:
			w.mu.Unlock()
			defer w.mu.Lock()
			next.ServeHTTP(rw, r)
		}
	})
}

// checkBound checks that the event was bound, and once.
func (w *world) checkBound() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.bound) != 1 || w.bound[0]["event"] != "ONAPPUNINSTALL" || w.bound[0]["handler"] != "https://app.example/event" {
		w.t.Errorf("bound %v", w.bound)
	}
}

// helloed is what the program prints when it has got its own event.
const helloed = `text="hello from the application"`

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

// TestPortals: each portal that installs the application is listened to, until
// it uninstalls it. After a restart the others go on where they were.
func TestPortals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	one, two := w.portals[0], w.portals[1]
	r, app := w.run()
	for _, p := range w.portals {
		if err := p.InstallByEvent(t.Context(), app+"/install"); err != nil {
			t.Fatal(err)
		}
	}
	const hi = "hello from the application"
	r.says(helloOf(one.URL(), hi), helloOf(two.URL(), hi), `msg="the portal does not send all events" portal=`+two.URL())
	w.checkBound()

	if status := post(t, app+"/event", forged(one, "guess")); status != http.StatusForbidden {
		t.Errorf("a forged event is answered %d", status)
	}
	if err := two.Uninstall(t.Context(), app+"/event"); err != nil {
		t.Fatal(err)
	}
	r.says(`msg="the subscription has ended" portal=` + two.URL() + ` err="b24pull: the token was deleted`)
	one.Emit(pulltest.Message{Command: helloCommand, Params: hello{"still here"}, To: pulltest.Shared})
	r.says(helloOf(one.URL(), "still here"))
	r.stop()
	r.says(`msg="the subscription has ended" portal=` + one.URL() + " err=<nil>")
	w.checkSecrets(r)
	if got := w.files(); !slices.Equal(got, []string{one.MemberID() + ".json", one.MemberID() + ".cursor"}) {
		t.Errorf("left behind: %v", got)
	}

	one.Emit(pulltest.Message{Command: helloCommand, Params: hello{"while you were away"}, To: pulltest.Shared})
	before, err := w.read(one)
	if err != nil {
		t.Fatal(err)
	}
	one.ExpireToken()
	r, app = w.run()
	r.says(helloOf(one.URL(), "while you were away"))
	if after, err := w.read(one); err != nil || after == before {
		t.Errorf("the refreshed token is not stored: %v", err)
	}
	if strings.Contains(r.out.String(), "still here") {
		t.Errorf("an event came again:\n%s", r.out.String())
	}
	r.says(helloOf(one.URL(), hi))
	w.checkBound()

	if err := two.Install(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(helloOf(two.URL(), hi))
	r.stop()
	w.checkSecrets(r)

	from := one.URL()
	to := one.Move("https://new.example")
	r, _ = w.run()
	r.says("portal="+from+" to="+to, "is not followed")
	r.stop()
	w.env["B24PULL_PORTALS"] = strings.TrimPrefix(to, "https://")
	r, _ = w.run()
	r.says("to="+to+" err=<nil>", "subscribed", helloed)
	if strings.Contains(r.out.String(), "the subscription has ended") {
		t.Errorf("a portal that has moved does not go on from where it was:\n%s", r.out.String())
	}
	r.stop()
	if data, err := os.ReadFile(filepath.Join(w.folder, one.MemberID()+".json")); err != nil || !strings.Contains(string(data), `"portal":"`+to+`"`) {
		t.Errorf("the new address is not stored: %v", err)
	}
}

// TestPortals_ForeignCursor: a cursor of another portal, as after one was restored from
// a backup, does not end the subscription for good.
func TestPortals_ForeignCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	one, two := w.portals[0], w.portals[1]
	r, app := w.run()
	for _, p := range w.portals {
		if err := p.Install(t.Context(), app+"/install"); err != nil {
			t.Fatal(err)
		}
		r.says(helloOf(p.URL(), "hello from the application"))
	}
	r.stop()
	if err := os.Rename(filepath.Join(w.folder, one.MemberID()+".cursor"), filepath.Join(w.folder, two.MemberID()+".cursor")); err != nil {
		t.Fatal(err)
	}
	r, _ = w.run()
	r.says(`msg="the subscription has ended" portal=`+two.URL(), helloOf(two.URL(), "hello from the application"))
	r.stop()
}

// TestPortals_InstalledAgain: a portal is listened to that installs the application as
// soon as it has uninstalled it, however far the end of its subscription is.
func TestPortals_InstalledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	portal := w.portals[0]
	r, app := w.run()
	for n := range 10 {
		if err := portal.InstallByEvent(t.Context(), app+"/install"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the portal is listened to", func() bool { return strings.Count(r.out.String(), helloed) == n+1 })
		if err := portal.Uninstall(t.Context(), app+"/event"); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if got := w.files(); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestPortals_ForgedUninstallation: where no ONAPPINSTALL has told the
// application_token, no uninstallation is believed of a portal that still has
// the application, and that of one which has not is.
func TestPortals_ForgedUninstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	one, two := w.portals[0], w.portals[1]
	r, app := w.run()
	if err := one.Install(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	if err := two.Open(t.Context(), app+"/open"); err != nil {
		t.Fatal(err)
	}
	want := http.StatusForbidden
	for _, token := range []string{registered.ApplicationToken, "guess", ""} {
		if status := post(t, app+"/event", forged(one, token)); status != want {
			t.Errorf("the token %q is answered %d", token, status)
		}
		want = http.StatusServiceUnavailable // nobody knows so soon
	}
	if err := two.Open(t.Context(), app+"/open"); err != nil {
		t.Fatal(err)
	}
	r.says(helloOf(one.URL(), "hello from the application"), helloOf(two.URL(), "hello from the application"))
	if err := two.Uninstall(t.Context(), app+"/event"); err != nil {
		t.Error(err)
	}
	r.says("err=\"b24pull: the token was deleted")
	one.Emit(pulltest.Message{Command: helloCommand, Params: hello{"still here"}, To: pulltest.Shared})
	r.says(helloOf(one.URL(), "still here"))
	r.stop()
	w.checkSecrets(r)
	if got := w.files(); !slices.Equal(got, []string{one.MemberID() + ".json", one.MemberID() + ".cursor"}) {
		t.Errorf("left behind: %v", got)
	}
}

// TestPortals_Authorize: a code is taken from the browser that was sent for it and from
// no other. The application_token is kept, and a portal whose refresh token was
// refused is listened to again.
func TestPortals_Authorize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	portal := w.portals[0]
	r, app := w.run()
	if err := portal.InstallByEvent(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(helloed)
	r.stop()

	portal.ExpireToken()
	portal.Misbehave(pulltest.OAuth, pulltest.RESTError(400, "invalid_grant"))
	r, app = w.run()
	r.says("the subscription has ended", "invalid_grant")
	portal.Behave(pulltest.OAuth)

	back, cookies := w.authorized(portal, app)
	if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly {
		t.Errorf("cookies %v", cookies)
	}
	if resp, _ := w.get(back, nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("another browser is answered %s", resp.Status)
	}
	if resp, _ := w.get(app+"/authorize?portal=http://portal.example", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a portal over http is answered %s", resp.Status)
	}
	if resp, _ := w.get(back, cookies); resp.StatusCode != http.StatusOK {
		t.Errorf("the user is answered %s", resp.Status)
	}
	r.says("a user has authorized", helloed)
	if data, err := w.read(portal); err != nil || !strings.Contains(data, registered.ApplicationToken) {
		t.Errorf("the application_token is not in the file: %v", err)
	}
	if err := portal.Uninstall(t.Context(), app+"/event"); err != nil {
		t.Errorf("the application_token was not kept: %v", err)
	}
	r.stop()
	w.checkSecrets(r)
}
