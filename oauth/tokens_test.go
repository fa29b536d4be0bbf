package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
	"golang.org/x/oauth2"
)

// A brokenStore is a MemoryStore whose Save can fail, and which counts its
// locks.
type brokenStore struct {
	MemoryStore
	mu    sync.Mutex
	fail  error
	locks int
}

func (s *brokenStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	s.mu.Lock()
	s.locks++
	s.mu.Unlock()
	return tap(ctx, &s.MemoryStore, key, func(held LockedToken) tapped {
		return tapped{save: func(ctx context.Context, t *Token) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.fail != nil {
				return s.fail
			}
			return held.Save(ctx, t)
		}}
	})
}

// keep returns the Tokens of a server with its present token stored.
func keep(t *testing.T, server *rotating, store TokenStore) *Tokens {
	t.Helper()
	ts, err := NewTokens(testApp(server.transport(nil)), store)
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Put(context.Background(), "member1", server.present()); err != nil {
		t.Fatal(err)
	}
	return ts
}

// clientOf calls a portal that takes the server's present token only.
func clientOf(t *testing.T, server *rotating, source oauth2.TokenSource, opts ...b24pull.Option) *b24pull.Client {
	t.Helper()
	rest := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		var body struct{ Auth string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		server.mu.Lock()
		good := body.Auth == server.access()
		server.mu.Unlock()
		if !good {
			return resttest.JSONResponse(r, 401, map[string]any{"error": "expired_token"}), nil
		}
		return resttest.JSONResponse(r, 200, `{"result":`+resttest.MinimalConfig+`}`), nil
	})
	return mustNew(t, b24pull.OAuth("portal.example", source), append([]b24pull.Option{b24pull.WithHTTPClient(&http.Client{Transport: rest}), b24pull.WithLimiter(nil)}, opts...)...)
}

// expired is a token that the portal has forgotten, with a good refresh token.
func (s *rotating) expired() *Token {
	old := s.present()
	old.AccessToken = resttest.Mark + "-expired"
	return old
}

// TestTokens_OneRefresh: a thousand goroutines over five seconds, all with an expired
// token, some that hold it still when it has been refreshed long ago.
func TestTokens_OneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{took: 2 * time.Second}, &brokenStore{}
		ts := keep(t, server, store)
		if err := ts.Put(t.Context(), "member1", server.expired()); err != nil {
			t.Fatal(err)
		}
		old := bare(server.expired())
		c := clientOf(t, server, ts.Source("member1"))
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				if i%2 == 0 {
					if next, err := ts.Source("member1").Refresh(t.Context(), old); err != nil || next.AccessToken != resttest.Mark+"-access-1" {
						t.Errorf("goroutine %d: %v", i, err)
					}
					return
				}
				if _, err := c.GetApplicationConfig(t.Context(), true); err != nil {
					t.Errorf("goroutine %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if server.asked != 1 {
			t.Errorf("%d refreshes, want 1", server.asked)
		}
		if want := 3; store.locks != want { // two of Put
			t.Errorf("the store was locked %d times, want %d", store.locks, want)
		}
	})
}

