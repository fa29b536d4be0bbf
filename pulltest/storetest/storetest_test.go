package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/b24pull/b24pull/oauth"
	"github.com/b24pull/b24pull/pulltest/storetest"
	"github.com/b24pull/b24pull/realtime"
)

func TestStores_MemoryStore(t *testing.T) {
	t.Parallel()
	store := new(oauth.MemoryStore)
	storetest.Tokens(t, func(*testing.T) oauth.TokenStore { return store })
}

func TestStores_TokenFolder(t *testing.T) {
	t.Parallel()
	storetest.TokensOfProcesses(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "tokens") },
		func(t *testing.T, folder string) oauth.TokenStore {
			store, err := oauth.NewTokenFolder(folder)
			if err != nil {
				t.Fatal(err)
			}
			return store
		})
}

func TestStores_CursorFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	storetest.Cursors(t, func(t *testing.T) realtime.CursorStore {
		store, err := realtime.NewCursorFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}

func TestStores_CursorMemory(t *testing.T) {
	t.Parallel()
	store := new(realtime.MemoryStore)
	storetest.Cursors(t, func(*testing.T) realtime.CursorStore { return store })
}

// TestStores_Example: the store of the example is one.
func TestStores_Example(t *testing.T) {
	t.Parallel()
	store := newOwnStore()
	storetest.Tokens(t, func(*testing.T) oauth.TokenStore { return store })
}
