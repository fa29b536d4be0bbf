//go:build unix

package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/b24pull/b24pull/internal/mounttest"
	"github.com/b24pull/b24pull/internal/resttest"
)

// refusals are the ways in which a file cannot be replaced, but written.
var refusals = map[string]refusal{
	"mounted alone":               {rename: syscall.EBUSY, mounted: true},
	"a file system across":        {rename: syscall.EXDEV},
	"another's in a sticky one":   {rename: syscall.EPERM},
	"a folder of another's":       {create: syscall.EACCES},
	"a read-only folder":          {create: syscall.EROFS},
	"a read-only folder, mounted": {create: syscall.EROFS, mounted: true},
}

// cutEverywhere cuts the power in each step of a write, or has one step fail,
// and checks that the content is the one before or the new one; and the new one
// once Write has returned nil. The next write goes well and leaves nothing
// behind.
func cutEverywhere(t *testing.T, prepare func() *frailDisk, before, next string) {
	t.Helper()
	for _, once := range []bool{false, true} {
		for good, saved := 0, false; !saved; good++ {
			disk := prepare()
			disk.good, disk.once = good, once
			err := change(testFile(disk), next)
			saved = disk.good >= 0
			removal := once && disk.lost > 0 // all that has failed: the new file goes with the next write
			if failed := err != nil; failed == saved && !removal {
				t.Errorf("%d operations went well: got %v", good, err)
			}
			if once && !removal && disk.names[name+".tmp"] != nil {
				t.Errorf("%d operations went well: the new file was left", good)
			}
			for _, names := range []bool{false, true} {
				for tear, kept := range tears {
					again := disk.afterwards(names, kept)
					f := testFile(again)
					want := []string{next}
					if err != nil {
						want = append(want, before)
					}
					wantContent(t, f, want...)
					if err := f.Write([]byte("the next")); err != nil || len(again.names) != 1 {
						t.Errorf("the next write: %v, %d files", err, len(again.names))
					}
					if wantContent(t, f, "the next"); t.Failed() {
						t.Fatalf("%d operations went well, cut %v, names %v, of the contents %s", good, !once, names, tear)
					}
				}
			}
		}
	}
}

func change(f *File, content string) error {
	if content == "" {
		return f.Clear()
	}
	return f.Write([]byte(content))
}

var (
	short = "short\n"
	long  = strings.Repeat("some words and ", 700) + "\n" // more than two blocks
)

// TestAtomicfile_PowerCut: of a file that can be replaced.
func TestAtomicfile_PowerCut(t *testing.T) {
	for _, before := range []string{"", short} {
		for _, next := range []string{"", long, "another"} {
			cutEverywhere(t, func() *frailDisk {
				disk := newFrailDisk(refusal{})
				if before != "" {
					disk.put(name, []byte(before))
				}
				return disk
			}, before, next)
		}
	}
}

// TestAtomicfile_PowerCutInPlace: of one that cannot, from whatever it holds.
func TestAtomicfile_PowerCutInPlace(t *testing.T) {
	histories := [][]string{{}, {"plain"}, {"plain" + long}, {"", short}, {"", short, long, short}, {"plain", short, ""}, {"plain", long, long, long}}
	for how, r := range refusals {
		for _, history := range histories {
			if (len(history) == 0 || history[0] == "") && !r.mounted {
				continue // an empty file is damaged there
			}
			for _, next := range []string{"new", long + "new", ""} {
				t.Run(fmt.Sprintf("%s, writes %d, next %d", how, len(history), len(next)), func(t *testing.T) {
					resttest.Sample(t)
					before := ""
					prepare := func() *frailDisk {
						disk := newFrailDisk(r)
						before = ""
						for i, content := range history {
							if before = content; i == 0 {
								disk.put(name, []byte(content))
							} else if err := change(testFile(disk), content); err != nil {
								t.Fatal(err)
							}
						}
						if len(history) == 0 {
							disk.put(name, nil)
						}
						return disk
					}
					prepare()
					cutEverywhere(t, prepare, before, next)
				})
			}
		}
	}
}

// TestAtomicfile_InPlaceSize: a file that is written in place for ever stays within its
// bound.
func TestAtomicfile_InPlaceSize(t *testing.T) {
	const longest = 20_000
	disk := newFrailDisk(refusal{rename: syscall.EBUSY, mounted: true})
	disk.good = 1 << 30
	disk.put(name, nil)
	f := testFile(disk)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range resttest.Rounds(3000) {
		content := strings.Repeat(fmt.Sprintf("%d ", i), 1+random.IntN(longest/5))
		if err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		wantContent(t, f, content)
		if size, bound := len(disk.names[name].content), 3*roundUp(longest+recordHead+1); size > bound {
			t.Fatalf("%d bytes after %d writes, more than %d", size, i+1, bound)
		}
	}
	wantContent(t, testFile(disk), func() string { c, _ := f.Read(); return string(c) }())
}