// TestTokens_TwoTokensOneStore: what two processes with one store do, in one.
func TestTokens_TwoTokensOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := &rotating{took: time.Second}, new(MemoryStore)
		old := bare(server.present())
		var wg sync.WaitGroup
		for _, ts := range []*Tokens{keep(t, server, store), keep(t, server, store)} {
			for range 20 {
				wg.Go(func() {
					if next, err := ts.Source("member1").Refresh(t.Context(), old); err != nil || next.AccessToken != resttest.Mark+"-access-1" {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if server.asked != 1 {
			t.Errorf("%d refreshes, want 1", server.asked)
		}
	})
}

// TestTokens_StoredBeforeUsed: the new token is out only when it is stored; where that
// fails it is stored later, and the refresh token is not spent again.
func TestTokens_StoredBeforeUsed(t *testing.T) {
	ctx := context.Background()
	server, store := &rotating{}, &brokenStore{}
	ts := keep(t, server, store)
	source, old := ts.Source("member1"), bare(server.present())
	full := errors.New("the disk is full of " + resttest.Mark + "-access-1")
	store.fail = full
	for range 2 {
		next, err := source.Refresh(ctx, old)
		var typed *StoreError
		if next != nil || !errors.As(err, &typed) || !errors.Is(err, full) || !strings.Contains(err.Error(), "make the store work") {
			t.Fatalf("got %v, %v", next, err)
		}
		t.Log(err)
		resttest.CheckError(t, err)
		if present, err := source.Token(); err != nil || present.AccessToken != old.AccessToken {
			t.Errorf("an unstored token is out: %v", err)
		}
	}
	_, err := clientOf(t, server, source).GetApplicationConfig(ctx, true)
	resttest.CheckError(t, err)
	store.fail = nil
	next, err := source.Refresh(ctx, old)
	if err != nil || next.AccessToken != resttest.Mark+"-access-1" || server.asked != 1 {
		t.Errorf("%v, %d refreshes", err, server.asked)
	}
	if stored, err := ts.Get(ctx, "member1"); err != nil || stored.RefreshToken != resttest.Mark+"-refresh-1" {
		t.Errorf("stored %v, %v", stored, err)
	}
}

// TestTokens_FinalRefusals: the same refresh token is not sent twice, and a new one
// put into the store by another process ends it.
func TestTokens_FinalRefusals(t *testing.T) {
	ctx := context.Background()
	for code, want := range map[string]error{"invalid_grant": b24pull.ErrInvalidGrant, "PAYMENT_REQUIRED": b24pull.ErrPaymentRequired} {
		server, store := &rotating{}, new(MemoryStore)
		server.refuse = func() (int, any) { return 400, map[string]any{"error": code} }
		ts := keep(t, server, store)
		source, old := ts.Source("member1"), bare(server.present())
		for range 3 {
			if _, err := source.Refresh(ctx, old); !errors.Is(err, want) {
				t.Errorf("%s: got %v", code, err)
			}
		}
		if server.asked != 1 {
			t.Errorf("%s: asked %d times", code, server.asked)
		}
		next := server.present()
		next.AccessToken = resttest.Mark + "-new"
		if err := put(ctx, store, "member1", next); err != nil {
			t.Fatal(err)
		}
		if got, err := source.Refresh(ctx, old); err != nil || got.AccessToken != next.AccessToken {
			t.Errorf("%s: %v after a new token", code, err)
		}
	}
	server := &rotating{refuse: func() (int, any) { return 503, "" }}
	source := keep(t, server, new(MemoryStore)).Source("member1")
	for range 2 {
		source.Refresh(ctx, bare(server.present()))
	}
	if server.asked != 2 {
		t.Errorf("a failing server was asked %d times", server.asked)
	}
}

// TestTokens_CancelledWaiter: who gives up does not take the answer from the others,
// nor the token from the store.
func TestTokens_CancelledWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 10 * time.Second}
		ts := keep(t, server, new(MemoryStore))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := ts.Source("member1").Refresh(ctx, bare(server.present())); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if _, err := ts.Source("member1").Refresh(ctx, bare(server.present())); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := ts.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v", err)
		}
		if err := ts.Wait(t.Context()); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("Wait: %v after %v", err, time.Since(start))
		}
		if stored, err := ts.Get(t.Context(), "member1"); err != nil || stored.AccessToken != resttest.Mark+"-access-1" {
			t.Errorf("stored %v, %v", stored, err)
		}
	})
}

// TestTokens_DeletedWhileRefreshed: the refresh does not bring the token back.
func TestTokens_DeletedWhileRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: 10 * time.Second}
		ts := keep(t, server, new(MemoryStore))
		source := ts.Source("member1")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := source.Refresh(t.Context(), bare(server.present())); !errors.Is(err, b24pull.ErrUninstalled) {
				t.Errorf("refreshed: %v", err)
			}
		})
		time.Sleep(time.Second)
		if err := ts.Delete(t.Context(), "member1"); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, err := ts.Get(t.Context(), "member1"); !errors.Is(err, b24pull.ErrNoToken) {
			t.Errorf("stored: %v", err)
		}
	})
}

// TestTokens_DeletedElsewhere: another process has deleted the token.
func TestTokens_DeletedElsewhere(t *testing.T) {
	ctx := context.Background()
	server, store := &rotating{}, new(MemoryStore)
	ts := keep(t, server, store)
	source := ts.Source("member1")
	if err := remove(ctx, store, "member1"); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Refresh(ctx, bare(server.present())); !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("got %v", err)
	}
	if _, err := ts.Source("member2").Token(); !errors.Is(err, b24pull.ErrNoToken) {
		t.Errorf("got %v", err)
	}
	_, err := clientOf(t, server, source).GetApplicationConfig(ctx, true)
	var typed *b24pull.TokenError
	if !errors.As(err, &typed) || !errors.Is(err, b24pull.ErrUninstalled) {
		t.Errorf("got %v", err)
	}
}

func TestTokens_Update(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &rotating{took: time.Second, endpoint: "https://portal.example/rest/"}
		ts := keep(t, server, new(MemoryStore))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := ts.Source("member1").Refresh(t.Context(), bare(server.present())); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		err := ts.Update(t.Context(), "member1", func(token *Token) error { token.Portal = "https://new.example"; return nil })
		wg.Wait()
		stored, gone := ts.Get(t.Context(), "member1")
		if err != nil || gone != nil || stored.Portal != "https://new.example" || stored.AccessToken != resttest.Mark+"-access-1" {
			t.Errorf("%v, %v, %v", err, gone, stored)
		}
		stop := errors.New("stop")
		if err := ts.Update(t.Context(), "member1", func(*Token) error { return stop }); err != stop {
			t.Error(err)
		}
		if err := ts.Update(t.Context(), "member2", func(*Token) error { return nil }); !errors.Is(err, b24pull.ErrNoToken) {
			t.Error(err)
		}
	})
}
