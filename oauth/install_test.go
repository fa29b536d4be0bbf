package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// grants is an authorization server with many installations and users: it
// rotates "name-0" to "name-1" and so on, as long as the name lives.
type grants struct {
	mu     sync.Mutex
	at     map[string]int // the present number by name
	dead   map[string]bool
	owes   map[string]bool // who are answered PAYMENT_REQUIRED
	user   map[string]int
	took   map[string]time.Duration
	refuse string // an error code for everybody
	asked  []string
}

func newGrants() *grants {
	return &grants{at: map[string]int{}, dead: map[string]bool{}, owes: map[string]bool{}, user: map[string]int{}, took: map[string]time.Duration{}}
}

func (g *grants) die(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead[name] = true
}

func (g *grants) unpaid(name string, unpaid bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owes[name] = unpaid
}

// seen returns the refresh tokens that were asked for since the last time.
func (g *grants) seen() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() { g.asked = nil }()
	return strings.Join(g.asked, " ")
}

func (g *grants) client() *http.Client {
	return &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		token := strings.TrimPrefix(form.Get("refresh_token"), resttest.Mark+"-refresh-")
		name, _, _ := strings.Cut(token, "-")
		time.Sleep(g.took[name])
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked = append(g.asked, token)
		switch {
		case g.refuse != "":
			return resttest.JSONResponse(r, 400, map[string]any{"error": g.refuse}), nil
		case g.owes[name]:
			return resttest.JSONResponse(r, 402, map[string]any{"error": "PAYMENT_REQUIRED"}), nil
		case g.dead[name] || token != fmt.Sprintf("%s-%d", name, g.at[name]):
			return resttest.JSONResponse(r, 400, map[string]any{"error": "invalid_grant"}), nil
		}
		g.at[name]++
		next := fmt.Sprintf("%s-%d", name, g.at[name])
		answer := map[string]any{"access_token": resttest.Mark + "-access-" + next, "refresh_token": resttest.Mark + "-refresh-" + next, "expires_in": 3600,
			"client_endpoint": "https://portal.example/rest/", "member_id": "member1"}
		if user := g.user[name]; user != 0 {
			answer["user_id"] = user
		}
		return resttest.JSONResponse(r, 200, answer), r.Context().Err()
	})}
}

// A desk is an application's place for callbacks.
type desk struct {
	t      *testing.T
	server *grants
	tokens *Tokens
}

func newDesk(t *testing.T, store TokenStore) *desk {
	t.Helper()
	server := newGrants()
	ts, err := NewTokens(testApp(server.client()), store)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, server, ts}
}

func (d *desk) handle(form url.Values) error {
	d.t.Helper()
	return d.tokens.Handle(d.t.Context(), mustParse(d.t, form))
}

// want compares an error and what is stored: the token's name and number, and
// its application_token.
func (d *desk) want(step string, err, want error, stored string) {
	d.t.Helper()
	if err != nil {
		resttest.CheckError(d.t, err)
	}
	got := "nothing"
	if t, gone := d.tokens.Get(d.t.Context(), "member1"); gone == nil {
		got = strings.TrimPrefix(t.AccessToken, resttest.Mark+"-access-") + " " + strings.TrimPrefix(string(t.ApplicationToken), resttest.Mark)
		if t.Revoked {
			got += " revoked"
		}
	}
	if !errors.Is(err, want) || got != stored {
		d.t.Errorf("%s: %v, stored %q; want %v, %q", step, err, got, want, stored)
	}
}

func formOf(name string) url.Values {
	form := openForm()
	form.Set("AUTH_ID", resttest.Mark+"-access-"+name+"-0")
	form.Set("REFRESH_ID", resttest.Mark+"-refresh-"+name+"-0")
	return form
}

func installOf(name, applicationToken string) url.Values {
	form := installEvent(resttest.Mark + applicationToken)
	form.Set("auth[access_token]", resttest.Mark+"-access-"+name+"-0")
	form.Set("auth[refresh_token]", resttest.Mark+"-refresh-"+name+"-0")
	return form
}

