// Package atomicfile replaces small files so that neither a crash, a power cut
// nor a full disk leaves half of one.
//
// A write makes a new file beside the old one, named .tmp, syncs it, renames it
// over the old one and syncs the folder. Where that is not allowed, because the
// file is mounted alone or its folder cannot be written, the file is written in
// place; see inplace.go for the form that it has then.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that is replaced as a whole. Its methods are not called at the
// same time.
type File struct {
	Path   string // not empty
	Follow bool   // a link is followed, and what it leads to is replaced; otherwise it is refused
	Check  bool   // its folder is refused as by CheckFolder, unless it is a volume

	disk    disk // nil: the machine's
	inPlace bool // the last write had to be
	checked bool // the folder has been
}

// ErrDamaged is the error of a file that was written in place and holds nothing
// whole any more.
var ErrDamaged = errors.New("damaged: none of its records is whole")

// Read returns what the last Write that returned nil has written, or a later
// one that was cut off. An error that is [fs.ErrNotExist] means that there is
// nothing: no file, one that was cleared, or one that is mounted alone and as
// empty as it was made.
func (f *File) Read() ([]byte, error) {
	path, err := f.resolve()
	if err != nil {
		return nil, err
	}
	return f.read(path)
}

func (f *File) read(path string) ([]byte, error) {
	data, err := f.system().ReadFile(path)
	if err != nil {
		return nil, err
	}
	nothing := &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	if last, ok := newest(data); ok {
		if len(last.content) == 0 {
			return nil, nothing
		}
		return last.content, nil
	}
	plain := beforeRecords(data)
	switch {
	case len(plain) > 0 || len(data) == 0 && !f.system().Mounted(path):
		return plain, nil
	case len(bytes.Trim(data[:min(len(data), blockSize)], "\x00")) == 0 && f.system().Mounted(path):
		return nil, nothing // its first record, which stands in the second block, was cut off
	default:
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrDamaged}
	}
}

// Write replaces the content, which is not empty and holds no zero byte. After
// an error the content is the one before or the new one.
func (f *File) Write(content []byte) error {
	if len(content) == 0 || bytes.IndexByte(content, 0) >= 0 {
		return errors.New("atomicfile: the content is empty or no text")
	}
	return f.change(content)
}

// Clear has Read return that there is nothing, and does all the same what can
// fail of a Write: where it returns nil, so does a Write.
func (f *File) Clear() error { return f.change(nil) }

// Remove is Clear on a disk that has no room: it tries nothing out. Of what was
// written in place nothing is left.
func (f *File) Remove() error {
	path, err := f.resolve()
	if err != nil {
		return err
	}
	d := f.system()
	d.Remove(path + ".tmp")
	err = d.Remove(path)
	if irreplaceable(err) && f.writeInPlace(path, nil) == nil {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(d, folderOf(path))
}

// change replaces the content, or removes it if there is none.
func (f *File) change(content []byte) error {
	path, err := f.resolve()
	if err != nil {
		return err
	}
	if f.inPlace {
		err := f.writeInPlace(path, content)
		f.inPlace = err == nil
		return err
	}
	err = f.replace(path, content)
	if err == nil || !irreplaceable(err) {
		return err
	}
	if there, _ := f.system().Lstat(path); there == nil {
		return err
	}
	switch failed := f.writeInPlace(path, content); {
	case failed == nil:
		f.inPlace = true
		return nil
	case irreplaceable(failed): // either way could be put right
		return fmt.Errorf("%w, and to write it in place: %w", err, failed)
	default:
		return failed
	}
}

// spare is what stands in for a content while it is found out whether one can
// be written.
var spare = make([]byte, 256)

// replace is the usual way of change. It leaves no new file behind, whatever
// fails.
func (f *File) replace(path string, content []byte) error {
	d, fresh := f.system(), path+".tmp"
	d.Remove(fresh) // what a process has left that was killed, or a link that leads elsewhere
	write := content
	if write == nil {
		write = spare
	}
	file, err := d.Create(fresh)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; remove it", err)
	}
	if err != nil {
		return err
	}
	if err := fill(file, write); err != nil {
		d.Remove(fresh)
		return err
	}
	if content != nil {
		err = d.Rename(fresh, path)
	} else if err = d.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		d.Remove(fresh)
		return err
	}
	if content == nil {
		if err := d.Remove(fresh); err != nil {
			return err
		}
	}
	return syncFolder(d, folderOf(path))
}

