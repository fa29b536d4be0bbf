package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// unknown has the portal answer NO_AUTH_FOUND to a token.
func (d *desk) unknown(name string) {
	d.t.Helper()
	source := d.tokens.Source("member1")
	if _, err := source.Token(); err != nil {
		d.t.Fatal(err)
	}
	if next, err := source.Reload(d.t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-" + name}); next != nil || err != nil {
		d.t.Errorf("another token: %v", err)
	}
}

// TestSuspect_UninstalledUnseen: the next callback is asked for after the portal has
// forgotten the token.
func TestSuspect_UninstalledUnseen(t *testing.T) {
	for name, last := range map[string]struct {
		form   url.Values
		stored string
	}{"a form": {formOf("open"), "open-1 app"}, "the event": {installOf("second", "new"), "second-1 new"}, "uninstalled": {uninstallEvent(resttest.Mark + "new"), "nothing"}} {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.server.die("first")
		d.unknown("first-1")
		d.want(name, d.handle(last.form), nil, last.stored)
	}
}

// TestSuspect_UnknownButAlive: a portal that is wrong about a token costs a refresh a
// minute, and no form takes the token's place.
func TestSuspect_UnknownButAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.unknown("first-1")
		for range 3 {
			d.want("a form", d.handle(formOf("open")), nil, "first-2 app")
		}
		time.Sleep(2 * time.Minute)
		d.unknown("first-2")
		d.want("a form", d.handle(formOf("open")), nil, "first-3 app")
		if seen := d.server.seen(); seen != "first-0 first-1 first-2" {
			t.Errorf("asked for %s", seen)
		}
	})
}

// TestSuspect_Undecided: a forged callback does not have the genuine one refused.
func TestSuspect_Undecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(formOf("admin")), nil, "admin-1 ")
		d.want("forged", d.handle(uninstallEvent(resttest.Mark+"any")), ErrApplicationToken, "admin-2 ")
		d.server.die("admin")
		d.want("too early", d.handle(uninstallEvent(resttest.Mark+"app")), ErrUndecided, "admin-2 ")
		d.unknown("admin-2")
		d.want("a form", d.handle(formOf("open")), ErrUndecided, "admin-2 ")
		time.Sleep(time.Minute)
		d.want("genuine", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
	})
}

// losing loses the nth request from now on its way.
func (d *desk) losing(nth int) {
	good := d.tokens.app.HTTPClient.Transport
	d.tokens.app.HTTPClient = &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		if nth--; nth == 0 {
			return nil, errLost
		}
		return good.RoundTrip(r)
	})}
}

var errLost = errors.New("connection reset")

// TestSuspect_QuestionFails: the token of a callback is not lost with the question
// about the old one.
func TestSuspect_QuestionFails(t *testing.T) {
	failed := func(t *testing.T) *desk {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.server.seen()
		d.losing(2)
		d.want("reinstalled", d.handle(installOf("second", "new")), errLost, "first-1 app")
		return d
	}
	t.Run("the same", func(t *testing.T) {
		d := failed(t)
		d.server.die("first")
		d.want("again", d.handle(installOf("second", "new")), nil, "second-1 new")
		if seen := d.server.seen(); seen != "second-0 first-1" {
			t.Errorf("asked for %s", seen)
		}
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
	})
	t.Run("opened", func(t *testing.T) {
		d := failed(t)
		d.server.die("first")
		d.want("a form", d.handle(formOf("third")), nil, "third-1 new")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
	})
	t.Run("alive", func(t *testing.T) {
		d := failed(t)
		d.want("a form", d.handle(formOf("third")), nil, "first-2 app")
		d.want("a form", d.handle(formOf("third")), nil, "first-2 app")
		d.want("again", d.handle(installOf("second", "new")), ErrUndecided, "first-2 app")
		if seen := d.server.seen(); seen != "second-0 first-1" {
			t.Errorf("asked for %s", seen)
		}
	})
	t.Run("another", func(t *testing.T) {
		d := failed(t)
		d.server.die("first")
		d.want("reinstalled", d.handle(installOf("third", "newer")), nil, "third-1 newer")
	})
	t.Run("unpaid", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, new(MemoryStore))
			d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
			d.server.unpaid("first", true)
			d.want("reinstalled", d.handle(installOf("second", "new")), b24pull.ErrPaymentRequired, "first-1 app")
			time.Sleep(2 * time.Minute)
			d.server.unpaid("first", false)
			d.server.die("first")
			d.want("again", d.handle(installOf("second", "new")), nil, "second-1 new")
		})
	})
}

