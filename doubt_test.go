package b24pull

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
)

// unknown has the portal answer NO_AUTH_FOUND to a token.
func (d *desk) unknown(name string) {
	d.t.Helper()
	source := d.tokens.Source("member1")
	if _, err := source.Token(); err != nil {
		d.t.Fatal(err)
	}
	if next, err := source.reread(d.t.Context(), &oauth2.Token{AccessToken: mark + "-access-" + name}); next != nil || err != nil {
		d.t.Errorf("another token: %v", err)
	}
}

// TestUninstalledUnseen: the next callback is asked for after the portal has forgotten the
// token.
func TestUninstalledUnseen(t *testing.T) {
	for name, last := range map[string]struct {
		form   url.Values
		stored string
	}{"a form": {formOf("open"), "open-1 app"}, "the event": {installOf("second", "new"), "second-1 new"}, "uninstalled": {uninstallEvent(mark + "new"), "nothing"}} {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.server.die("first")
		d.unknown("first-1")
		d.want(name, d.handle(last.form), nil, last.stored)
	}
}

// TestUnknownButAlive: a portal that is wrong about a token costs a refresh a minute, and no
// form takes the token's place.
func TestUnknownButAlive(t *testing.T) {
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

// TestUndecided: a forged callback does not have the genuine one refused.
func TestUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(formOf("admin")), nil, "admin-1 ")
		d.want("forged", d.handle(uninstallEvent(mark+"any")), ErrApplicationToken, "admin-2 ")
		d.server.die("admin")
		d.want("too early", d.handle(uninstallEvent(mark+"app")), ErrUndecided, "admin-2 ")
		d.unknown("admin-2")
		d.want("a form", d.handle(formOf("open")), ErrUndecided, "admin-2 ")
		time.Sleep(time.Minute)
		d.want("genuine", d.handle(uninstallEvent(mark+"app")), nil, "nothing")
	})
}
