package storetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// brokenTokens are stores that are not what is asked of them, each by the check
// that has to find it.
var brokenTokens = []struct {
	check, what string
	store       func(good oauth.TokenStore) oauth.TokenStore
}{
	{"nothing", "no token is no error", func(good oauth.TokenStore) oauth.TokenStore {
		return &fake{TokenStore: good, load: func(ctx context.Context, key string) (*oauth.Token, error) {
			t, _ := good.Load(ctx, key)
			return t, nil
		}}
	}},
	{"nothing", "no token is another error", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(string, oauth.LockedToken) *fakeLocked {
			return &fakeLocked{load: func(context.Context) (*oauth.Token, error) { return nil, errRefused }}
		})
	}},
	{"nothing", "nothing cannot be deleted", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{del: func(context.Context) error { return b24pull.ErrNoToken }}
		})
	}},
	{"round trip", "no mark Revoked", saving(func(t *oauth.Token) { t.Revoked = false })},
	{"round trip", "no Scope", saving(func(t *oauth.Token) { t.Scope = nil })},
	{"round trip", "no application_token", saving(func(t *oauth.Token) { t.ApplicationToken = "" })},
	{"round trip", "no application_token_kept", saving(func(t *oauth.Token) {
		raw := strings.Replace(string(t.Raw()), `"application_token_kept":true`, `"application_token_kept":false`, 1)
		*t = oauth.Token{}
		if err := t.UnmarshalJSON([]byte(raw)); err != nil {
			panic(err)
		}
	})},
	{"round trip", "a number that is rounded", saving(func(t *oauth.Token) { t.UserID = int64(float32(t.UserID)) })},
	{"round trip", "quotes that are lost", saving(func(t *oauth.Token) { t.MemberID = strings.ReplaceAll(t.MemberID, "'", "") })},
	{"replace", "the first token stays", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				if _, err := held.Load(ctx); err == nil {
					return nil
				}
				return held.Save(ctx, t)
			}}
		})
	}},
	{"replace", "saved no sooner than at Unlock", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			var last *oauth.Token
			return &fakeLocked{save: func(_ context.Context, t *oauth.Token) error { last = t; return nil }, unlock: func() {
				if last != nil {
					held.Save(context.Background(), last)
				}
				held.Unlock()
			}}
		})
	}},
	{"delete", "nothing is deleted", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(string, oauth.LockedToken) *fakeLocked {
			return &fakeLocked{del: func(context.Context) error { return nil }}
		})
	}},
	{"delete", "what was deleted cannot come back", func(good oauth.TokenStore) oauth.TokenStore {
		var gone sync.Map
		return with(good, func(key string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{del: func(ctx context.Context) error { gone.Store(key, true); return held.Delete(ctx) },
				save: func(ctx context.Context, t *oauth.Token) error {
					if _, is := gone.Load(key); is {
						return nil
					}
					return held.Save(ctx, t)
				}}
		})
	}},
	{"copies", "everybody gets the same token", func(good oauth.TokenStore) oauth.TokenStore {
		var kept sync.Map
		same := func(key string, t *oauth.Token, err error) (*oauth.Token, error) {
			if err != nil {
				return nil, err
			}
			first, _ := kept.LoadOrStore(key, t)
			return first.(*oauth.Token), nil
		}
		store := with(good, func(key string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{load: func(ctx context.Context) (*oauth.Token, error) {
				t, err := held.Load(ctx)
				return same(key, t, err)
			}}
		}).(*fake)
		store.load = func(ctx context.Context, key string) (*oauth.Token, error) {
			t, err := good.Load(ctx, key)
			return same(key, t, err)
		}
		return store
	}},
	{"copies", "everybody gets the same Scope", func(good oauth.TokenStore) oauth.TokenStore {
		scope := []string{"crm", "pull"}
		return &fake{TokenStore: good, load: func(ctx context.Context, key string) (*oauth.Token, error) {
			t, err := good.Load(ctx, key)
			if err == nil {
				t.Scope = scope
			}
			return t, err
		}}
	}},
	{"keys", "capitals are no difference", renaming(func(key string) (string, error) { return strings.ToLower(key), nil })},
	{"keys", "spaces are cut off", renaming(func(key string) (string, error) { return strings.TrimSpace(key), nil })},
	{"keys", "paths are cleaned", renaming(func(key string) (string, error) { return filepath.Base(key), nil })},
	{"keys", "zeros end a key", renaming(func(key string) (string, error) { key, _, _ = strings.Cut(key, "\x00"); return key, nil })},
	{"keys", "a + is refused", renaming(func(key string) (string, error) {
		if strings.Contains(key, "+") {
			return "", errRefused
		}
		return key, nil
	})},
	{"long keys", "cut off at 191", renaming(func(key string) (string, error) { return key[:min(191, len(key))], nil })},
	{"long keys", "refused from 64 on", renaming(func(key string) (string, error) {
		if len(key) > 64 {
			return "", errRefused
		}
		return key, nil
	})},
	{"secrets", "the token in the error", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("%w: INSERT %s", err, t.Raw())
				}
				return held.Save(ctx, t)
			}}
		})
	}},
	{"secrets", "not saved and no error", func(good oauth.TokenStore) oauth.TokenStore {
		return with(good, func(_ string, held oauth.LockedToken) *fakeLocked {
			return &fakeLocked{save: func(ctx context.Context, t *oauth.Token) error {
				if ctx.Err() != nil {
					return nil
				}
				return held.Save(ctx, t)
			}}
		})
	}},
}

