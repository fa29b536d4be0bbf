package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull/internal/resttest"
)

// TestStrangers_Proven: what brings the application_token does not wait for
// strangers, who have filled all places.
func TestStrangers_Proven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.garbage()
		ctx, cancel := context.WithCancel(t.Context())
		var waits []func() map[string]int
		for _, member := range []string{"m%d", "member1%.0d"} {
			waits = append(waits, d.flood(ctx, 50, func(n int) url.Values { return forgery(n, fmt.Sprintf(member, n)) }))
			synctest.Wait()
		}
		began := time.Now()
		d.want("installed again", d.handle(installOf("second", "app")), nil, "second-1 app")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
		if took := time.Since(began); took > 3*time.Second { // one stranger for each, at most
			t.Errorf("they took %v", took)
		}
		cancel()
		for _, wait := range waits {
			wait()
		}
	})
}

// TestStrangers_HangUp: nobody is asked about the callback of somebody who does
// not wait, and his token is not spent.
func TestStrangers_HangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.garbage()
		go d.handle(forgery(0, "member1"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wait := d.flood(ctx, 10, func(int) url.Values { return formOf("open") })
		synctest.Wait()
		hung := time.Now()
		cancel()
		if errs := wait(); errs["cancelled"] != 10 || time.Since(hung) != 0 {
			t.Errorf("%v after %v", errs, time.Since(hung))
		}
		time.Sleep(time.Minute)
		if seen := d.server.seen(); seen != "garbage0-0" {
			t.Errorf("asked for %s", seen)
		}
		d.want("opened again", d.handle(formOf("open")), nil, "open-1 ")
	})
}

// TestStrangers_WaitEnds: who cannot be admitted is told so after half a
// minute.
func TestStrangers_WaitEnds(t *testing.T) {
	for _, key := range []string{sharedLock("member1"), "member1"} {
		synctest.Test(t, func(t *testing.T) {
			store := new(MemoryStore)
			d := newDesk(t, store)
			held, err := store.Lock(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			time.AfterFunc(time.Minute, held.Unlock)
			err = d.handle(formOf("open"))
			took := time.Since(began)
			if key != "member1" && (took != admitTimeout || !errors.Is(err, ErrBusy)) || key == "member1" && (took != time.Minute || err != nil) {
				t.Errorf("%s is held: %v after %v", key, err, took)
			}
		})
	}
}

// TestStrangers_WithoutLock: what can be decided without the lock and the
// authorization server is.
func TestStrangers_WithoutLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(MemoryStore)
		d := newDesk(t, store)
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.want("forged by a user", d.handle(installOf("user", "forged")), ErrApplicationToken, "first-2 app")
		d.server.seen()
		for _, key := range []string{"member1", "member1+", "member2", sharedLock("member1"), sharedLock("member2")} {
			held, err := store.Lock(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Unlock()
		}
		began := time.Now()
		d.want("forged", d.handle(uninstallEvent(resttest.Mark+"forged")), ErrApplicationToken, "first-2 app")
		d.want("forged", d.handle(uninstallEvent("")), ErrApplicationToken, "first-2 app")
		d.want("forged", d.handle(installOf("another", "forged")), ErrUndecided, "first-2 app")
		d.want("a form", d.handle(formOf("open")), nil, "first-2 app")
		for name, refresh := range map[string]string{"no refresh token": "", "longer than": strings.Repeat("x", 5000), "characters that none has": "a\x1bb"} {
			form := formOf("open")
			form.Set("REFRESH_ID", refresh)
			form.Set("member_id", "member2")
			c := mustParse(t, form)
			if err := d.tokens.Handle(t.Context(), c); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		none := installOf("x", "app")
		none.Del("auth[access_token]")
		none.Set("auth[member_id]", "member2")
		if err := d.handle(none); err == nil || !strings.Contains(err.Error(), "brings no token") {
			t.Errorf("no token: %v", err)
		}
		if took, seen := time.Since(began), d.server.seen(); took != 0 || seen != "" {
			t.Errorf("it took %v, asked for %q", took, seen)
		}
	})
}

