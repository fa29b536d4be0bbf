package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/mounttest"
)

// wantNoStore checks that a folder is refused, and with what.
func wantNoStore(t *testing.T, folder string, says ...string) {
	t.Helper()
	_, err := NewTokenFolder(folder)
	for _, text := range says {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, which does not say %q", folder, err, text)
		}
	}
}

// TestStoreStart_TokenFolderFailsAtStart: a folder that cannot hold tokens is found before
// there is one.
func TestStoreStart_TokenFolderFailsAtStart(t *testing.T) {
	wantNoStore(t, "", "path is empty", "NewTokenFolder")
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantNoStore(t, file, file, "not a directory")
	if runtime.GOOS == "windows" {
		return
	}
	for _, mode := range []fs.FileMode{0o777, 0o777 | fs.ModeSticky, 0o702} {
		open := filepath.Join(dir, fmt.Sprint(mode))
		if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, mode)); err != nil {
			t.Fatal(err)
		}
		wantNoStore(t, open, open, "everybody may write", "chmod")
		own := filepath.Join(open, "own")
		if mode&fs.ModeSticky == 0 { // everybody may put another in its place
			wantNoStore(t, own, open+":", "everybody may write it, and replace own", "chmod +t")
		} else if _, err := NewTokenFolder(own); err != nil {
			t.Errorf("a folder of its own in that: %v", err)
		}
		link := filepath.Join(open, "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		wantNoStore(t, link, link, "is a link in a folder that everybody may write")
		link = filepath.Join(dir, fmt.Sprint("to ", mode))
		if err := os.Symlink(open, link); err != nil {
			t.Fatal(err)
		}
		wantNoStore(t, link, link, "everybody may write")
	}
	for _, mode := range []fs.FileMode{0o755, 0o770 | fs.ModeSetgid} { // the latter is a volume's of Kubernetes
		folder := filepath.Join(dir, fmt.Sprint(mode))
		if err := errors.Join(os.Mkdir(folder, 0o700), os.Chmod(folder, mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTokenFolder(folder); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		link := folder + " link"
		if err := os.Symlink(folder, link); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTokenFolder(link); err != nil {
			t.Errorf("a link to %v: %v", mode, err)
		}
		if files, err := os.ReadDir(folder); err != nil || len(files) != 0 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	}
}

// TestStoreStart_TokenFolderMounts: disks that are read-only or full, and a token's file
// that is mounted alone.
func TestStoreStart_TokenFolderMounts(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		ctx := context.Background()
		folders := map[string]string{}
		for _, name := range []string{"read-only", "full", "alone"} {
			folders[name] = filepath.Join(dir, name)
			if err := os.Mkdir(folders[name], 0o700); err != nil {
				t.Fatal(err)
			}
		}
		mounttest.ReadOnly(t, folders["read-only"])
		wantNoStore(t, folders["read-only"], folders["read-only"], "read-only file system", "may write")

		full := folders["full"]
		mounttest.Small(t, full, "64k")
		store, err := NewTokenFolder(full)
		if err != nil {
			t.Fatal(err)
		}
		token := (&rotating{}).present()
		if err := put(ctx, store, "member1", token); err != nil {
			t.Fatal(err)
		}
		bulk, err := os.Create(filepath.Join(full, "bulk"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = bulk.Write(make([]byte, 4096))
		}
		bulk.Close()
		wantNoStore(t, full, "no space left")
		if err := put(ctx, store, "member1", token); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("saved on a full disk: %v", err)
		}
		if files, err := os.ReadDir(full); err != nil || len(files) != 3 { // with the lock's
			t.Errorf("left behind: %v, %v", files, err)
		}
		if got, err := store.Load(ctx, "member1"); err != nil || got.AccessToken != token.AccessToken {
			t.Errorf("loaded %v, %v", got, err)
		}
		if err := remove(ctx, store, "member1"); err != nil {
			t.Errorf("Delete on a full disk: %v", err)
		}

		if store, err = NewTokenFolder(folders["alone"]); err != nil {
			t.Fatal(err)
		}
		host, path := filepath.Join(dir, "host"), filepath.Join(folders["alone"], "member1.json")
		for _, p := range []string{host, path} {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mounttest.Bind(t, host, path)
		for range 2 {
			if _, err := store.Load(ctx, "member1"); !errors.Is(err, b24pull.ErrNoToken) {
				t.Errorf("without a token: %v", err)
			}
			for range 3 {
				if err := put(ctx, store, "member1", token); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := store.Load(ctx, "member1"); err != nil || got.AccessToken != token.AccessToken {
				t.Errorf("loaded %v, %v", got, err)
			}
			if err := remove(ctx, store, "member1"); err != nil {
				t.Error(err)
			}
			if data, err := os.ReadFile(host); err != nil || strings.Contains(string(data), token.AccessToken) {
				t.Errorf("the token is still there: %v", err)
			}
		}
	})
}

// TestStoreStart_TokenFolderLinks: a link at the name of a lock or of a token may have been
// put there by another, to have a file of ours made, or read.
func TestStoreStart_TokenFolderLinks(t *testing.T) {
	ctx := context.Background()
	store := fileStore(t)
	other := filepath.Join(t.TempDir(), "other")
	for _, name := range []string{"member1.lock", "member1.json", "member3.json"} {
		if err := os.Symlink(other, filepath.Join(store.folder, name)); err != nil {
			t.Skip(err)
		}
	}
	_, loaded := store.Load(ctx, "member1")
	_, locked := store.Lock(ctx, "member1")
	for name, err := range map[string]error{"Load": loaded, "Lock": locked, "Save": put(ctx, store, "member3", (&rotating{}).present())} {
		if err == nil || !strings.Contains(err.Error(), "is a link") || !strings.Contains(err.Error(), store.folder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the links led to: %v", err)
	}
	if err := os.Mkdir(filepath.Join(store.folder, "member2.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Lock(ctx, "member2"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder as a lock: %v", err)
	}
}
