package realtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/b24pull/b24pull/internal/mounttest"
)

// wantNoStart checks that a run with a store ends before its first message, and
// with what.
func wantNoStart(t *testing.T, store CursorStore, opts []Option, says ...string) {
	t.Helper()
	onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
		l.open()
		l.emit("kept")
		l.subscribe(nil, append(opts, WithCursorStore(store))...)
		l.run(nil)
		select {
		case <-l.done:
		case <-time.After(time.Minute):
			t.Error("still running after a minute")
			l.want()
			return
		}
		l.want()
		for _, text := range says {
			if l.err == nil || !strings.Contains(l.err.Error(), text) {
				t.Errorf("Run returned %v, which does not say %q", l.err, text)
			}
		}
		if changes := l.changes(StateClosed); len(changes) != 1 || changes[0].From != StateIdle {
			t.Errorf("changes: %+v", changes)
		}
	})
}

// TestStore_FailsAtStart: a store that cannot save is found before the first
// message, also where there is nothing to be saved yet, and nothing of it stays
// behind.
func TestStore_FailsAtStart(t *testing.T) {
	dir := t.TempDir()
	stands := filepath.Join(dir, "cursor.tmp")
	if err := os.MkdirAll(filepath.Join(stands, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		says       []string
	}{
		{"no folder", filepath.Join(dir, "none", "cursor"), []string{"none", "make the folder"}},
		{"a folder", dir, []string{dir, "no regular file"}},
		{"a device", os.DevNull, []string{"no regular file"}},
		{"the name of the new file is taken", filepath.Join(dir, "cursor"), []string{stands, "remove it"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, opts := range [][]Option{nil, {WithHistory()}} {
				wantNoStart(t, cursorFile(tt.path), opts, tt.says...)
			}
		})
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// TestStore_FailsAtStartMounted: the same where the file system is at fault.
func TestStore_FailsAtStartMounted(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		for _, there := range []bool{false, true} {
			folder := filepath.Join(dir, fmt.Sprint(there))
			path := filepath.Join(folder, "cursor")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if there {
				if err := cursorFile(path).Save(t.Context(), after(1)); err != nil {
					t.Fatal(err)
				}
			}
			mounttest.ReadOnly(t, folder)
			wantNoStart(t, cursorFile(path), nil, path, "read-only", "may write")
		}
		alone := filepath.Join(dir, "alone")
		if err := os.WriteFile(alone, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		mounttest.ReadOnly(t, alone)
		wantNoStart(t, cursorFile(alone), nil, alone, "read-only", "may write")
		full := filepath.Join(dir, "full")
		if err := os.Mkdir(full, 0o700); err != nil {
			t.Fatal(err)
		}
		mounttest.Small(t, full, "64k")
		for n := 0; ; n++ {
			if err := os.WriteFile(filepath.Join(full, fmt.Sprint(n)), make([]byte, 4096), 0o600); err != nil {
				break
			}
		}
		wantNoStart(t, cursorFile(filepath.Join(full, "cursor")), nil, "no space left")
		if left, _ := filepath.Glob(filepath.Join(full, "cursor*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// brokenStore is a user's that loads and does not save.
type brokenStore struct {
	MemoryStore
	saves []string
	fails atomic.Int32 // how often
}

func (s *brokenStore) Save(ctx context.Context, c Cursor) error {
	s.saves = append(s.saves, c.String())
	if s.fails.Add(-1) >= 0 {
		return errBroken
	}
	return s.MemoryStore.Save(ctx, c)
}

// unreadable is a user's that does not load.
type unreadable struct{ MemoryStore }

func (*unreadable) Load(context.Context) (Cursor, error) { return Cursor{}, errBroken }

// TestStore_OwnStoreDoesNotLoad: nobody takes that for an empty one, and the
// error says what has failed.
func TestStore_OwnStoreDoesNotLoad(t *testing.T) {
	wantNoStart(t, new(unreadable), []Option{WithHistory()}, errBroken.Error(), "loading the cursor")
}

// TestStore_OwnStoreFailsAtStart: a store of the user's is tried with what it
// has loaded. That costs one save, and changes nothing: not where a run goes
// on, and not that an empty store is one.
func TestStore_OwnStoreFailsAtStart(t *testing.T) {
	for _, begin := range []Cursor{{}, after(1)} {
		store := &brokenStore{MemoryStore: MemoryStore{cursor: begin}}
		store.fails.Store(1)
		wantNoStart(t, store, nil, errBroken.Error(), "saving the cursor")
		if len(store.saves) != 1 || store.saves[0] != begin.String() {
			t.Errorf("saved %q", store.saves)
		}
	}
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(brokenStore)
		l.open()
		l.emit("kept")
		l.subscribe(nil, WithCursorStore(store), WithHistory())
		l.run(nil)
		<-l.sub.Ready()
		l.want("kept")
		if store.saves[0] != "" {
			t.Errorf("saved %q", store.saves)
		}
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		begin := len(store.saves)
		before := store.saves[begin-1]
		next := l.goOn(store, nil)
		time.Sleep(time.Minute)
		next.want()
		if store.saves[begin] != before {
			t.Errorf("began with saving %q after %q", store.saves[begin], before)
		}
	})
}

// TestStore_FailsLater: what fails once it has gone well is tried again.
func TestStore_FailsLater(t *testing.T) {
	onVirtualTime(t, func(t *testing.T, l *life) {
		store := new(brokenStore)
		l.start(nil, WithCursorStore(store))
		time.Sleep(time.Minute)
		store.fails.Store(3)
		l.emit("one")
		time.Sleep(time.Minute)
		l.want("one")
		if err := l.stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if c, err := store.Load(t.Context()); err != nil || c.IsZero() || errors.Is(err, errBroken) {
			t.Errorf("loaded %v, %v", c, err)
		}
	})
}

// TestStore_FileMountedAlone: a container's usual way. The file cannot be
// replaced, and is written in place; an empty one is an empty store, since it
// cannot be removed.
func TestStore_FileMountedAlone(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		path, host := filepath.Join(dir, "cursor"), filepath.Join(dir, "host")
		for _, name := range []string{path, host} {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mounttest.Bind(t, host, path)
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil, WithCursorStore(cursorFile(path)))
			l.run(nil)
			select {
			case <-l.sub.Ready():
			case <-l.done:
				t.Fatalf("Run returned %v", l.err)
			}
			l.emit("one")
			time.Sleep(time.Minute)
			l.want("one")
			if err := l.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			l.emit("two")
			next := l.goOn(cursorFile(path), nil)
			time.Sleep(time.Minute)
			next.want("two")
			if err := next.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
		on, err := cursorFile(path).Load(t.Context())
		if err != nil || on.IsZero() {
			t.Errorf("loaded %v, %v", on, err)
		}
		wantCursorFile(t, host, on)
		if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
}
