package main

import (
	"net/http"
	"strings"
	"testing"
)

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