// fill gives a new file its content, which lasts, and closes it.
func fill(f diskFile, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// resolve returns the path of the file itself, which is a regular one if it is
// there, in a folder that has been checked.
func (f *File) resolve() (string, error) {
	path, err := f.follow()
	if err != nil || !f.Check || f.checked {
		return path, err
	}
	for _, path := range []string{f.Path, path} {
		if err := CheckFolder(folderOf(path), true); err != nil {
			return "", err
		}
	}
	f.checked = true
	return path, nil
}

// follow returns the path that links lead to.
func (f *File) follow() (string, error) {
	path := f.Path
	for range 32 {
		info, err := f.system().Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return path, nil
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink == 0 || !f.Follow:
			return path, regular(path, info)
		}
		if path, err = f.target(path); err != nil {
			return "", err
		}
	}
	return "", &fs.PathError{Op: "open", Path: f.Path, Err: errors.New("too many links")}
}

// Regular returns an error for a path at which there is something else than a
// regular file: a link, which may lead anywhere, or a folder.
func Regular(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return regular(path, info)
}

func regular(path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("is a link, which is not followed; remove it")}
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "open", Path: path, Err: errors.New("is no regular file")}
	}
	return nil
}

// target returns what a link leads to. A link that stands where everybody may
// write can be anybody's: following it would have any file of ours replaced.
func (f *File) target(link string) (string, error) {
	if folder, err := f.system().Stat(folderOf(link)); err == nil && writableByAll(folder.Mode()) {
		return "", &fs.PathError{Op: "open", Path: link, Err: errors.New(linkByAnybody)}
	}
	to, err := f.system().Readlink(link)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(to) {
		folder, _ := filepath.Split(link) // as it stands: .. leads out of the folder that a link leads to
		to = folder + to
	}
	return to, nil
}

// Advice is what to do about an error of a File or of its folder, after a
// semicolon; empty if the error says all.
func Advice(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "; make the folder first"
	case errors.Is(err, fs.ErrPermission), irreplaceable(err):
		return "; take a place that the process may read and may write"
	}
	return ""
}

func (f *File) system() disk {
	if f.disk != nil {
		return f.disk
	}
	return osDisk{}
}

// disk is what a File needs of a file system.
type disk interface {
	Lstat(path string) (fs.FileInfo, error)
	Stat(path string) (fs.FileInfo, error)
	Readlink(path string) (string, error)
	ReadFile(path string) ([]byte, error)
	Mounted(path string) bool                // the file is mounted alone
	Create(path string) (diskFile, error)    // there must be none
	Open(path string) (diskFile, error)      // a folder
	OpenWrite(path string) (diskFile, error) // a file that is there
	Rename(from, to string) error            // in place of what is there
	Remove(path string) error
}

type diskFile interface {
	Write(p []byte) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Sync() error // makes what was written last, and in a folder what was renamed
	Close() error
}

// osDisk is the file system of the machine.
type osDisk struct{}

func (osDisk) Lstat(path string) (fs.FileInfo, error) { return os.Lstat(path) }
func (osDisk) Stat(path string) (fs.FileInfo, error)  { return os.Stat(path) }
func (osDisk) Readlink(path string) (string, error)   { return os.Readlink(path) }
func (osDisk) Mounted(path string) bool               { return mounted(path) }
func (osDisk) Open(path string) (diskFile, error)     { return os.Open(path) }
func (osDisk) Rename(from, to string) error           { return os.Rename(from, to) }
func (osDisk) Remove(path string) error               { return os.Remove(path) }

func (osDisk) Create(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (osDisk) OpenWrite(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_WRONLY|noFollow, 0)
}

func (osDisk) ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}
