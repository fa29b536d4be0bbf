package fleet

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
)

// authorized is where the user who is signed in comes back to, and with what
// cookies.
func (r *running) authorized(p *pulltest.Portal) (back string, cookies []*http.Cookie) {
	r.w.t.Helper()
	sent, _ := r.get(r.at + "/authorize?portal=" + strings.TrimPrefix(p.URL(), "https://"))
	answer, _ := r.get(sent.Header.Get("Location"))
	return strings.Replace(answer.Header.Get("Location"), "https://app.example", r.at, 1), sent.Cookies()
}

// TestAuthorize_Where: a browser is sent to portals only, and to no other host
// that somebody names.
func TestAuthorize_Where(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.run(WithPortals("other.example", "*.Company.example:8443"))
		check := func(portal string, status int, host string) {
			t.Helper()
			resp, page := r.get(r.at + "/authorize?portal=" + url.QueryEscape(portal))
			location := resp.Header.Get("Location")
			if resp.StatusCode != status || host == "" && location != "" || host != "" && !strings.HasPrefix(location, "https://"+host+"/oauth/authorize/?") ||
				strings.Contains(page, "evil") || status == http.StatusForbidden && !strings.Contains(page, "does not know this portal") {
				t.Errorf("%s: %d, to %q: %s", portal, resp.StatusCode, location, page)
			}
		}
		check("portal.example", http.StatusForbidden, "")
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.ready(p, 1)
		check("portal.example", http.StatusFound, "portal.example")
		check(p.URL(), http.StatusFound, "portal.example")
		check("evil.example", http.StatusForbidden, "")
		check("portal.bitrix24.com", http.StatusFound, "portal.bitrix24.com")
		check("https://PORTAL.bitrix24.RU/rest/", http.StatusFound, "portal.bitrix24.ru")
		check("a.company.example:8443", http.StatusFound, "a.company.example:8443")
		for _, bad := range []string{"", "http://portal.bitrix24.com", "https://a@portal.bitrix24.com", "portal.bitrix24.com/x/"} {
			check(bad, http.StatusBadRequest, "")
		}
		if !strings.Contains(w.out.String(), `path=/authorize count=1 err="\"evil.example\": fleet: this application does not know this portal`) {
			t.Error("the log does not say who was refused")
		}
		w.must(p.Uninstall(t.Context(), r.at+"/event"))
		w.eventually("gone", func() bool { return len(r.app.Fleet().Keys()) == 0 })
		check("portal.example", http.StatusForbidden, "")
		r.stop()
	})
}

// TestAuthorize_Code: a code is taken from the browser that was sent for it and
// from no other. The application_token is kept, and a portal whose refresh
// token was refused is listened to again.
func TestAuthorize_Code(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		r.stop()

		p.ExpireToken()
		p.Misbehave(pulltest.OAuth, pulltest.RESTError(400, "invalid_grant"))
		r = w.run()
		r.app.Start(t.Context(), p.MemberID())
		w.eventually("waits", func() bool { return w.events.of(p.MemberID(), KindWaiting) == 1 })
		p.Behave(pulltest.OAuth)

		back, cookies := r.authorized(p)
		if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly {
			t.Fatal("the state is not kept as it should be")
		}
		if resp, _ := r.get(back); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("another browser is answered %s", resp.Status)
		}
		if resp, _ := r.get(back, cookies...); resp.StatusCode != http.StatusOK {
			t.Errorf("the user is answered %s", resp.Status)
		}
		w.ready(p, 2)
		w.must(p.Uninstall(t.Context(), r.at+"/event")) // the application_token was kept
		w.eventually("gone", func() bool { return len(r.app.Fleet().Keys()) == 0 })
		r.stop()
		w.wantNoSecrets()
	})
}

// TestAuthorize_First: a portal can be listened to by way of a code alone.
func TestAuthorize_First(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.run(WithPortals("portal.example"))
		back, cookies := r.authorized(p)
		if resp, page := r.get(back, cookies...); resp.StatusCode != http.StatusOK || page != "open" {
			t.Errorf("the user is answered %s: %s", resp.Status, page)
		}
		w.ready(p, 1)
		if resp, _ := r.get(back, cookies...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("the same code is answered %s", resp.Status)
		}
		r.stop()
		w.wantNoSecrets()
	})
}

// TestAuthorize_ByAnother: a good token is replaced by its own user only.
func TestAuthorize_ByAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		r := w.installed(p)
		stored := func() string {
			token, err := w.store.Load(t.Context(), p.MemberID())
			w.must(err)
			return token.AccessToken
		}
		before := stored()
		p.SignIn(2)
		back, cookies := r.authorized(p)
		if resp, text := r.get(back, cookies...); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "another user") {
			t.Errorf("another user is answered %s: %s", resp.Status, text)
		}
		if stored() != before {
			t.Error("another user has replaced the token")
		}
		p.SignIn(1)
		back, cookies = r.authorized(p)
		if resp, text := r.get(back, cookies...); resp.StatusCode != http.StatusOK {
			t.Errorf("the same user is answered %s: %s", resp.Status, text)
		}
		if stored() == before {
			t.Error("the same user has not replaced the token")
		}
		r.stop()
		w.wantNoSecrets()
	})
}
