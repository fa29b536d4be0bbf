package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/b24pull/b24pull/pulltest"
	"github.com/b24pull/b24pull/realtime"
)

// TestCursorFolder: each key has a file of its own, whatever it is, and the
// folder is nobody else's.
func TestCursorFolder(t *testing.T) {
	cursor := someCursor(t)
	folder := filepath.Join(t.TempDir(), "a", "b")
	cursors, err := NewCursorFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"a", "A", "../a", "a/b", "%41", "portal.example:8443", "a b", "ё"}
	for _, key := range keys {
		s := cursors.Cursors(key)
		if at, err := s.Load(t.Context()); err != nil || !at.IsZero() {
			t.Fatalf("%q: %v, %v", key, at, err)
		}
		if err := s.Save(t.Context(), cursor); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != len(keys) {
		t.Fatalf("%d files: %v", len(files), err)
	}
	slices.Sort(keys)
	if got, err := cursors.Keys(); err != nil || !slices.Equal(got, keys) {
		t.Errorf("Keys: %q, %v; want %q", got, err, keys)
	}
	for _, key := range keys {
		s := cursors.Cursors(key)
		if at, err := s.Load(t.Context()); err != nil || at.String() != cursor.String() {
			t.Errorf("%q: %v, %v", key, at, err)
		}
		if err := s.Save(t.Context(), realtime.Cursor{}); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 0 {
		t.Errorf("%d files are left: %v", len(files), err)
	}
	for _, key := range []string{"", strings.Repeat("k", 201)} {
		if _, err := cursors.Cursors(key).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "empty or too long") {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
}

// TestFleet_StoreOfNone: a key whose store cannot be had is told of, and tried
// again.
func TestFleet_StoreOfNone(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 2, n)
		broken, good := w.portals[0], w.portals[1]
		f := w.fleet(WithCursors(func(key string) realtime.CursorStore {
			if key == broken.MemberID() {
				return nil
			}
			return new(realtime.MemoryStore)
		}))
		w.add(f, broken)
		w.add(f, good)
		w.eventually("told", func() bool { return w.events.of(broken.MemberID(), KindFailed) == 1 })
		w.ready(good, 1)
		if e := w.events.last(broken.MemberID(), KindFailed); !strings.Contains(e.Err.Error(), "WithCursors has returned nil") {
			t.Errorf("told %v", e.Err)
		}
		w.must(f.Shutdown(t.Context()))
	})
}

// TestLeftCursors: so many are kept, and no more.
func TestLeftCursors(t *testing.T) {
	cursor := someCursor(t)
	var left leftCursors
	for i := range maxLeft + 10 {
		left.keep(fmt.Sprint(i), cursor)
		left.keep(fmt.Sprint(i), cursor)
	}
	left.keep("none", realtime.Cursor{})
	if len(left.at) != maxLeft || len(left.keys) != maxLeft {
		t.Errorf("%d and %d are kept", len(left.at), len(left.keys))
	}
	if !left.take("9").IsZero() || !left.take("none").IsZero() || left.take("10").IsZero() || !left.take("10").IsZero() {
		t.Error("not the oldest was dropped")
	}
}

// TestFleet_TellsNoSecrets: nothing that is printed has one.
func TestFleet_TellsNoSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pulltest.Network) {
		w := newWorld(t, 1, n)
		p := w.portals[0]
		var portal Portal
		r := w.run(WithReady(func(_ context.Context, of Portal) error {
			portal = of
			return errors.New("not now")
		}))
		w.must(p.InstallByEvent(t.Context(), r.at+"/install"))
		w.eventually("told", func() bool { return w.events.of(p.MemberID(), KindReadyFailed) == 1 })
		token, err := w.store.Load(t.Context(), p.MemberID())
		w.must(err)
		status, _ := r.app.Fleet().Status(p.MemberID())
		r.app.Fleet().mu.Lock()
		m := r.app.Fleet().members[p.MemberID()]
		r.app.Fleet().mu.Unlock()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			for _, value := range []any{r.app, r.app.Fleet(), status, r.app.Fleet().Stats(), portal, w.events.all, m.cursor, InstallPage()} {
				text := fmt.Sprintf(verb, value)
				for _, secret := range []string{"s3cr3t", token.AccessToken, token.RefreshToken, fmt.Sprintf("%x", token.AccessToken)} {
					if strings.Contains(text, secret) {
						t.Errorf("%s of %T has a secret", verb, value)
					}
				}
			}
		}
		r.stop()
	})
}

// TestKinds_AreWords: in JSON and logs.
func TestKinds_AreWords(t *testing.T) {
	var words []string
	for k := Kind(1); k < kinds; k++ {
		text, err := k.MarshalText()
		if err != nil || len(text) == 0 || string(text) != k.String() {
			t.Errorf("%d: %q, %v", k, text, err)
		}
		words = append(words, string(text))
	}
	for s := State(1); s < states; s++ {
		text, err := s.MarshalText()
		if err != nil || len(text) == 0 || string(text) != s.String() {
			t.Errorf("%d: %q, %v", s, text, err)
		}
	}
	slices.Sort(words)
	if len(slices.Compact(words)) != int(kinds)-1 || kinds.String() != fmt.Sprintf("Kind(%d)", kinds) || states.String() != fmt.Sprintf("State(%d)", states) {
		t.Errorf("words %q", words)
	}
}
