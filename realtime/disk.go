package realtime

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// disk is what a FileStore needs of a file system.
type disk interface {
	ReadFile(path string) ([]byte, error)
	Readlink(path string) (string, error)
	Create(path string) (diskFile, error) // there must be none
	Open(path string) (diskFile, error)   // a file or a folder
	Rename(from, to string) error         // in place of what is there
	Remove(path string) error
}

type diskFile interface {
	io.WriteCloser
	Sync() error // makes what was written last, and in a folder what was renamed
}

// create makes a file whose content lasts.
func create(d disk, path string, content []byte) error {
	f, err := d.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes what was renamed in a folder last. Windows has no such thing.
func syncFolder(d disk, path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := d.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// follow is the path at the end of symbolic links, whether there is a file or not.
func follow(d disk, path string) (string, error) {
	for range 32 {
		to, err := d.Readlink(path)
		if err != nil {
			return path, nil // it is none
		}
		if !filepath.IsAbs(to) {
			folder, _ := filepath.Split(path) // as it stands: .. leads out of the folder that a link leads to
			to = folder + to
		}
		path = to
	}
	return "", &os.PathError{Op: "readlink", Path: path, Err: errors.New("too many links")}
}

// osDisk is the file system of the machine.
type osDisk struct{}

func (osDisk) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (osDisk) Readlink(path string) (string, error) { return os.Readlink(path) }
func (osDisk) Open(path string) (diskFile, error)   { return os.Open(path) }
func (osDisk) Rename(from, to string) error         { return os.Rename(from, to) }
func (osDisk) Remove(path string) error             { return os.Remove(path) }

func (osDisk) Create(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}