// TestStrangers_UninstalledElsewhere: an application that is uninstalled while
// another process confirms its installation does not come back.
func TestStrangers_UninstalledElsewhere(t *testing.T) {
	for name, before := range map[string]url.Values{"first": nil, "installed again": installOf("first", "app"), "reinstalled": installOf("old", "old")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, new(MemoryStore))
				if before != nil {
					if err := d.handle(before); err != nil {
						t.Fatal(err)
					}
				}
				d.server.die("old")
				d.server.took["new"] = 2 * time.Second
				elsewhere := others(t, d.tokens)
				uninstall := uninstallEvent(resttest.Mark + "app")
				if name == "reinstalled" {
					elsewhere = d.tokens // a process that knows of nothing refuses it at once
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := d.handle(installOf("new", "app")); err != nil {
						t.Error(err)
					}
					d.server.die("new")
				})
				time.Sleep(time.Second)
				if err := elsewhere.Handle(t.Context(), mustParse(t, uninstall)); err != nil {
					t.Error(err)
				}
				wg.Wait()
				d.want("at the end", nil, nil, "nothing")
			})
		})
	}
}

// TestStrangers_Overtaken: what another one has stored while a token was
// confirmed counts.
func TestStrangers_Overtaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, new(MemoryStore))
		d.server.took["slow"] = 2 * time.Second
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := d.handle(formOf("slow")); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		put := (&rotating{}).present()
		put.AccessToken, put.RefreshToken = resttest.Mark+"-access-put-0", resttest.Mark+"-refresh-put-0"
		d.want("put meanwhile", d.tokens.Put(t.Context(), "member1", put), nil, "put-0 ")
		wg.Wait()
		d.want("at the end", nil, nil, "put-0 ")
	})
}

// TestStrangers_LockFails: a token that was confirmed is not lost with the
// lock.
func TestStrangers_LockFails(t *testing.T) {
	d := newDesk(t, new(failingLock))
	store := d.tokens.store.(*failingLock)
	store.fails = 2 // that of the callbacks is good
	d.want("installed", d.handle(installOf("first", "app")), errLost, "nothing")
	d.want("the same again", d.handle(installOf("first", "app")), nil, "first-1 app")
	if seen := d.server.seen(); seen != "first-0" {
		t.Errorf("asked for %s", seen)
	}
}

// A failingLock is a store whose nth lock from now fails.
type failingLock struct {
	MemoryStore
	fails int
}

func (s *failingLock) Lock(ctx context.Context, key string) (LockedToken, error) {
	if s.fails--; s.fails == 0 {
		return nil, errLost
	}
	return s.MemoryStore.Lock(ctx, key)
}

// TestStrangers_PanickingStore: no place is kept by a store that panics.
func TestStrangers_PanickingStore(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		store := new(panickingLock)
		d := newDesk(t, store)
		if err := put(t.Context(), store, "member1", &Token{Revoked: true}); err != nil { // so that it is locked before, too
			t.Fatal(err)
		}
		store.panics = nth
		func() {
			defer func() {
				if v := recover(); v == nil {
					t.Errorf("lock %d did not panic", nth)
				}
			}()
			d.handle(formOf("open"))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := d.tokens.Handle(ctx, mustParse(t, formOf("again"))); err != nil {
			t.Errorf("after lock %d has panicked: %v", nth, err)
		}
		cancel()
	}
}

type panickingLock struct {
	MemoryStore
	panics int
}

func (s *panickingLock) Lock(ctx context.Context, key string) (LockedToken, error) {
	if s.panics--; s.panics == 0 {
		panic("lock")
	}
	return s.MemoryStore.Lock(ctx, key)
}

// TestAdmit_AuthServerHangs: nobody waits for the authorization server for longer
// than a minute.
func TestAdmit_AuthServerHangs(t *testing.T) {
	hangs := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})}
	for name, ask := range map[string]func(context.Context, *Application) error{
		"a code": func(ctx context.Context, app *Application) error {
			_, err := app.Exchange(ctx, AuthCode{Code: resttest.Mark + "-code"})
			return err
		},
		"a refresh": func(ctx context.Context, app *Application) error {
			_, err := app.Refresh(ctx, (&rotating{}).start())
			return err
		},
		"a form": func(ctx context.Context, app *Application) error {
			ts, err := NewTokens(app, new(MemoryStore))
			if err != nil {
				return err
			}
			return ts.Handle(ctx, mustParse(t, openForm()))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := ask(context.WithoutCancel(t.Context()), testApp(hangs))
			if took := time.Since(began); took != time.Minute || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %v", name, err, took)
			}
			resttest.CheckError(t, err)
		})
	}
}
