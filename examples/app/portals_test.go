package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

var registered = pulltest.Application{Name: "App", ClientID: "app.1", ClientSecret: "s3cr3tclient", ApplicationToken: "s3cr3tapp"}

// helloed is what the program prints when it has got its own event.
const helloed = `text="hello from the application"`

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