// TestInstall_FormAndEventAtOnce: whichever is the first, the application_token is
// kept.
func TestInstall_FormAndEventAtOnce(t *testing.T) {
	for _, formFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, new(MemoryStore))
			d.server.took = map[string]time.Duration{"form": 2 * time.Second, "event": 2 * time.Second}
			d.server.user = map[string]int{"form": 1, "event": 1}
			first, second, stored := formOf("form"), installOf("event", "app"), "event-1 app"
			if !formFirst {
				first, second = second, first
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := d.handle(first); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Second)
			d.want("the second", d.handle(second), nil, stored)
			wg.Wait()
			d.want("the event again", nil, nil, stored)
			d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
		})
	}
}

// TestInstall_UninstalledDuringConfirmation: the form does not bring dead tokens back.
func TestInstall_UninstalledDuringConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.server.took["form"] = 2 * time.Second
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.handle(formOf("form")); err != nil {
				t.Error(err)
			}
			d.server.die("form")
		})
		time.Sleep(time.Second)
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
		wg.Wait()
		d.want("at the end", nil, nil, "nothing")
	})
}

// TestInstall_ForgedInstallation: a user of the portal has a token of his own and makes
// up an application_token.
func TestInstall_ForgedInstallation(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.server.user = map[string]int{"admin": 1, "forger": 2, "event": 1}
	d.want("the admin's form", d.handle(formOf("admin")), nil, "admin-1 ")
	d.want("forged", d.handle(installOf("forger", "forged")), ErrApplicationToken, "admin-2 ")
	if seen := d.server.seen(); seen != "admin-0 forger-0 admin-1" {
		t.Errorf("asked for %s", seen)
	}
	d.want("genuine", d.handle(installOf("event", "app")), nil, "event-1 app")
	d.want("uninstalled by the forger", d.handle(uninstallEvent(resttest.Mark+"forged")), ErrApplicationToken, "event-1 app")
	d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
}

// TestInstall_UnknownUsers: where no answer tells the user nobody is the same one.
func TestInstall_UnknownUsers(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.want("the admin's form", d.handle(formOf("admin")), nil, "admin-1 ")
	d.want("forged", d.handle(installOf("forger", "forged")), ErrApplicationToken, "admin-2 ")
}

// TestInstall_ConfiguredApplicationToken: what the application has stored itself
// counts.
func TestInstall_ConfiguredApplicationToken(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.server.user = map[string]int{"admin": 1, "same": 1, "event": 3}
	d.want("the admin's form", d.handle(formOf("admin")), nil, "admin-1 ")
	if err := d.tokens.Update(t.Context(), "member1", func(t *Token) error { t.ApplicationToken = resttest.Mark + "app"; return nil }); err != nil {
		t.Fatal(err)
	}
	d.want("forged", d.handle(installOf("same", "forged")), ErrApplicationToken, "admin-2 app")
	d.want("genuine", d.handle(installOf("event", "app")), nil, "event-1 app")
}

// TestInstall_UninstalledWithoutProof: only a form has come, so the stored token tells.
func TestInstall_UninstalledWithoutProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(formOf("admin")), nil, "admin-1 ")
		d.server.seen()
		d.want("forged", d.handle(uninstallEvent(resttest.Mark+"any")), ErrApplicationToken, "admin-2 ")
		for range 20 { // one question a minute
			d.want("forged again", d.handle(uninstallEvent(resttest.Mark+"any")), ErrUndecided, "admin-2 ")
		}
		if seen := d.server.seen(); seen != "admin-1" {
			t.Errorf("asked for %s", seen)
		}
		time.Sleep(2 * time.Minute)
		d.server.refuse = "PAYMENT_REQUIRED"
		d.want("nobody knows", d.handle(uninstallEvent(resttest.Mark+"any")), b24pull.ErrPaymentRequired, "admin-2 ")
		time.Sleep(2 * time.Minute)
		d.server.refuse = ""
		d.server.die("admin")
		d.want("genuine", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
	})
}

// TestInstall_Reinstalled: the uninstallation was not seen, and the application_token
// has changed.
func TestInstall_Reinstalled(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	d.server.die("first")
	d.want("uninstalled by somebody", d.handle(uninstallEvent(resttest.Mark+"other")), ErrApplicationToken, "first-1 app")
	d.want("a form", d.handle(formOf("open")), nil, "first-1 app")
	d.want("forged", d.handle(installOf("first", "forged")), b24pull.ErrInvalidGrant, "first-1 app")
	d.want("reinstalled", d.handle(installOf("second", "new")), nil, "second-1 new")
	d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
}

