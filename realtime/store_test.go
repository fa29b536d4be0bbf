package realtime

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// cursorFile is the store in the file at a path.
func cursorFile(path string) *CursorFile {
	store, err := NewCursorFile(path)
	if err != nil {
		panic(err)
	}
	return store
}

// TestStore_CursorFileNoPath: an empty path is refused at once, and a store
// that was made by hand does not write to it either.
func TestStore_CursorFileNoPath(t *testing.T) {
	store, refused := NewCursorFile("")
	if store != nil {
		t.Error("a store of no file")
	}
	byHand := new(CursorFile)
	_, loaded := byHand.Load(t.Context())
	for _, err := range []error{refused, loaded, byHand.Save(t.Context(), after(7))} {
		if err == nil || !strings.Contains(err.Error(), "the path is empty; give NewCursorFile") {
			t.Errorf("no path: %v", err)
		}
	}
}

// TestStore_CursorFileDamaged: a file that is no cursor ends the subscription
// and stays as it is.
func TestStore_CursorFileDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	store := cursorFile(path)
	if err := store.Save(t.Context(), after(7)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := store.Load(t.Context()); err != nil || c.String() != after(7).String() {
		t.Fatalf("loaded %v, %v", c, err)
	}
	for _, content := range []string{"", "\n", "garbage", string(whole[:len(whole)/2])} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		onVirtualTimeInTurn(t, func(t *testing.T, l *life) {
			l.open()
			l.subscribe(nil, WithCursorStore(store))
			l.run(nil)
			<-l.done
			if l.err == nil || !strings.Contains(l.err.Error(), path) || !strings.Contains(l.err.Error(), "remove it") {
				t.Errorf("%q: Run returned %v", content, l.err)
			}
		})
		if kept, err := os.ReadFile(path); err != nil || string(kept) != content {
			t.Errorf("%q became %q, %v", content, kept, err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if err := cursorFile(filepath.Join(path, "no folder")).Save(t.Context(), after(7)); err == nil {
		t.Error("saved where there is no folder")
	}
}

// TestStore_CursorFileZero: the zero cursor is none, also after another one.
func TestStore_CursorFileZero(t *testing.T) {
	store := cursorFile(filepath.Join(t.TempDir(), "cursor"))
	for _, c := range []Cursor{{}, after(7), {}, {}, after(8)} {
		if err := store.Save(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Load(t.Context()); err != nil || got.String() != c.String() {
			t.Errorf("loaded %v, %v after %v", got, err, c)
		}
	}
}

// TestStore_CursorFileLeftover: what a process left that was killed in a save is
// in nobody's way, and does not stay.
func TestStore_CursorFileLeftover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	if err := os.WriteFile(path+".tmp", []byte("half a cur"), 0o400); err != nil {
		t.Fatal(err)
	}
	store := cursorFile(path)
	if c, err := store.Load(t.Context()); err != nil || !c.IsZero() {
		t.Fatalf("loaded %v, %v", c, err)
	}
	if err := store.Save(t.Context(), after(7)); err != nil {
		t.Fatal(err)
	}
	wantCursorFile(t, path, after(7))
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func wantCursorFile(t *testing.T, path string, want Cursor) {
	t.Helper()
	if c, err := cursorFile(path).Load(context.Background()); err != nil || c.String() != want.String() {
		t.Errorf("loaded %v, %v", c, err)
	}
}

// TestStore_CursorFileLink: a link stays one, and the file it leads to is
// replaced, in its own folder.
func TestStore_CursorFileLink(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := t.TempDir()
		for _, folder := range []string{"data", "links", "links/far"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		file, first, second := filepath.Join(dir, "data", "file"), filepath.Join(dir, "links", "first"), filepath.Join(dir, "links", "far", "second")
		if there {
			if err := cursorFile(file).Save(t.Context(), after(1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink(filepath.Join("..", "data", "file"), first), os.Symlink(first, second)); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		if err := cursorFile(second).Save(t.Context(), after(7)); err != nil {
			t.Fatal(err)
		}
		for _, link := range []string{first, second} {
			if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("%s is no link any more: %v, %v", link, info, err)
			}
		}
		wantCursorFile(t, file, after(7))
		for _, folder := range []string{"data", "links/far"} {
			if files, err := os.ReadDir(filepath.Join(dir, folder)); err != nil || len(files) != 1 {
				t.Errorf("%s: %v, %v", folder, files, err)
			}
		}
	}
	open := t.TempDir()
	if err := errors.Join(os.Chmod(open, 0o777), os.Symlink(filepath.Join(t.TempDir(), "ours"), filepath.Join(open, "planted"))); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"loaded": func() error { _, err := cursorFile(filepath.Join(open, "planted")).Load(t.Context()); return err }(),
		"saved":  cursorFile(filepath.Join(open, "planted")).Save(t.Context(), after(7)),
	} {
		if runtime.GOOS != "windows" && (err == nil || !strings.Contains(err.Error(), "everybody may write")) {
			t.Errorf("%s where everybody can have put the link: %v", name, err)
		}
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Skip(err)
	}
	if err := cursorFile(loop).Save(t.Context(), after(7)); err == nil {
		t.Error("saved where a link leads to itself")
	}
}

// TestStore_CursorFileFolder: a cursor is not kept where anybody may replace it.
func TestStore_CursorFileFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing")
	}
	dir := t.TempDir()
	open, sticky, own := filepath.Join(dir, "open"), filepath.Join(dir, "sticky"), filepath.Join(dir, "own")
	for _, folder := range []string{filepath.Join(open, "in"), filepath.Join(sticky, "in"), own} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(open, 0o777), os.Chmod(sticky, 0o777|fs.ModeSticky),
		os.Symlink(open, filepath.Join(dir, "link")), os.Symlink(own, filepath.Join(dir, "link to own")),
		os.Symlink(filepath.Join(open, "cursor"), filepath.Join(own, "led away"))); err != nil {
		t.Fatal(err)
	}
	for path, well := range map[string]bool{
		"own/cursor": true, "sticky/in/cursor": true, "link to own/cursor": true,
		"open/cursor": false, "sticky/cursor": false, "open/in/cursor": false, "link/cursor": false, "own/led away": false,
	} {
		_, loaded := cursorFile(filepath.Join(dir, path)).Load(t.Context())
		for _, err := range []error{loaded, cursorFile(filepath.Join(dir, path)).Save(t.Context(), after(7))} {
			if well && err != nil || !well && (err == nil || !strings.Contains(err.Error(), "everybody may write it") || !strings.Contains(err.Error(), dir)) {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// TestStore_CursorFileShared: who finds that another has written the file is
// told so, once, and goes on.
func TestStore_CursorFileShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	one, other := cursorFile(path), cursorFile(path)
	for _, s := range []*CursorFile{one, other} {
		if _, err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n := uint64(0)
	save := func(s *CursorFile, well bool) {
		t.Helper()
		n++
		before, _ := os.ReadFile(path)
		err := s.Save(t.Context(), after(n))
		if well && err != nil || !well && (err == nil || !strings.Contains(err.Error(), "another") || !strings.Contains(err.Error(), path)) {
			t.Errorf("save %d: %v", n, err)
		}
		if now, _ := os.ReadFile(path); bytes.Equal(now, before) == well {
			t.Errorf("save %d: the file holds %q", n, now)
		}
	}
	save(one, true)
	save(one, true)
	save(other, false)
	save(other, true)
	save(other, true)
	save(one, false)
	save(one, true)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	save(one, true)
	if _, err := other.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	save(other, true)
}
