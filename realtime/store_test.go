package realtime

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestFileStoreDamaged: a file that is no cursor ends the subscription and stays as it is.
func TestFileStoreDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	store := NewFileStore(path)
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
		onVirtualTime(t, func(t *testing.T, l *life) {
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
	if err := NewFileStore(filepath.Join(path, "no folder")).Save(t.Context(), after(7)); err == nil {
		t.Error("saved where there is no folder")
	}
}

// frailDisk is a disk in memory that fails. What was not synced by then may be lost.
type frailDisk struct {
	links  map[string]string
	names  map[string]*frailFile // as the system shows it
	synced map[string]*frailFile // what is sure to be there after a power cut
	good   int                   // operations that go well
	once   bool                  // only one fails then: no power cut
}

type frailFile struct {
	disk            *frailDisk
	content, synced []byte
}

var errFrail = errors.New("no power")

func newFrailDisk() *frailDisk {
	return &frailDisk{names: map[string]*frailFile{}, synced: map[string]*frailFile{}, good: 1000}
}

func (d *frailDisk) operate(do func()) error {
	d.good--
	if d.good == -1 || d.good < -1 && !d.once {
		return errFrail
	}
	do()
	return nil
}

func (d *frailDisk) ReadFile(path string) ([]byte, error) {
	if f := d.names[path]; f != nil {
		return f.content, nil
	}
	return nil, fs.ErrNotExist
}

func (d *frailDisk) Readlink(path string) (string, error) {
	if to, ok := d.links[path]; ok {
		return to, nil
	}
	return "", fs.ErrInvalid
}

func (d *frailDisk) Create(path string) (diskFile, error) {
	f := &frailFile{disk: d}
	return f, d.operate(func() { d.names[path] = f })
}

// Open opens the folder.
func (d *frailDisk) Open(string) (diskFile, error) { return frailFolder{d}, nil }

type frailFolder struct{ disk *frailDisk }

func (frailFolder) Write([]byte) (int, error) { return 0, fs.ErrInvalid }
func (frailFolder) Close() error              { return nil }

func (f frailFolder) Sync() error {
	return f.disk.operate(func() { f.disk.synced = maps.Clone(f.disk.names) })
}

// Rename wants both names in one folder, which are always on one file system.
func (d *frailDisk) Rename(from, to string) error {
	if d.names[from] == nil || filepath.Dir(from) != filepath.Dir(to) {
		return fs.ErrInvalid
	}
	return d.operate(func() {
		d.names[to] = d.names[from]
		delete(d.names, from)
	})
}

func (d *frailDisk) Remove(path string) error {
	if d.names[path] == nil {
		return fs.ErrNotExist
	}
	return d.operate(func() { delete(d.names, path) })
}

func (f *frailFile) Write(p []byte) (int, error) {
	return len(p), f.disk.operate(func() { f.content = append(f.content, p...) })
}

func (f *frailFile) Sync() error {
	return f.disk.operate(func() { f.synced = slices.Clone(f.content) })
}

func (f *frailFile) Close() error { return f.disk.operate(func() {}) }

// afterwards is the disk when the machine has started again. What was not synced is there, or is not.
func (d *frailDisk) afterwards(names, contents bool) *frailDisk {
	there := d.synced
	if names {
		there = d.names
	}
	again := newFrailDisk()
	for name, f := range there {
		kept := f.synced
		if contents {
			kept = f.content
		}
		again.names[name] = &frailFile{again, kept, kept}
	}
	again.synced = maps.Clone(again.names)
	return again
}

// TestFileStorePowerCut: whenever the power is cut, or whatever fails, there is the cursor before or the one after, and
// the one after once Save has returned nil. The next save goes well and leaves nothing behind.
func TestFileStorePowerCut(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("folders are not synced there")
	}
	const path = "folder/cursor"
	yes := []bool{false, true}
	for _, before := range []Cursor{{}, after(1)} {
		for _, once := range yes {
			for good, saved := 0, false; !saved; good++ {
				disk := newFrailDisk()
				if !before.IsZero() {
					if err := (&FileStore{path: path, disk: disk}).Save(t.Context(), before); err != nil {
						t.Fatal(err)
					}
				}
				disk.good, disk.once = good, once
				err := (&FileStore{path: path, disk: disk}).Save(t.Context(), after(2))
				saved = disk.good >= 0
				if failed := err != nil; failed == saved {
					t.Errorf("%d operations went well: Save returned %v", good, err)
				}
				if once && disk.names[path+".tmp"] != nil {
					t.Errorf("%d operations went well: the new file was left", good)
				}
				for _, names := range yes {
					for _, contents := range yes {
						again := disk.afterwards(names, contents)
						store := &FileStore{path: path, disk: again}
						c, err := store.Load(t.Context())
						old, fresh := c.String() == before.String(), c.String() == after(2).String()
						if err != nil || !fresh && (saved || !old) {
							t.Errorf("%d operations went well, cut %v: loaded %v, %v; unsynced names %v, contents %v", good, !once, c, err, names, contents)
						}
						if err := store.Save(t.Context(), after(3)); err != nil || len(again.names) != 1 {
							t.Errorf("the next save: %v, %d files", err, len(again.names))
						}
					}
				}
			}
		}
	}
}

// TestFileStoreLeftover: what a process left that was killed in a save is in nobody's way, and does not stay.
func TestFileStoreLeftover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	if err := os.WriteFile(path+".tmp", []byte("half a cur"), 0o400); err != nil {
		t.Fatal(err)
	}
	store := NewFileStore(path)
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
	if c, err := NewFileStore(path).Load(context.Background()); err != nil || c.String() != want.String() {
		t.Errorf("loaded %v, %v", c, err)
	}
}

// TestFileStoreLink: a link stays one, and the file it leads to is replaced, in its own folder.
func TestFileStoreLink(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := t.TempDir()
		for _, folder := range []string{"data", "links", "links/far"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		file, first, second := filepath.Join(dir, "data", "file"), filepath.Join(dir, "links", "first"), filepath.Join(dir, "links", "far", "second")
		if there {
			if err := NewFileStore(file).Save(t.Context(), after(1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink(filepath.Join("..", "data", "file"), first), os.Symlink(first, second)); err != nil {
			if runtime.GOOS == "windows" {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		if err := NewFileStore(second).Save(t.Context(), after(7)); err != nil {
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
	disk := newFrailDisk()
	disk.links = map[string]string{"links/cursor": "../data/file"}
	if err := (&FileStore{path: "links/cursor", disk: disk}).Save(t.Context(), after(7)); err != nil {
		t.Errorf("the new file is not beside the target: %v", err)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Skip(err)
	}
	if err := NewFileStore(loop).Save(t.Context(), after(7)); err == nil {
		t.Error("saved where a link leads to itself")
	}
}

// TestFileStoreShared: who finds that another has written the file is told so, once, and goes on.
func TestFileStoreShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	one, other := NewFileStore(path), NewFileStore(path)
	for _, s := range []*FileStore{one, other} {
		if _, err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n := uint64(0)
	save := func(s *FileStore, well bool) {
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
