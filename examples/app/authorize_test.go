package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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

// TestAuthorize_AuthorizedByAnother: a good token is replaced by its own user only.
func TestAuthorize_AuthorizedByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	portal := w.portals[0]
	r, app := w.run()
	if err := portal.InstallByEvent(t.Context(), app+"/install"); err != nil {
		t.Fatal(err)
	}
	r.says(helloed)
	before, err := w.read(portal)
	if err != nil {
		t.Fatal(err)
	}
	portal.SignIn(2)
	if resp, text := w.get(w.authorized(portal, app)); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "another user") {
		t.Errorf("another user is answered %s: %s", resp.Status, text)
	}
	if after, err := w.read(portal); err != nil || after != before {
		t.Errorf("another user has replaced the token: %v", err)
	}
	portal.SignIn(1)
	if resp, text := w.get(w.authorized(portal, app)); resp.StatusCode != http.StatusOK {
		t.Errorf("the same user is answered %s: %s", resp.Status, text)
	}
	if after, err := w.read(portal); err != nil || after == before {
		t.Errorf("the same user has not replaced the token: %v", err)
	}
	r.stop()
	w.checkSecrets(r)
}

// read returns the file of a portal's token.
func (w *world) read(portal *pulltest.Portal) (string, error) {
	data, err := os.ReadFile(filepath.Join(w.folder, portal.MemberID()+".json"))
	return string(data), err
}
