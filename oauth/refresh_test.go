package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// others returns more Tokens of a store, as of other processes.
func others(t *testing.T, ts *Tokens) *Tokens {
	t.Helper()
	other, err := NewTokens(ts.app, ts.store)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// TestRefresh_StoredIsOldToo: what another process has stored may be too old as well.
func TestRefresh_StoredIsOldToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{change: map[string]any{"expires": nil}}
		a := keep(t, server, new(MemoryStore))
		b := others(t, a)
		source := b.Source("member1")
		first, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Source("member1").Refresh(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if next, err := others(t, a).Source("member1").Refresh(t.Context(), first); err != nil || next.AccessToken != resttest.Mark+"-access-1" {
			t.Errorf("while it is good: %v", err)
		}
		time.Sleep(time.Hour + time.Second)
		if server.asked != 1 {
			t.Errorf("%d refreshes by the clock", server.asked-1)
		}
		if next, err := source.Refresh(t.Context(), first); err != nil || next.AccessToken != resttest.Mark+"-access-2" {
			t.Errorf("an hour later: %v", err)
		}
	})
}

// TestRefresh_OlderWhileRefreshed: a latecomer does not get the token that has just
// been refused.
func TestRefresh_OlderWhileRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 2 * time.Second}
		ts := keep(t, server, new(MemoryStore))
		source := ts.Source("member1")
		go source.Refresh(t.Context(), bare((&rotating{}).present()))
		synctest.Wait()
		if got, err := source.Refresh(t.Context(), &oauth2.Token{AccessToken: "older"}); err != nil || got.AccessToken != resttest.Mark+"-access-1" {
			t.Errorf("got %v", err)
		}
	})
}

// TestRefresh_LockTakesNoTime: a refresh has its minute, however long the lock was
// waited for.
func TestRefresh_LockTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{took: 50 * time.Second}, new(MemoryStore)
		ts := keep(t, server, store)
		held, err := store.Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(59*time.Second, held.Unlock)
		if next, err := ts.Source("member1").Refresh(t.Context(), bare((&rotating{}).present())); err != nil || next.AccessToken != resttest.Mark+"-access-1" {
			t.Error(err)
		}
		server.took = 65 * time.Second
		if _, err := ts.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-1"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer after 65 seconds: %v", err)
		}
		held, err = store.Lock(t.Context(), "member1")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Unlock()
		start := time.Now()
		_, err = ts.Source("member1").Refresh(t.Context(), &oauth2.Token{AccessToken: resttest.Mark + "-access-1"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != lockTimeout || server.asked != 2 {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		resttest.CheckError(t, err)
	})
}

// A tiedStore has locks that end with their context, as those of a database
// may, and saves for nobody whose context has ended.
type tiedStore struct {
	MemoryStore
	t *testing.T
}

func (s *tiedStore) Lock(living context.Context, key string) (LockedToken, error) {
	return tap(living, &s.MemoryStore, key, func(held LockedToken) tapped {
		return tapped{unlock: func() {
			if living.Err() != nil {
				s.t.Error("the lock's context has ended before Unlock")
			}
			held.Unlock()
		}, save: func(ctx context.Context, t *Token) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return held.Save(ctx, t)
		}}
	})
}

// TestRefresh_LockContext: it lives until unlock, whatever becomes of the caller's.
func TestRefresh_LockContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 10 * time.Second}
		store := &tiedStore{t: t}
		ts := keep(t, server, store)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ts.Source("member1").Refresh(ctx, bare(server.present())); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := ts.Update(ctx, "member1", func(*Token) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := ts.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		if err := ts.Update(ctx, "member1", func(t *Token) error { cancel(); t.Status = "P"; return nil }); err != nil {
			t.Error(err)
		}
		if stored, err := ts.Get(t.Context(), "member1"); err != nil || stored.Status != "P" || stored.AccessToken != resttest.Mark+"-access-1" {
			t.Errorf("stored %v, %v", stored, err)
		}
	})
}