// TestSuspect_UnsavedComesBack: the portal was installed elsewhere and has uninstalled
// the application before a first token could be stored.
func TestSuspect_UnsavedComesBack(t *testing.T) {
	for name, last := range map[string]struct {
		form   url.Values
		stored string
	}{"a form": {formOf("third"), "third-1 old"}, "the event": {installOf("third", "new"), "third-1 new"}, "uninstalled": {uninstallEvent(resttest.Mark + "new"), "nothing"}} {
		store := &brokenStore{}
		d := newDesk(t, store)
		store.fail = errLost
		d.want("installed", d.handle(installOf("first", "old")), errLost, "nothing")
		store.fail = nil
		other := others(t, d.tokens)
		for _, form := range []url.Values{installOf("second", "app"), uninstallEvent(resttest.Mark + "app")} {
			if err := other.Handle(t.Context(), mustParse(t, form)); err != nil {
				t.Error(err)
			}
		}
		d.server.die("first")
		d.server.die("second")
		d.want(name, d.handle(last.form), nil, last.stored)
	}
}

// TestSuspect_ReplacedByApplication: with a token that the application has of a user
// itself nobody knows whether the application_token is still the portal's.
func TestSuspect_ReplacedByApplication(t *testing.T) {
	for name, replace := range map[string]func(*desk, *Token) error{
		"Update": func(d *desk, code *Token) error {
			return d.tokens.Update(d.t.Context(), "member1", func(t *Token) error {
				code.ApplicationToken = t.ApplicationToken
				*t = *code
				return nil
			})
		},
		"Put": func(d *desk, code *Token) error {
			code.ApplicationToken = resttest.Mark + "app"
			return d.tokens.Put(d.t.Context(), "member1", code)
		},
	} {
		replaced := func() *desk {
			d := newDesk(t, new(MemoryStore))
			d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
			code := (&rotating{}).present()
			code.AccessToken, code.RefreshToken = resttest.Mark+"-access-code-0", resttest.Mark+"-refresh-code-0"
			d.want(name, replace(d, code), nil, "code-0 app")
			if err := d.tokens.Update(t.Context(), "member1", func(t *Token) error { t.Portal = "https://new.example"; return nil }); err != nil {
				t.Error(err)
			}
			return d
		}
		d := replaced()
		d.want("uninstalled by somebody", d.handle(uninstallEvent(resttest.Mark+"new")), ErrApplicationToken, "code-1 app")
		d = replaced()
		d.server.die("code")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"new")), nil, "nothing")
		d = replaced()
		err := d.tokens.Update(t.Context(), "member1", func(t *Token) error { t.ApplicationToken = resttest.Mark + "new"; return nil })
		d.want("told", err, nil, "code-0 new")
		d.server.die("code")
		d.want("uninstalled with the old one", d.handle(uninstallEvent(resttest.Mark+"app")), ErrApplicationToken, "code-0 new")
	}
}

// TestSuspect_ChangedByApplication: what is no other token does not put its
// application_token in doubt.
func TestSuspect_ChangedByApplication(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	token, err := d.tokens.Get(t.Context(), "member1")
	if err != nil {
		t.Fatal(err)
	}
	d.want("Put", d.tokens.Put(t.Context(), "member1", token), nil, "first-1 app")
	d.want("Update", d.tokens.Update(t.Context(), "member1", func(t *Token) error { t.Status = "P"; return nil }), nil, "first-1 app")
	d.server.die("first")
	d.want("uninstalled by somebody", d.handle(uninstallEvent(resttest.Mark+"new")), ErrApplicationToken, "first-1 app")
}
