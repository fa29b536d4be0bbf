package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// lockFiles are the lock files of a store.
func lockFiles(t *testing.T, store *TokenFolder) (own, shared []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(store.folder, "*.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if name := filepath.Base(path); strings.HasPrefix(name, "callbacks%2b") {
			shared = append(shared, name)
		} else {
			own = append(own, name)
		}
	}
	return own, shared
}

// TestLocks_OfStrangers: however many portals strangers make up, the files for
// locks are no more than 256 beside those of the portals that have a token.
func TestLocks_OfStrangers(t *testing.T) {
	t.Parallel()
	store := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, store)
		d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
		d.want("installed again", d.handle(installOf("second", "app")), nil, "second-1 app")
		d.server.dead["garbage"] = true
		send := func(form url.Values) {
			if err := d.tokens.Handle(t.Context(), mustParse(t, form)); err != nil && !errors.Is(err, b24pull.ErrInvalidGrant) && !errors.Is(err, b24pull.ErrNoToken) {
				t.Error(err)
			}
		}
		strangers, least := 1500, 200
		if testing.Short() {
			strangers, least = 300, 120
		}
		for n := range strangers {
			member := fmt.Sprintf("m%d", n)
			install, open := installOf("garbage", "forged"), formOf("garbage")
			install.Set("auth[member_id]", member)
			open.Set("member_id", member)
			uninstall := uninstallEvent(resttest.Mark + "forged")
			uninstall.Set("auth[member_id]", member)
			other := uninstallEvent(resttest.Mark + "forged")
			other.Set("event", "ONCRMDEALADD")
			other.Set("auth[member_id]", member)
			for i, form := range []url.Values{install, open, uninstall, other} {
				if !testing.Short() || i == n%4 {
					send(form)
				}
			}
			if _, err := d.tokens.Source(member).Refresh(t.Context(), &oauth2.Token{AccessToken: "x"}); !errors.Is(err, b24pull.ErrNoToken) {
				t.Errorf("Refresh: %v", err)
			}
			if err := d.tokens.Update(t.Context(), member, func(*Token) error { return nil }); !errors.Is(err, b24pull.ErrNoToken) {
				t.Errorf("Update: %v", err)
			}
			if err := d.tokens.Delete(t.Context(), member); err != nil {
				t.Errorf("Delete: %v", err)
			}
		}
		own, shared := lockFiles(t, store)
		if want := []string{"member1%2b.lock", "member1.lock"}; !slices.Equal(own, want) || len(shared) > 256 || len(shared) < least {
			t.Errorf("%d files: %.10q and %d shared ones", len(own)+len(shared), own, len(shared))
		}
		d.want("at the end", nil, nil, "second-1 app")
		d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
		if left, _ := lockFiles(t, store); !slices.Equal(left, own) {
			t.Errorf("left %q of %q", left, own)
		}
	})
}

// TestLocks_OfCallbacks: one callback of a portal is decided at a time, by two
// processes, whichever of its locks it takes, while what is decided makes it
// the other one.
func TestLocks_OfCallbacks(t *testing.T) {
	t.Parallel()
	files := fileStore(t)
	synctest.Test(t, func(t *testing.T) {
		var inside atomic.Int32
		var wg sync.WaitGroup
		var stored, deleted atomic.Int32
		for range 2 {
			store, err := NewTokenFolder(files.folder)
			if err != nil {
				t.Fatal(err)
			}
			ts, err := NewTokens(testApp(nil), store)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				wg.Go(func() {
					for range 40 {
						unlock, err := ts.lockCallbacks(t.Context(), "member1")
						if err != nil {
							t.Error(err)
							return
						}
						if inside.Add(1) != 1 {
							t.Error("two callbacks are decided at once")
						}
						time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
						_, err = store.Load(t.Context(), "member1")
						inside.Add(-1)
						if errors.Is(err, b24pull.ErrNoToken) {
							err = put(t.Context(), store, "member1", (&rotating{}).present())
							stored.Add(1)
						} else if err == nil && rand.IntN(2) == 0 {
							err = remove(t.Context(), store, "member1")
							deleted.Add(1)
						}
						if err != nil {
							t.Error(err)
						}
						time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
						unlock()
					}
				})
			}
		}
		wg.Wait()
		if stored.Load() < 20 || deleted.Load() < 20 {
			t.Errorf("stored %d times, deleted %d times", stored.Load(), deleted.Load())
		}
	})
}

