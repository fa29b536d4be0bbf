package fleet

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest"
)

// TestApplication_Life: a portal that installs the application is listened to
// until it uninstalls it, and again after a restart and a new installation.
func TestApplication_Life(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		one, two := w.portals[0], w.portals[1]
		r := w.run()
		w.must(one.InstallByEvent(t.Context(), r.at+"/install"))
		w.must(two.Install(t.Context(), r.at+"/install"))
		for _, p := range w.portals {
			w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) == 1 })
			p.Emit(pulltest.Message{Command: "first", To: pulltest.Shared})
			w.eventually("heard", func() bool { return w.heard.has(p, "first") })
			w.eventually("bound", func() bool { return w.events.of(p.MemberID(), KindEventsBound) == 1 })
		}
		w.must(two.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return len(two.Subscribers()) == 0 && len(r.app.Fleet().Keys()) == 1 })
		r.stop()
		one.Emit(pulltest.Message{Command: "while away", To: pulltest.Shared})
		one.ExpireToken()

		r = w.run()
		w.eventually("heard after a restart", func() bool { return w.heard.has(one, "while away") })
		if got := w.heard.from(one); len(got) != 2 {
			t.Errorf("heard %q", got)
		}
		if _, found := r.app.Fleet().Status(two.MemberID()); found {
			t.Error("a portal that has uninstalled the application is there")
		}
		w.must(two.Install(t.Context(), r.at+"/install"))
		w.eventually("installed again", func() bool { return len(two.Subscribers()) == 1 })
		r.stop()
		w.wantNoSecrets()
	})
}

// send sends a request as anybody can, following no redirect.
func (r *running) send(req *http.Request) (*http.Response, string) {
	r.w.t.Helper()
	resp, err := r.w.portals[0].HTTPClient().Transport.RoundTrip(req.WithContext(r.w.t.Context()))
	r.w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r.w.must(err)
	return resp, string(body)
}

func (r *running) post(path string, form url.Values) *http.Response {
	r.w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.at+path, strings.NewReader(form.Encode()))
	r.w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, _ := r.send(req)
	return resp
}

func (r *running) get(address string, cookies ...*http.Cookie) (*http.Response, string) {
	r.w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	r.w.must(err)
	for _, c := range cookies {
		req.AddCookie(c)
	}
	return r.send(req)
}

func uninstallation(p *pulltest.Portal, applicationToken string) url.Values {
	return url.Values{"event": {"ONAPPUNINSTALL"}, "auth[member_id]": {p.MemberID()}, "auth[application_token]": {applicationToken}}
}

// ready waits until a portal is listened to, for the nth time.
func (w *world) ready(p *pulltest.Portal, n int) {
	w.t.Helper()
	w.eventually("ready", func() bool { return w.events.of(p.MemberID(), KindReady) >= n })
}

// TestApplication_Statuses: which status a callback is answered with, and when
// it can come again.
func TestApplication_Statuses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		form := url.Values{"member_id": {"stranger"}, "AUTH_ID": {"garbage"}, "REFRESH_ID": {"garbage"}, "DOMAIN": {"portal.bitrix24.com"}}
		without := url.Values{"member_id": {"stranger"}, "AUTH_ID": {"garbage"}}
		for _, tt := range []struct {
			what   string
			form   url.Values
			status int
		}{
			{"an uninstallation with a guess", uninstallation(p, "guess"), http.StatusForbidden},
			{"a form of a portal that is known", url.Values{"member_id": {p.MemberID()}, "AUTH_ID": {"garbage"}, "REFRESH_ID": {"garbage"}}, http.StatusOK},
			{"a form that nobody vouches for", form, http.StatusForbidden},
			{"a form without a refresh token", without, http.StatusBadRequest},
			{"no form", url.Values{}, http.StatusBadRequest},
			{"a member that is none", url.Values{"event": {"ONAPPUNINSTALL"}, "auth[member_id]": {"../x"}}, http.StatusBadRequest},
			{"an event of a portal that is not known", url.Values{"event": {"ONCRMDEALADD"}, "auth[member_id]": {"stranger"}}, http.StatusForbidden},
			{"an event of the portal", url.Values{"event": {"ONCRMDEALADD"}, "auth[member_id]": {p.MemberID()}, "auth[application_token]": {p.Application().ApplicationToken}}, http.StatusOK},
		} {
			if got := r.post("/event", tt.form); got.StatusCode != tt.status {
				t.Errorf("%s is answered %s", tt.what, got.Status)
			}
		}
		if resp, _ := r.get(r.at + "/event"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
			t.Errorf("a GET is answered %s", resp.Status)
		}
		if len(r.app.Fleet().Keys()) != 1 {
			t.Errorf("keys %q", r.app.Fleet().Keys())
		}
		// The installation of a user who is known has no application_token to
		// tell by, so it is asked whether it has ended; not twice a minute.
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.must(p.Install(t.Context(), r.at+"/install"))
		w.ready(p, 2)
		for _, want := range []int{http.StatusForbidden, http.StatusServiceUnavailable} {
			resp := r.post("/event", uninstallation(p, "guess"))
			if resp.StatusCode != want || (want == http.StatusServiceUnavailable) != (resp.Header.Get("Retry-After") == "60") {
				t.Errorf("a guess is answered %s, %v", resp.Status, resp.Header)
			}
		}
		r.stop()
		w.wantNoSecrets()
	})
	if got := StatusOf(&oauth.StoreError{}); got != http.StatusServiceUnavailable {
		t.Errorf("a store that fails: %d", got)
	}
}

