package oauth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/resttest"
)

func fileStore(t *testing.T) *TokenFolder {
	t.Helper()
	store, err := NewTokenFolder(filepath.Join(t.TempDir(), "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore_Stores(t *testing.T) {
	ctx := context.Background()
	for name, store := range map[string]TokenStore{"memory": new(MemoryStore), "file": fileStore(t)} {
		t.Run(name, func(t *testing.T) {
			keys := []string{"member1", "Member1", "member1/67", "..", ".", "ä", "%2e"}
			for _, key := range keys {
				if _, err := store.Load(ctx, key); !errors.Is(err, b24pull.ErrNoToken) {
					t.Errorf("%q: %v", key, err)
				}
				if err := remove(ctx, store, key); err != nil {
					t.Errorf("%q: %v", key, err)
				}
			}
			token := (&rotating{}).present()
			for i, key := range keys {
				token.UserID = int64(i)
				if err := put(ctx, store, key, token); err != nil {
					t.Fatal(err)
				}
			}
			for i, key := range keys {
				if got, err := store.Load(ctx, key); err != nil || got.UserID != int64(i) || got.AccessToken != token.AccessToken {
					t.Errorf("%q: %v, %v", key, got, err)
				}
			}
			if files, ok := store.(*TokenFolder); ok {
				slices.Sort(keys)
				if got, err := files.Keys(); err != nil || !slices.Equal(got, keys) {
					t.Errorf("keys %q, %v", got, err)
				}
			}
			if err := remove(ctx, store, "member1"); err != nil {
				t.Error(err)
			}
			if _, err := store.Load(ctx, "member1"); !errors.Is(err, b24pull.ErrNoToken) {
				t.Errorf("after Delete: %v", err)
			}
			held, err := store.Lock(ctx, "member1")
			if err != nil {
				t.Fatal(err)
			}
			brief, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			defer cancel()
			_, err = store.Lock(brief, "member1")
			if !errors.Is(err, context.DeadlineExceeded) || name == "file" && !strings.Contains(err.Error(), "another process holds") {
				t.Errorf("locked twice: %v", err)
			}
			t.Log(err)
			other, err := store.Lock(ctx, "member2")
			if err != nil {
				t.Fatal(err)
			}
			other.Unlock()
			held.Unlock()
			again, err := store.Lock(ctx, "member1")
			if err != nil {
				t.Fatal(err)
			}
			again.Unlock()
		})
	}
}

// TestStore_LockWithoutToken: a key that has no token is locked all the same. Its
// file stays, with nothing in it: one that was removed could be locked beside
// another in its place.
func TestStore_LockWithoutToken(t *testing.T) {
	t.Parallel()
	files, memory := fileStore(t), new(MemoryStore)
	for name, store := range map[string]TokenStore{"memory": memory, "file": files} {
		var inside atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					held, err := store.Lock(context.Background(), "nobody")
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Errorf("%s: two have the lock", name)
					}
					time.Sleep(100 * time.Microsecond)
					inside.Add(-1)
					held.Unlock()
				}
			})
		}
		wg.Wait()
	}
	left, err := os.ReadDir(files.folder)
	if err != nil || len(left) != 1 || len(memory.locks) != 0 {
		t.Fatalf("left: %v, %v, %d locks in memory", left, err, len(memory.locks))
	}
	if info, err := left[0].Info(); err != nil || left[0].Name() != "nobody.lock" || info.Size() != 0 || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestStore_Copies: what a caller changes is his own.
func TestStore_Copies(t *testing.T) {
	ctx := context.Background()
	store := new(MemoryStore)
	token := (&rotating{}).present()
	token.Scope = []string{"crm"}
	ts, err := NewTokens(testApp(nil), store)
	if err != nil {
		t.Fatal(err)
	}
	if err := ts.Put(ctx, "member1", token); err != nil {
		t.Fatal(err)
	}
	token.Scope[0] = "changed"
	for range 2 {
		stored, err := ts.Get(ctx, "member1")
		if err != nil || stored.Scope[0] != "crm" {
			t.Fatalf("got %v, %v", stored.Scope, err)
		}
		stored.Scope[0] = "changed"
	}
}

func TestStore_TokenFolderFiles(t *testing.T) {
	ctx := context.Background()
	store := fileStore(t)
	left := filepath.Join(store.folder, "member1.json.tmp")
	if err := os.WriteFile(left, []byte("half a to"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, store, "member1", (&rotating{}).present()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(store.folder, "member1.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(store.folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of a crash: %v", err)
	}
	for _, key := range []string{"", strings.Repeat("x", 201)} {
		if err := put(ctx, store, key, (&rotating{}).present()); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	if err := os.WriteFile(filepath.Join(store.folder, "member1.json"), []byte(`{"access_token":"`+resttest.Mark), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = store.Load(ctx, "member1")
	resttest.CheckError(t, err)
	if err := os.RemoveAll(store.folder); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, store, "member1", (&rotating{}).present()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := store.Lock(ctx, "member1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}

// TestStore_AfterUnlock: who has released a lock does nothing under it any
// more, nor is it released again for who has it then.
func TestStore_AfterUnlock(t *testing.T) {
	ctx := context.Background()
	for name, store := range map[string]TokenStore{"memory": new(MemoryStore), "file": fileStore(t)} {
		held, err := store.Lock(ctx, "member1")
		if err != nil {
			t.Fatal(err)
		}
		token := (&rotating{}).present()
		if err := held.Save(ctx, token); err != nil {
			t.Fatal(err)
		}
		held.Unlock()
		next, err := store.Lock(ctx, "member1")
		if err != nil {
			t.Fatal(err)
		}
		held.Unlock()
		brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		if third, err := store.Lock(brief, "member1"); err == nil {
			t.Errorf("%s: a second Unlock has released another one's lock", name)
			third.Unlock()
		}
		cancel()
		_, loaded := held.Load(ctx)
		for _, err := range []error{loaded, held.Save(ctx, token), held.Delete(ctx)} {
			if !errors.Is(err, ErrLockLost) {
				t.Errorf("%s: after Unlock: %v", name, err)
			}
		}
		if got, err := next.Load(ctx); err != nil || got.AccessToken != token.AccessToken {
			t.Errorf("%s: loaded %v, %v", name, got, err)
		}
		next.Unlock()
	}
}