// TestBroken_Tokens: each check finds the stores that are not what it asks for.
func TestBroken_Tokens(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	for _, tt := range slices.Concat(brokenTokens, brokenLocks) {
		i := slices.IndexFunc(tokenChecks, func(c tokenCheck) bool { return c.name == tt.check })
		if i < 0 {
			t.Fatalf("there is no check %q", tt.check)
		}
		found[tt.check] = true
		said := failsInBubble(t, func(tb testing.TB) {
			store := tt.store(new(oauth.MemoryStore))
			tokenChecks[i].run(&bench{TB: tb, open: func() oauth.TokenStore { return store }})
		})
		if len(said) == 0 {
			t.Errorf("%s: a store goes through: %s", tt.check, tt.what)
		} else {
			t.Logf("%s: %s: %.160s", tt.check, tt.what, said[0])
		}
	}
	for _, c := range tokenChecks {
		if !found[c.name] {
			t.Errorf("no store fails %q", c.name)
		}
	}
}

// TestBroken_OpenedAgain: stores that are opened again and do not find what is
// there, or lock only each for itself.
func TestBroken_OpenedAgain(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		open   func(data *oauth.MemoryStore) oauth.TokenStore
		checks []string
	}{
		"a place of its own": {func(*oauth.MemoryStore) oauth.TokenStore { return new(oauth.MemoryStore) }, []string{"round trip", "replace", "exclusion", "context", "unlock"}},
		"a lock of its own": {func(data *oauth.MemoryStore) oauth.TokenStore {
			own := new(oauth.MemoryStore)
			return locking(unlocked(data), func(ctx context.Context, key string) (func(), error) {
				held, err := own.Lock(ctx, key)
				if err != nil {
					return nil, err
				}
				return held.Unlock, nil
			})
		}, []string{"exclusion", "context", "unlock"}},
	} {
		for _, name := range tt.checks {
			i := slices.IndexFunc(tokenChecks, func(c tokenCheck) bool { return c.name == name })
			if said := failsInBubble(t, func(tb testing.TB) {
				data := new(oauth.MemoryStore)
				tokenChecks[i].run(&bench{TB: tb, open: func() oauth.TokenStore { return tt.open(data) }})
			}); len(said) == 0 {
				t.Errorf("%s: stores go through of which each has %s", name, what)
			}
		}
	}
}

// leaving is a store whose locks are files that a process that dies leaves.
type leaving struct {
	oauth.TokenStore
	folder string
}

func (s leaving) Lock(ctx context.Context, key string) (oauth.LockedToken, error) {
	held, err := s.TokenStore.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.folder, key+".held")
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			f.Close()
			return &fakeLocked{LockedToken: held, unlock: func() { os.Remove(path); held.Unlock() }}, nil
		}
		select {
		case <-ctx.Done():
			held.Unlock()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestBroken_Death: a lock that stays when a process has died is found.
func TestBroken_Death(t *testing.T) {
	open := func(t *testing.T, folder string) oauth.TokenStore {
		good, err := oauth.NewTokenFolder(filepath.Join(folder, "tokens"))
		if err != nil {
			t.Fatal(err)
		}
		return leaving{good, folder}
	}
	if folder, ok := os.LookupEnv(placeEnv); ok {
		holdLock(t, open(t, folder), os.Getenv(keyEnv))
	}
	t.Parallel()
	folder := t.TempDir()
	said := fails(impatient{t, 2 * time.Second}, func(tb testing.TB) {
		checkDeath(&bench{TB: tb, open: func() oauth.TokenStore { return open(t, folder) }}, func(key string) *exec.Cmd {
			return again(t.Name(), folder, key)
		})
	})
	if len(said) != 1 || !strings.Contains(said[0], "Lock: context deadline exceeded") {
		t.Errorf("said: %q", said)
	}
}