// TestRefresh_PaidAgain: the portal has paid.
func TestRefresh_PaidAgain(t *testing.T) {
	for name, hasten := range map[string]func(*Tokens) error{
		"a minute later": func(*Tokens) error { time.Sleep(time.Minute); return nil },
		"an event": func(ts *Tokens) error {
			return ts.Handle(context.Background(), &Callback{Event: "ONAPPPAYMENT", MemberID: "member1", ApplicationToken: "app"})
		},
		"put": func(ts *Tokens) error {
			stored, err := ts.Get(context.Background(), "member1")
			if err != nil {
				return err
			}
			return ts.Put(context.Background(), "member1", stored)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &rotating{refuse: func() (int, any) { return 402, map[string]any{"error": "PAYMENT_REQUIRED"} }}
			ts := keep(t, server, new(MemoryStore))
			if err := ts.Update(t.Context(), "member1", func(t *Token) error { t.ApplicationToken = "app"; return nil }); err != nil {
				t.Fatal(err)
			}
			source, old := ts.Source("member1"), bare(server.present())
			for range 3 {
				if _, err := source.Refresh(t.Context(), old); !errors.Is(err, b24pull.ErrPaymentRequired) {
					t.Errorf("%s: %v", name, err)
				}
			}
			server.refuse = nil
			time.Sleep(time.Second)
			if _, err := source.Refresh(t.Context(), old); !errors.Is(err, b24pull.ErrPaymentRequired) || server.asked != 1 {
				t.Errorf("%s: %v, asked %d times", name, err, server.asked)
			}
			if err := hasten(ts); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if next, err := source.Refresh(t.Context(), old); err != nil || next.AccessToken != resttest.Mark+"-access-1" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestRefresh_InstalledAgainElsewhere: another process has deleted the token and stored
// another.
func TestRefresh_InstalledAgainElsewhere(t *testing.T) {
	server, store := &rotating{}, new(MemoryStore)
	a := keep(t, server, store)
	b := others(t, a)
	source := b.Source("member1")
	if _, err := source.Token(); err != nil {
		t.Fatal(err)
	}
	calls := 0
	rest := &http.Client{Transport: resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		var body struct{ Auth string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		calls++
		server.mu.Lock()
		good := body.Auth == server.access()
		server.mu.Unlock()
		if !good {
			return resttest.JSONResponse(r, 401, map[string]any{"error": "NO_AUTH_FOUND"}), nil
		}
		return resttest.JSONResponse(r, 200, `{"result":true}`), nil
	})}
	c := mustNew(t, b24pull.OAuth("portal.example", source), b24pull.WithHTTPClient(rest), b24pull.WithLimiter(nil))
	life, cancel := source.Context(t.Context())
	defer cancel()
	server.generation = 7
	if err := event(t.Context(), c); !errors.Is(err, b24pull.ErrNoAuth) || calls != 1 {
		t.Errorf("nothing has changed in the store: %v after %d calls", err, calls)
	}
	if err := a.Delete(t.Context(), "member1"); err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), "member1", server.present()); err != nil {
		t.Fatal(err)
	}
	if err := event(t.Context(), c); err != nil || calls != 3 {
		t.Errorf("installed again: %v after %d calls", err, calls)
	}
	if err := a.Delete(t.Context(), "member1"); err != nil {
		t.Fatal(err)
	}
	server.generation = 8
	if err := event(t.Context(), c); !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("uninstalled: %v", err)
	}
	<-life.Done()
	plain := mustNew(t, b24pull.OAuth("portal.example", resttest.Static(resttest.AccessToken)), b24pull.WithHTTPClient(rest), b24pull.WithLimiter(nil))
	if err := event(t.Context(), plain); !errors.Is(err, b24pull.ErrNoAuth) {
		t.Errorf("a source that has no store: %v", err)
	}
}

// A peekingStore asks for the token while it is being deleted.
type peekingStore struct {
	MemoryStore
	peek func()
	fail error
}

func (s *peekingStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, &s.MemoryStore, key, func(held LockedToken) tapped {
		return tapped{del: func(ctx context.Context) error {
			s.peek()
			if s.fail != nil {
				return s.fail
			}
			return held.Delete(ctx)
		}}
	})
}

// TestRefresh_AskedWhileDeleted: no source that was made before the end of Delete
// outlives it.
func TestRefresh_AskedWhileDeleted(t *testing.T) {
	store := &peekingStore{}
	ts := keep(t, &rotating{}, store)
	source := ts.Source("member1")
	store.peek = func() {
		if _, err := source.Token(); err != nil {
			t.Error(err)
		}
	}
	if err := ts.Delete(t.Context(), "member1"); err != nil {
		t.Fatal(err)
	}
	if token, err := source.Token(); token != nil || !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("got %v", err)
	}
}

// A panickingStore panics at one of its methods.
type panickingStore struct {
	MemoryStore
	save, load any
}

func (s *panickingStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, &s.MemoryStore, key, func(held LockedToken) tapped {
		return tapped{save: func(ctx context.Context, t *Token) error {
			if s.save != nil {
				panic(s.save)
			}
			return held.Save(ctx, t)
		}, load: func(ctx context.Context) (*Token, error) { return s.Load(ctx, key) }}
	})
}

func (s *panickingStore) Load(ctx context.Context, key string) (*Token, error) {
	if s.load != nil {
		panic(s.load)
	}
	return s.MemoryStore.Load(ctx, key)
}

// TestRefresh_Panics: those who wait get an error, and the new token is not lost.
func TestRefresh_Panics(t *testing.T) {
	server, store := &rotating{}, &panickingStore{}
	ts := keep(t, server, store)
	source, old := ts.Source("member1"), bare(server.present())
	for _, v := range []any{errors.New(resttest.Mark), resttest.Mark} {
		store.save = v
		_, err := source.Refresh(t.Context(), old)
		resttest.CheckError(t, err)
		store.save, store.load = nil, v
		_, err = source.Refresh(t.Context(), old)
		resttest.CheckError(t, err)
		store.load = nil
	}
	if next, err := source.Refresh(t.Context(), old); err != nil || next.AccessToken != resttest.Mark+"-access-1" || server.asked != 1 {
		t.Errorf("%v after %d refreshes", err, server.asked)
	}
	broken := testApp(&http.Client{Transport: resttest.RoundTrip(func(*http.Request) (*http.Response, error) { panic(resttest.Mark) })})
	ts, err := NewTokens(broken, store)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ts.Source("member1").Refresh(t.Context(), bare(server.present()))
	resttest.CheckError(t, err)
	if err := ts.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRefresh_NobodyWaitsFor: it leaves no entry of a key without a token, and
// refreshes nothing for one that was deleted.
func TestRefresh_NobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{}, &panickingStore{}
		ts := keep(t, server, store)
		if err := put(t.Context(), store, "member2", server.present()); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"member1", "member2"} {
			held, err := store.Lock(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := ts.Source(key).Refresh(ctx, bare(server.present())); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", key, err)
			}
			cancel()
			if key == "member1" {
				ts.forget(ts.states[key])
			} else {
				store.load = "away"
			}
			held.Unlock()
			if err := ts.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if len(ts.states) != 0 || server.asked != 0 {
				t.Errorf("%s: %d entries, %d refreshes", key, len(ts.states), server.asked)
			}
		}
	})
}
