//go:build unix

package atomicfile

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// frailDisk is a disk in memory that fails. What was not synced by then may be
// lost.
type frailDisk struct {
	names   map[string]*frailFile // as the system shows it
	synced  map[string]*frailFile // what is sure to be there after a power cut
	good    int                   // operations that go well
	once    bool                  // only one fails then: no power cut
	lost    int                   // new files whose removal failed
	refuses refusal
}

// refusal is how a file cannot be replaced.
type refusal struct {
	create, rename error
	mounted        bool
}

type frailFile struct {
	disk            *frailDisk
	content, synced []byte
}

const errFrail = syscall.EIO

func newFrailDisk(r refusal) *frailDisk {
	return &frailDisk{names: map[string]*frailFile{}, synced: map[string]*frailFile{}, good: 1000, refuses: r}
}

// put has a file be there for long.
func (d *frailDisk) put(path string, content []byte) {
	d.names[path] = &frailFile{d, content, content}
	d.synced = maps.Clone(d.names)
}

func (d *frailDisk) operate(do func()) error {
	d.good--
	if d.good == -1 || d.good < -1 && !d.once {
		return errFrail
	}
	do()
	return nil
}

type frailInfo struct{ fs.FileInfo }

func (frailInfo) Mode() fs.FileMode  { return 0o600 }
func (frailInfo) ModTime() time.Time { return time.Time{} }

func (d *frailDisk) Lstat(path string) (fs.FileInfo, error) {
	if d.names[path] == nil {
		return nil, fs.ErrNotExist
	}
	return frailInfo{}, nil
}

func (d *frailDisk) Stat(path string) (fs.FileInfo, error) { return d.Lstat(path) }
func (d *frailDisk) Readlink(string) (string, error)       { return "", fs.ErrInvalid }
func (d *frailDisk) Mounted(string) bool                   { return d.refuses.mounted }

func (d *frailDisk) ReadFile(path string) ([]byte, error) {
	if f := d.names[path]; f != nil {
		return slices.Clone(f.content), nil
	}
	return nil, fs.ErrNotExist
}

func (d *frailDisk) Create(path string) (diskFile, error) {
	if d.refuses.create != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: d.refuses.create}
	}
	if d.names[path] != nil {
		return nil, fs.ErrExist
	}
	f := &frailFile{disk: d}
	return f, d.operate(func() { d.names[path] = f })
}

// Open opens the folder.
func (d *frailDisk) Open(string) (diskFile, error) { return frailFolder{disk: d}, nil }

func (d *frailDisk) OpenWrite(path string) (diskFile, error) {
	if d.names[path] == nil {
		return nil, fs.ErrNotExist
	}
	return d.names[path], nil
}

type frailFolder struct {
	diskFile
	disk *frailDisk
}

func (frailFolder) Close() error { return nil }

func (f frailFolder) Sync() error {
	return f.disk.operate(func() { f.disk.synced = maps.Clone(f.disk.names) })
}

// Rename wants both names in one folder, which are always on one file system.
func (d *frailDisk) Rename(from, to string) error {
	if d.names[from] == nil || filepath.Dir(from) != filepath.Dir(to) {
		return fs.ErrInvalid
	}
	if d.refuses.rename != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: d.refuses.rename}
	}
	return d.operate(func() {
		d.names[to] = d.names[from]
		delete(d.names, from)
	})
}

func (d *frailDisk) Remove(path string) error {
	switch {
	case d.names[path] == nil:
		return fs.ErrNotExist
	case path == name && d.refuses != refusal{}:
		return &fs.PathError{Op: "unlink", Path: path, Err: syscall.EBUSY}
	}
	err := d.operate(func() { delete(d.names, path) })
	if err != nil && path != name {
		d.lost++
	}
	return err
}

func (f *frailFile) Write(p []byte) (int, error) { return f.WriteAt(p, int64(len(f.content))) }

func (f *frailFile) WriteAt(p []byte, off int64) (int, error) {
	write := func() {
		longer := make([]byte, max(len(f.content), int(off)+len(p)))
		copy(longer, f.content)
		copy(longer[off:], p)
		f.content = longer
	}
	err := f.disk.operate(write)
	if err != nil { // what has failed may have been done, in part
		write()
	}
	return len(p), err
}

func (f *frailFile) Sync() error {
	return f.disk.operate(func() { f.synced = slices.Clone(f.content) })
}

func (f *frailFile) Close() error { return f.disk.operate(func() {}) }

// afterwards is the disk when the machine has started again. What was not
// synced is there, or is not: of the names, and of the contents as kept says,
// sector by sector.
func (d *frailDisk) afterwards(names bool, kept func(sector int) bool) *frailDisk {
	there := d.synced
	if names {
		there = d.names
	}
	again := newFrailDisk(d.refuses)
	for name, f := range there {
		again.put(name, mix(f.synced, f.content, kept))
	}
	return again
}

// mix takes each sector from one of two contents. A file that has grown may be
// as long as it is to be with nothing in it.
func mix(synced, content []byte, kept func(sector int) bool) []byte {
	const sector = 32 // not to need long contents
	mixed := make([]byte, len(content))
	n := copy(mixed, synced)
	last := false
	for at := 0; at < len(content); at += sector {
		if last = kept(at / sector); last {
			n = max(n, copy(mixed[at:min(at+sector, len(mixed))], content[at:])+at)
		}
	}
	if last || kept(-1) {
		return mixed
	}
	return mixed[:n]
}

// tears are what may be left of writes that were not synced.
var tears = map[string]func(sector int) bool{
	"nothing":        func(int) bool { return false },
	"all":            func(int) bool { return true },
	"the length":     func(s int) bool { return s < 0 },
	"even sectors":   func(s int) bool { return s%2 == 0 },
	"odd sectors":    func(s int) bool { return s%2 != 0 },
	"the beginnings": func(s int) bool { return s >= 0 && s%(blockSize/32) < 2 },
	"the ends":       func(s int) bool { return s%(blockSize/32) >= 2 },
}

func testFile(d *frailDisk) *File { return &File{Path: name, disk: d} }

const name = "folder/file"

func wantContent(t *testing.T, f *File, want ...string) (got string) {
	t.Helper()
	content, err := f.Read()
	if got = string(content); err != nil && got != "" || !slices.Contains(want, got) || (err != nil) != (got == "") {
		t.Errorf("read %.40q, %v; want one of %.40q", content, err, want)
	}
	return got
}
