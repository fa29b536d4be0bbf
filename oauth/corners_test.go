package oauth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// stuckStore does not come back from Load while it is stuck, whatever its
// context.
type stuckStore struct {
	MemoryStore
	stuck chan struct{}
}

func (s *stuckStore) Load(ctx context.Context, key string) (*Token, error) {
	if s.stuck != nil {
		<-s.stuck
	}
	return s.MemoryStore.Load(ctx, key)
}

// TestCorners_RereadThatHangs: nor does a call outlast its deadline where the token is
// read once more.
func TestCorners_RereadThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(stuckStore)
		source := keep(t, new(rotating), store).Source("member1")
		if _, err := source.Token(); err != nil {
			t.Fatal(err)
		}
		rest := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
			return resttest.JSONResponse(r, http.StatusUnauthorized, map[string]any{"error": "NO_AUTH_FOUND"}), nil
		})
		c := mustNew(t, b24pull.OAuth("portal.example", source), b24pull.WithHTTPClient(&http.Client{Transport: rest}), b24pull.WithLimiter(nil))
		store.stuck = make(chan struct{})
		time.AfterFunc(time.Hour, func() { close(store.stuck) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.GetApplicationConfig(ctx, true); err == nil || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		time.Sleep(2 * time.Hour) // until Load is back
	})
}

// slowUnlock takes its time to release a lock.
type slowUnlock struct{ MemoryStore }

func (s *slowUnlock) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, &s.MemoryStore, key, func(held LockedToken) tapped {
		return tapped{unlock: func() { time.Sleep(50 * time.Millisecond); held.Unlock() }}
	})
}

// TestCorners_RefusedWhileLanding: a refresh underway that has brought a token which is
// refused by now does not give it to who has been refused.
func TestCorners_RefusedWhileLanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(slowUnlock)
		ts := keep(t, new(rotating), store)
		elsewhere, err := NewTokens(ts.app, store)
		if err != nil {
			t.Fatal(err)
		}
		source := ts.Source("member1")
		old, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := elsewhere.Source("member1").Refresh(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		go source.Refresh(t.Context(), old) // takes over the other one's token, and releases the lock
		time.Sleep(10 * time.Millisecond)
		now, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		next, err := source.Refresh(t.Context(), now)
		if err != nil || next.AccessToken == now.AccessToken || next.AccessToken == old.AccessToken {
			t.Errorf("got an old token, error %v", err)
		}
	})
}

// TestCorners_SentAndThenNot: a transport that tries again by itself may have sent the
// request before it got no connection.
func TestCorners_SentAndThenNot(t *testing.T) {
	calls := 0
	portal := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		panic(http.ErrAbortHandler)
	}))
	defer portal.Close()
	again := resttest.RoundTrip(func(r *http.Request) (*http.Response, error) {
		if _, err := portal.Client().Transport.RoundTrip(r); err == nil {
			t.Error("the answer was not cut off")
		}
		return nil, &net.OpError{Op: "dial", Err: errors.New("no route to host")}
	})
	c := mustNew(t, b24pull.Webhook(portal.URL+"/rest/1/s3cr3t/"), b24pull.WithHTTPClient(&http.Client{Transport: again}), b24pull.WithLimiter(nil))
	_, err := c.Call(t.Context(), "im.notify", map[string]any{}, nil)
	if b24pull.ClassOf(err) == b24pull.ClassNotSent || calls != 1 {
		t.Errorf("class %v after %d calls: %v", b24pull.ClassOf(err), calls, err)
	}
}
