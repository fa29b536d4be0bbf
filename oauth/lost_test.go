package oauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

// A losingStore loses each lock that is held when it is told to, and so nobody
// saves or deletes by it any more.
type losingStore struct {
	MemoryStore
	lose func() // called once, before something would be saved or deleted
}

func (s *losingStore) Lock(ctx context.Context, key string) (LockedToken, error) {
	return tap(ctx, &s.MemoryStore, key, func(held LockedToken) tapped {
		lost := func() error {
			if lose := s.lose; lose != nil {
				s.lose = nil
				held.Unlock()
				lose()
				return errors.Join(errors.New("the connection is gone"), ErrLockLost)
			}
			return nil
		}
		return tapped{save: func(ctx context.Context, t *Token) error {
			if err := lost(); err != nil {
				return err
			}
			return held.Save(ctx, t)
		}, del: func(ctx context.Context) error {
			if err := lost(); err != nil {
				return err
			}
			return held.Delete(ctx)
		}}
	})
}

// TestLost_WhileRefreshed: a lock that is lost while the authorization server
// answers costs no token: not the new one, which is stored under another lock,
// and not that of another process, which is taken in place of one's own.
func TestLost_WhileRefreshed(t *testing.T) {
	for _, other := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server, store := &rotating{}, new(losingStore)
			ts := keep(t, server, store)
			elsewhere, err := NewTokens(ts.app, &store.MemoryStore)
			if err != nil {
				t.Fatal(err)
			}
			old := bare(server.present())
			want := resttest.Mark + "-access-1"
			store.lose = func() {}
			if other { // is first: the refresh token is dead when one's own comes
				server.generation = 1
				store.lose = func() {
					if err := elsewhere.Put(t.Context(), "member1", server.present()); err != nil {
						t.Error(err)
					}
				}
			}
			source := ts.Source("member1")
			if got, err := source.Refresh(t.Context(), old); err != nil || got.AccessToken != want {
				t.Errorf("another is first: %v: %v", other, err)
			}
			if got, err := store.Load(t.Context(), "member1"); err != nil || got.AccessToken != want || got.Revoked {
				t.Errorf("another is first: %v: stored %v, %v", other, got, err)
			}
			if store.lose != nil || server.asked != 1 {
				t.Errorf("asked %d times", server.asked)
			}
		})
	}
}

// TestLost_Everything: what is put, changed, installed and deleted is so, once,
// although the lock is lost.
func TestLost_Everything(t *testing.T) {
	ctx := t.Context()
	store := new(losingStore)
	d := newDesk(t, store)
	lose := func() { store.lose = func() {} }
	lose()
	d.want("installed", d.handle(installOf("first", "app")), nil, "first-1 app")
	lose()
	changes := 0
	if err := d.tokens.Update(ctx, "member1", func(t *Token) error { changes++; t.UserID++; return nil }); err != nil || changes != 1 {
		t.Errorf("Update: %v, changed %d times", err, changes)
	}
	if got, err := d.tokens.Get(ctx, "member1"); err != nil || got.UserID != 1 {
		t.Errorf("changed: user %d, %v", got.UserID, err)
	}
	lose()
	d.want("uninstalled", d.handle(uninstallEvent(resttest.Mark+"app")), nil, "nothing")
	lose()
	if err := d.tokens.Put(ctx, "member2", (&rotating{}).present()); err != nil {
		t.Error(err)
	}
	lose()
	if err := d.tokens.Delete(ctx, "member2"); err != nil {
		t.Error(err)
	}
	if _, err := d.tokens.Get(ctx, "member2"); !errors.Is(err, b24pull.ErrNoToken) || store.lose != nil {
		t.Errorf("deleted: %v", err)
	}
}