// TestApplication_Moves: a portal is followed to another address that is
// allowed, which is stored; and to no other.
func TestApplication_Moves(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.run()
		w.must(p.Install(t.Context(), r.at+"/install"))
		w.ready(p, 1)
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		r.stop()
		from := p.URL()
		to := p.Move("https://new.example")
		emit(p, 2, 2)

		r = w.run()
		w.eventually("is not followed", func() bool { return w.events.last(p.MemberID(), KindMoved).Err != nil })
		if e := w.events.last(p.MemberID(), KindMoved); e.To != to || e.Err != errForeign {
			t.Errorf("told %+v", e)
		}
		if token, err := w.store.Load(t.Context(), p.MemberID()); err != nil || token.Portal != from {
			t.Errorf("stored %v, %v", token, err)
		}
		r.stop()

		r = w.run(WithPortals("NEW.example"))
		w.eventually("heard at the new address", func() bool { return w.heard.has(p, "n2") })
		if token, err := w.store.Load(t.Context(), p.MemberID()); err != nil || token.Portal != to {
			t.Errorf("stored %v, %v", token, err)
		}
		r.stop()
		if got := w.heard.from(p); !slices.Equal(got, []string{"n1", "n2"}) || w.events.of(p.MemberID(), KindFailed)+w.events.of(p.MemberID(), KindWaiting) > 0 {
			t.Errorf("heard %q", got)
		}
		redirects := p.Stats().Redirects
		r = w.run(WithPortals("new.example"))
		w.ready(p, 3)
		r.stop()
		if got := p.Stats().Redirects; got != redirects {
			t.Error("it began at the old address")
		}
	})
}

// TestApplication_MovesWithAnotherServer: a portal that has another push server
// when it has moved is listened to without the cursor, with all that is kept.
func TestApplication_MovesWithAnotherServer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		before, after := w.portals[0], w.portals[1]
		r := w.run()
		w.must(before.Install(t.Context(), r.at+"/install"))
		w.must(after.Install(t.Context(), r.at+"/install"))
		w.ready(before, 1)
		w.ready(after, 1)
		for _, p := range w.portals {
			emit(p, 1, 3)
			w.eventually("heard", func() bool { return w.heard.has(p, "n3") })
		}
		r.stop()
		// What the cursor is of is another portal's.
		at, err := w.cursors.Cursors(before.MemberID()).Load(t.Context())
		w.must(err)
		w.must(w.cursors.Cursors(after.MemberID()).Save(t.Context(), at))
		emit(after, 4, 4)
		r = w.run()
		w.eventually("all that is kept", func() bool {
			return slices.Equal(w.heard.from(after), []string{"n1", "n2", "n3", "n1", "n2", "n3", "n4"})
		})
		if w.events.of(after.MemberID(), KindCursorDropped) != 1 || w.events.of(before.MemberID(), KindCursorDropped) != 0 {
			t.Error("it is not told, or of the wrong portal")
		}
		r.stop()
	})
}