// TestLocks_Panic: a store that panics when it is asked again keeps no
// lock.
func TestLocks_Panic(t *testing.T) {
	store := &secondLoad{}
	ts, err := NewTokens(testApp(nil), store)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it did not panic")
			}
		}()
		ts.lockCallbacks(t.Context(), "member1")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	unlock, err := ts.lockCallbacks(ctx, "member1")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestLocks_StoreFails: where the store does not say whether a portal has a
// token, nobody is admitted beside one who is.
func TestLocks_StoreFails(t *testing.T) {
	store := &failingLoad{}
	ts, err := NewTokens(testApp(nil), store)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), store, "member1", (&rotating{}).present()); err != nil {
		t.Fatal(err)
	}
	unlock, err := ts.lockCallbacks(t.Context(), "member1")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	store.fails.Store(true)
	if _, err := ts.lockCallbacks(t.Context(), "member1"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("beside another one: %v", err)
	}
}

// failingLoad loads nothing while it fails.
type failingLoad struct {
	MemoryStore
	fails atomic.Bool
}

func (s *failingLoad) Load(ctx context.Context, key string) (*Token, error) {
	if s.fails.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	return s.MemoryStore.Load(ctx, key)
}

func (s *failingLoad) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, &s.MemoryStore, key, func(LockedToken) tapped {
		return tapped{load: func(ctx context.Context) (*Token, error) { return s.Load(ctx, key) }}
	})
}

// secondLoad panics when it is asked for the second token.
type secondLoad struct {
	MemoryStore
	loads int
}

func (s *secondLoad) Load(ctx context.Context, key string) (*Token, error) {
	if s.loads++; s.loads == 2 {
		panic("load")
	}
	return s.MemoryStore.Load(ctx, key)
}

// A slowSave stores a token only after it was told to.
type slowSave struct {
	*TokenFolder
	began        sync.Once
	saving, goOn chan struct{}
}

func (s *slowSave) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, s.TokenFolder, key, func(held LockedToken) tapped {
		return tapped{save: func(ctx context.Context, t *Token) error {
			s.began.Do(func() { close(s.saving) })
			<-s.goOn
			return held.Save(ctx, t)
		}}
	})
}

// TestLocks_InstallExcludesRefresh: while one process stores the token of an
// installation another does not refresh the one that it replaces, but takes the
// new one.
func TestLocks_InstallExcludesRefresh(t *testing.T) {
	t.Parallel()
	l := newLab(t, 0)
	store := &slowSave{TokenFolder: l.store, saving: make(chan struct{}), goOn: make(chan struct{})}
	app := testApp(&http.Client{Transport: l.http.Client().Transport})
	app.AuthServer = l.http.URL
	ts, err := NewTokens(app, store)
	if err != nil {
		t.Fatal(err)
	}
	// The callback brings the stored token, which is therefore dead when it is
	// confirmed: that is stored first, and then the new one.
	installed := make(chan error)
	go func() { installed <- ts.Handle(context.Background(), mustParse(t, installEvent(resttest.Mark+"app"))) }()
	select {
	case <-store.saving:
	case err := <-installed:
		t.Fatalf("nothing was stored: %v", err)
	}
	cmd, out := l.start(t, "late", 1)
	text := make(chan string)
	go func() {
		said, err := io.ReadAll(out)
		if err != nil {
			t.Error(err)
		}
		text <- string(said)
	}()
	select {
	case said := <-text:
		t.Errorf("it did not wait: %s", said)
		close(store.goOn)
	case <-time.After(time.Second):
		close(store.goOn)
		if said := <-text; said != "refreshed to 1\n" {
			t.Errorf("the other process: %s", said)
		}
	}
	if err := errors.Join(<-installed, cmd.Wait()); err != nil {
		t.Error(err)
	}
	if asked, _ := l.server.counts(); asked != 2 || l.stored(t) != 1 {
		t.Errorf("asked %d times, generation %d is stored; want 2 (both of the installation) and 1", asked, l.stored(t))
	}
}
