package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

var errFull = errors.New("the disk is full of " + resttest.Mark)

// checkStoreError wants an error of the store, without secrets and with the way
// out.
func checkStoreError(t *testing.T, step string, err error) {
	t.Helper()
	var typed *StoreError
	if !errors.As(err, &typed) || !strings.Contains(err.Error(), "make the store work and call again") {
		t.Errorf("%s: got %v", step, err)
	}
	resttest.CheckError(t, err)
}

// unsaved has refreshed a token to number 1 that could not be stored.
func unsaved(t *testing.T) (*rotating, *brokenStore, *Tokens) {
	t.Helper()
	server, store := &rotating{}, &brokenStore{}
	ts := keep(t, server, store)
	store.fail = fmt.Errorf("no space for %s-access-1", resttest.Mark)
	_, err := ts.Source("member1").Refresh(t.Context(), bare((&rotating{}).present()))
	checkStoreError(t, "refreshed", err)
	return server, store, ts
}

// TestEntry_UpdateOfUnsaved: what is changed is the new token.
func TestEntry_UpdateOfUnsaved(t *testing.T) {
	server, store, ts := unsaved(t)
	moved := func(t *Token) error { t.Portal = "https://new.example"; return nil }
	checkStoreError(t, "updated", ts.Update(t.Context(), "member1", moved))
	store.fail = nil
	if err := ts.Update(t.Context(), "member1", moved); err != nil {
		t.Fatal(err)
	}
	stored, err := ts.Get(t.Context(), "member1")
	if err != nil || stored.AccessToken != resttest.Mark+"-access-1" || stored.Portal != "https://new.example" {
		t.Errorf("stored %v, %v", stored, err)
	}
	next, err := ts.Source("member1").Refresh(t.Context(), bare(stored))
	if err != nil || next.AccessToken != resttest.Mark+"-access-2" || server.asked != 2 {
		t.Errorf("%v after %d refreshes", err, server.asked)
	}
}

// TestEntry_UpdatedTwice: what could not be stored at first does not come back later.
func TestEntry_UpdatedTwice(t *testing.T) {
	store := &brokenStore{}
	ts := keep(t, &rotating{}, store)
	update := func(status string) error {
		return ts.Update(t.Context(), "member1", func(t *Token) error { t.Status += status; return nil })
	}
	store.fail = errFull
	checkStatus := func(want string) {
		t.Helper()
		if stored, err := ts.Get(t.Context(), "member1"); err != nil || stored.Status != want {
			t.Errorf("stored %q, %v; want %q", stored.Status, err, want)
		}
	}
	if err := update("a"); err == nil {
		t.Error("no error")
	}
	checkStatus("")
	store.fail = nil
	if err := update("b"); err != nil {
		t.Error(err)
	}
	checkStatus("ab")
	for range 2 {
		if _, err := ts.Source("member1").Refresh(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if err := update("c"); err != nil {
			t.Error(err)
		}
	}
	checkStatus("abcc")
}

// TestEntry_PutOverUnsaved: the token that was refused is no reason to forget the new
// one, another token is.
func TestEntry_PutOverUnsaved(t *testing.T) {
	server, store, ts := unsaved(t)
	old := (&rotating{}).present()
	checkStoreError(t, "put", ts.Put(t.Context(), "member1", old))
	store.fail = nil
	if err := ts.Put(t.Context(), "member1", old); err != nil {
		t.Fatal(err)
	}
	if next, err := ts.Source("member1").Refresh(t.Context(), bare(old)); err != nil || next.AccessToken != resttest.Mark+"-access-1" || server.asked != 1 {
		t.Errorf("%v after %d refreshes", err, server.asked)
	}
	_, store, ts = unsaved(t)
	store.fail = nil
	other := old.clone()
	other.AccessToken, other.RefreshToken = resttest.Mark+"-other", resttest.Mark+"-other"
	if err := ts.Put(t.Context(), "member1", other); err != nil {
		t.Fatal(err)
	}
	if next, err := ts.Source("member1").Refresh(t.Context(), bare(old)); err != nil || next.AccessToken != other.AccessToken {
		t.Errorf("another token was put: %v", err)
	}
}

// TestEntry_UnsavedElsewhere: another process has stored something meanwhile, and is
// right.
func TestEntry_UnsavedElsewhere(t *testing.T) {
	_, store, ts := unsaved(t)
	store.fail = nil
	other := (&rotating{}).present()
	other.AccessToken, other.RefreshToken = resttest.Mark+"-other", resttest.Mark+"-other"
	if err := put(t.Context(), store, "member1", other); err != nil {
		t.Fatal(err)
	}
	if next, err := ts.Source("member1").Refresh(t.Context(), bare((&rotating{}).present())); err != nil || next.AccessToken != other.AccessToken {
		t.Errorf("another token was stored: %v", err)
	}
	_, store, ts = unsaved(t)
	store.fail = nil
	if err := remove(t.Context(), store, "member1"); err != nil {
		t.Fatal(err)
	}
	if _, err := ts.Source("member1").Refresh(t.Context(), bare((&rotating{}).present())); !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("the token was deleted: %v", err)
	}
}