// TestInstall_Revoked: a refused refresh token is known to all with the store, and the
// next callback brings another.
func TestInstall_Revoked(t *testing.T) {
	store := fileStore(t)
	d := newDesk(t, store)
	other, err := NewTokens(d.tokens.app, store)
	if err != nil {
		t.Fatal(err)
	}
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	old, err := other.Source("member1").Token()
	if err != nil {
		t.Fatal(err)
	}
	d.server.die("first")
	d.server.seen()
	for range 2 {
		for _, ts := range []*Tokens{d.tokens, other} {
			_, err := ts.Source("member1").Refresh(t.Context(), old)
			d.want("refreshed", err, b24pull.ErrInvalidGrant, "first-1 app revoked")
		}
	}
	if seen := d.server.seen(); seen != "first-1" {
		t.Errorf("asked for %s", seen)
	}
	d.want("an event", d.handle(url.Values{"event": {"ONX"}, "auth[member_id]": {"member1"}, "auth[application_token]": {resttest.Mark + "app"}}), nil, "first-1 app revoked")
	d.want("opened", d.handle(formOf("open")), nil, "open-1 app")
	next, err := other.Source("member1").Refresh(t.Context(), old)
	if err != nil || next.AccessToken != resttest.Mark+"-access-open-1" {
		t.Errorf("the other process: %v", err)
	}
}

// TestInstall_RevokedAfterQuestion: a token that was alive a moment ago has been
// refused since.
func TestInstall_RevokedAfterQuestion(t *testing.T) {
	for name, last := range map[string]struct {
		form   url.Values
		stored string
	}{"reinstalled": {installOf("second", "new"), "second-1 new"}, "uninstalled": {uninstallEvent(resttest.Mark + "new"), "nothing"}} {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.want("forged", d.handle(installOf("forger", "forged")), ErrApplicationToken, "first-2 app")
		d.server.die("first")
		_, err := d.tokens.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-first-2"})
		d.want("refreshed", err, b24pull.ErrInvalidGrant, "first-2 app revoked")
		d.want(name, d.handle(last.form), nil, last.stored)
	}
}

// TestInstall_UninstalledElsewhere: another process has had the event first.
func TestInstall_UninstalledElsewhere(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	life, cancel := d.tokens.Source("member1").Context(t.Context())
	defer cancel()
	if err := others(t, d.tokens).Handle(t.Context(), mustParse(t, uninstallEvent(resttest.Mark+"app"))); err != nil {
		t.Error(err)
	}
	d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
	<-life.Done()
}

// TestInstall_KeptApplicationToken: a form has replaced a dead token, and nobody knows
// whether the application_token is still the portal's.
func TestInstall_KeptApplicationToken(t *testing.T) {
	revoked := func(t *testing.T) *desk {
		d := newDesk(t, new(MemoryStore))
		d.server.user = map[string]int{"open": 1, "same": 1, "forger": 2}
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.server.die("first")
		_, err := d.tokens.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-first-1"})
		d.want("refreshed", err, b24pull.ErrInvalidGrant, "first-1 app revoked")
		d.want("opened", d.handle(formOf("open")), nil, "open-1 app")
		return d
	}
	t.Run("the same", func(t *testing.T) {
		d := revoked(t)
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
	})
	t.Run("another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := revoked(t)
			d.want("uninstalled by somebody", d.handle(uninstallEvent(resttest.Mark+"new")), ErrApplicationToken, "open-2 app")
			d.want("installed by somebody", d.handle(installOf("forger", "forged")), ErrUndecided, "open-2 app")
			source := d.tokens.Source("member1")
			if _, err := source.Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-open-2"}); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute)
			d.server.die("open")
			d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
		})
	})
	t.Run("by the event", func(t *testing.T) {
		d := revoked(t)
		d.want("the same user's", d.handle(installOf("same", "new")), nil, "same-1 new")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), ErrApplicationToken, "same-1 new")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
	})
}