// TestApplication_Revoked: a portal whose token is dead is listened to again
// after the next callback, where it was; forms without another token have
// nothing begun anew but once a minute.
func TestApplication_Revoked(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		emit(p, 1, 1)
		w.eventually("heard", func() bool { return w.heard.has(p, "n1") })
		p.RevokeTokens()
		p.ExpireChannel(pulltest.Shared, "get_config")
		w.eventually("waits", func() bool { return w.events.of(p.MemberID(), KindWaiting) >= 1 })
		emit(p, 2, 2)
		time.Sleep(time.Hour)
		if len(p.Subscribers()) != 0 {
			t.Fatal("it is listened to with a dead token")
		}
		w.must(p.Open(t.Context(), r.at+"/open"))
		w.eventually("heard", func() bool { return w.heard.has(p, "n2") })
		if got := w.heard.from(p); !slices.Equal(got, []string{"n1", "n2"}) {
			t.Errorf("heard %q", got)
		}

		p.Misbehave(pulltest.REST, pulltest.RESTError(403, "INVALID_CREDENTIALS"))
		p.ExpireChannel(pulltest.Private, "get_config")
		begun := w.events.of(p.MemberID(), KindBegun)
		waiting := w.events.of(p.MemberID(), KindWaiting)
		w.eventually("waits again", func() bool { return w.events.of(p.MemberID(), KindWaiting) == waiting+1 })
		for range 120 {
			time.Sleep(time.Second)
			if resp := r.post("/open", url.Values{"member_id": {p.MemberID()}, "AUTH_ID": {"garbage"}, "REFRESH_ID": {"garbage"}}); resp.StatusCode != http.StatusOK {
				t.Fatalf("a form is answered %s", resp.Status)
			}
		}
		if got := w.events.of(p.MemberID(), KindBegun) - begun; got < 1 || got > 3 {
			t.Errorf("120 forms in two minutes have begun %d subscriptions", got)
		}
		r.stop()
		w.wantNoSecrets()
	})
}

// TestApplication_LateUninstallation: the event of an uninstallation that comes
// after the portal has installed the application again ends nothing.
func TestApplication_LateUninstallation(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		w.eventually("bound", func() bool { return w.events.of(p.MemberID(), KindEventsBound) == 1 })
		old := p.Application().ApplicationToken
		if err := p.Uninstall(t.Context(), "http://nobody.example/"); err == nil {
			t.Fatal("it was delivered")
		}
		emit(p, 1, 1)
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		if resp := r.post("/event", uninstallation(p, old)); resp.StatusCode != http.StatusForbidden {
			t.Errorf("it is answered %s", resp.Status)
		}
		emit(p, 2, 2)
		w.eventually("heard", func() bool { return w.heard.has(p, "n2") })
		w.eventually("bound again", func() bool { return w.events.of(p.MemberID(), KindEventsBound) >= 2 })
		if got := w.heard.from(p); !slices.Equal(got, []string{"n1", "n2"}) {
			t.Errorf("heard %q", got)
		}
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return len(r.app.Fleet().Keys()) == 0 })
		if at, err := w.cursors.Cursors(p.MemberID()).Load(t.Context()); err != nil || !at.IsZero() {
			t.Errorf("the cursor of a portal that is gone: %v, %v", at, err)
		}
		r.stop()
	})
}

// TestApplication_Ready: what a program does first is done for each
// subscription, and its end is waited for.
func TestApplication_Ready(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		ended := make(chan error, 2)
		r := w.run(WithReady(func(ctx context.Context, portal Portal) error {
			if portal.MemberID != p.MemberID() || portal.Address != p.URL() {
				t.Errorf("for %+v", portal.MemberID)
			}
			if err := portal.Client.AddApplicationEvent(ctx, b24pull.ApplicationEvent{Command: "greeting"}); err != nil {
				return err
			}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return ctx.Err()
		}))
		w.must(p.Install(t.Context(), r.at+"/install"))
		w.eventually("heard", func() bool { return w.heard.has(p, "greeting") })
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return len(r.app.Fleet().Keys()) == 0 })
		if err := <-ended; !errors.Is(err, b24pull.ErrUninstalled) {
			t.Errorf("its context has ended with %v", err)
		}
		if w.events.of(p.MemberID(), KindReadyFailed) != 0 {
			t.Error("the end is told as a failure")
		}
		r.stop()
	})
}