// TestAtomicfile_InPlaceDamaged: a file of which nothing is whole is neither empty nor an
// older content.
func TestAtomicfile_InPlaceDamaged(t *testing.T) {
	disk := newFrailDisk(refusal{rename: syscall.EBUSY, mounted: true})
	disk.put(name, nil)
	f := testFile(disk)
	for range 4 {
		if err := f.Write([]byte(short)); err != nil {
			t.Fatal(err)
		}
	}
	content := disk.names[name].content
	for at := 0; at < len(content); at += blockSize {
		content[at+recordHead]++
	}
	if got, err := f.Read(); !errors.Is(err, ErrDamaged) {
		t.Errorf("read %q, %v", got, err)
	}
	for _, content := range []string{"", "\x00", strings.Repeat("\x00", 2*blockSize)} {
		disk := newFrailDisk(refusal{})
		disk.put(name, []byte(content))
		if got, err := testFile(disk).Read(); content == "" && (err != nil || len(got) > 0) || content != "" && !errors.Is(err, ErrDamaged) {
			t.Errorf("%d zero bytes where nothing is mounted: read %q, %v", len(content), got, err)
		}
	}
}

// TestAtomicfile_NoSuchRefusal: what is no refusal to replace a file is no reason to write
// it in place, and what fails in place is told.
func TestAtomicfile_NoSuchRefusal(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT} {
		disk := newFrailDisk(refusal{rename: errno})
		disk.put(name, []byte(short))
		if err := testFile(disk).Write([]byte("new")); !errors.Is(err, errno) || string(disk.names[name].content) != short || len(disk.names) != 1 {
			t.Errorf("%v: got %v, the file holds %q, %d files", errno, err, disk.names[name].content, len(disk.names))
		}
	}
	disk := newFrailDisk(refusal{create: syscall.EROFS})
	if err := testFile(disk).Write([]byte("new")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("where there is no file: %v", err)
	}
}

// TestAtomicfile_MountedAlone does it with a real mount.
func TestAtomicfile_MountedAlone(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		host, path := filepath.Join(dir, "host"), filepath.Join(dir, `with \ and space`)
		for _, p := range []string{host, path} {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := (&File{Path: path}).Read(); err != nil || len(got) > 0 {
			t.Errorf("before it is mounted: %q, %v", got, err)
		}
		mounttest.Bind(t, host, path)
		f := &File{Path: path}
		if got, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an empty one: %q, %v", got, err)
		}
		for _, content := range []string{"", short, long, short, "", "last"} {
			if err := change(f, content); err != nil {
				t.Fatal(err)
			}
			wantContent(t, &File{Path: path}, content)
			wantContent(t, &File{Path: host}, content)
		}
		if err := (&File{Path: host}).Write([]byte("plain again")); err != nil { // the mount keeps the file before
			t.Fatal(err)
		}
		if content, err := os.ReadFile(host); err != nil || string(content) != "plain again" {
			t.Errorf("the file that can be replaced: %q, %v", content, err)
		}
		wantContent(t, f, "last")
		if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
}

// TestAtomicfile_FullDisk: nothing of a new file is left.
func TestAtomicfile_FullDisk(t *testing.T) {
	mounttest.Run(t, func(t *testing.T, dir string) {
		mounttest.Small(t, dir, "64k")
		f := &File{Path: filepath.Join(dir, "file")}
		if err := f.Write([]byte(short)); err != nil {
			t.Fatal(err)
		}
		if err := f.Write([]byte(strings.Repeat(long, 20))); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
		wantContent(t, f, short)
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
}

// TestAtomicfile_Links: what stands at the names of the file and of the new one may have
// been put there by another.
func TestAtomicfile_Links(t *testing.T) {
	dir := t.TempDir()
	ours, link := filepath.Join(dir, "ours"), filepath.Join(dir, "link")
	if err := os.WriteFile(ours, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, filepath.Join(dir, "file.tmp")} {
		if err := os.Symlink(ours, name); err != nil {
			t.Skip(err)
		}
	}
	refused := &File{Path: link}
	_, err := refused.Read()
	for _, err := range []error{err, refused.Write([]byte("new")), refused.Clear()} {
		if err == nil || !strings.Contains(err.Error(), "is a link") {
			t.Errorf("a link: %v", err)
		}
	}
	f := &File{Path: filepath.Join(dir, "file")}
	if err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, f, "new")
	if info, err := os.Lstat(f.Path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the file: %v, %v", info, err)
	}
	if content, err := os.ReadFile(ours); err != nil || string(content) != "ours" {
		t.Errorf("what the links led to: %q, %v", content, err)
	}
}