// TestEntry_HandleUnsaved: a callback's token that could not be stored is stored with
// the next callback, or the same. Another callback asks whether it is dead
// meanwhile.
func TestEntry_HandleUnsaved(t *testing.T) {
	for name, again := range map[string]struct {
		do            func(*desk) error
		stored, asked string
	}{
		"the same": {func(d *desk) error { return d.handle(installOf("event", "app")) }, "event-1 app", "event-0"},
		"a form":   {func(d *desk) error { return d.handle(formOf("form")) }, "event-2 app", "event-0 event-1"},
		"a call": {func(d *desk) error {
			_, err := d.tokens.Source("member1").Refresh(d.t.Context(), &oauth2.Token{AccessToken: "older"})
			return err
		}, "event-1 app", "event-0"},
	} {
		store := &brokenStore{}
		d := newDesk(t, store)
		store.fail = fmt.Errorf("no space for %s-access-event-1 of %[1]sapp", resttest.Mark)
		err := d.handle(installOf("event", "app"))
		checkStoreError(t, name, err)
		d.want(name, err, store.fail, "nothing")
		if _, err := d.tokens.Source("member1").Token(); !errors.Is(err, b24pull.ErrNoToken) {
			t.Errorf("%s: an unstored token is out: %v", name, err)
		}
		store.fail = nil
		d.want(name, again.do(d), nil, again.stored)
		if seen := d.server.seen(); seen != again.asked {
			t.Errorf("%s: asked for %s", name, seen)
		}
	}
}

// TestEntry_RevokedUnsaved: a store that fails does not hide that the token is dead.
func TestEntry_RevokedUnsaved(t *testing.T) {
	store := &brokenStore{}
	d := newDesk(t, store)
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	d.server.die("first")
	store.fail = errFull
	for range 3 {
		_, err := d.tokens.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-first-1"})
		d.want("refreshed", err, b24pull.ErrInvalidGrant, "first-1 app")
	}
	store.fail = nil
	if seen := d.server.seen(); seen != "first-0 first-1" {
		t.Errorf("asked for %s", seen)
	}
	d.want("opened", d.handle(formOf("open")), nil, "open-1 app")
}

// TestEntry_BadKey: a key that the store cannot keep costs no token.
func TestEntry_BadKey(t *testing.T) {
	d := newDesk(t, fileStore(t))
	for _, form := range []func() *Callback{
		func() *Callback { return mustParse(t, formOf("form")) }, func() *Callback { return mustParse(t, installOf("event", "app")) },
	} {
		c := form()
		c.MemberID = strings.Repeat("A", 100)
		c.Token.MemberID = c.MemberID
		if err := d.tokens.Handle(t.Context(), c); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("got %v", err)
		}
	}
	if seen := d.server.seen(); seen != "" {
		t.Errorf("asked for %s", seen)
	}
}

// TestEntry_HandleAfterHangUp: the portal does not wait for the answer.
func TestEntry_HandleAfterHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.server.took["event"] = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		go d.tokens.Handle(ctx, mustParse(t, installOf("event", "app")))
		time.Sleep(3 * time.Second)
		start := time.Now()
		if err := d.tokens.Wait(t.Context()); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("Wait: %v after %v", err, time.Since(start))
		}
		d.want("installed", nil, nil, "event-1 app")
		if err := d.tokens.Handle(ctx, mustParse(t, formOf("x"))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestEntry_NoEntriesWithoutToken: keys that anybody may make up cost no memory, and
// the error names the key.
func TestEntry_NoEntriesWithoutToken(t *testing.T) {
	d := newDesk(t, new(MemoryStore))
	for i := range 10 {
		key := fmt.Sprint("member", i)
		c := mustParse(t, uninstallEvent("x"))
		c.MemberID = key
		d.tokens.Handle(t.Context(), c)
		d.tokens.Delete(t.Context(), key)
		source := d.tokens.Source(key)
		_, err := source.Token()
		if !errors.Is(err, b24pull.ErrNoToken) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "install") {
			t.Errorf("got %v", err)
		}
		source.Refresh(t.Context(), &oauth2.Token{AccessToken: "x"})
		source.Reload(t.Context(), &oauth2.Token{AccessToken: "x"})
		d.tokens.Get(t.Context(), key)
		c = mustParse(t, formOf("form"))
		c.MemberID, c.Token.MemberID = key, key
		d.tokens.Handle(t.Context(), c)
		d.tokens.Update(t.Context(), key, func(*Token) error { return nil })
		if _, err := source.Token(); !errors.Is(err, b24pull.ErrNoToken) {
			t.Errorf("got %v", err)
		}
	}
	if len(d.tokens.states) != 0 || len(d.tokens.flights) != 0 {
		t.Errorf("%d entries are left, %d flights", len(d.tokens.states), len(d.tokens.flights))
	}
	source := d.tokens.Source("member1")
	if _, err := source.Token(); !errors.Is(err, b24pull.ErrNoToken) {
		t.Error(err)
	}
	d.want("installed", d.handle(installOf("event", "app")), nil, "event-1 app")
	if token, err := source.Token(); err != nil || token.AccessToken != resttest.Mark+"-access-event-1" {
		t.Errorf("a source from before the token: %v", err)
	}
}
