package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// MakeFolder makes a folder and what is missing above it, and checks that files
// can be written to it. A power cut does not take it away. A folder that
// CheckFolder refuses is not made, or not taken.
func MakeFolder(folder string) error {
	if err := CheckFolder(folder, false); err != nil {
		return err
	}
	if err := makeFolder(folder, func(f string) error { return syncFolder(osDisk{}, f) }); err != nil {
		return err
	}
	if err := CheckFolder(folder, false); err != nil {
		return err
	}
	return tryFolder(folder)
}

// makeFolder calls sync for each folder that has got a new one.
func makeFolder(folder string, sync func(string) error) error {
	var grown []string
	for f := filepath.Clean(folder); ; f = filepath.Dir(f) {
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) || f == filepath.Dir(f) {
			break
		}
		grown = append(grown, filepath.Dir(f))
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for _, f := range grown {
		if err := sync(f); err != nil {
			return err
		}
	}
	return nil
}

// tryFolder writes a file and removes it.
func tryFolder(folder string) error {
	f, err := os.CreateTemp(folder, ".trial-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	return fill(f, spare)
}

// writableByAll reports whether a mode lets everybody write. Modes say nothing
// on Windows.
func writableByAll(mode fs.FileMode) bool { return runtime.GOOS != "windows" && mode.Perm()&0o002 != 0 }

// folderOf is the folder that a path stands in, and is not resolved otherwise.
func folderOf(path string) string {
	folder, _ := filepath.Split(path)
	return folder + "."
}

// syncFolder makes what was renamed in a folder or removed from it last.
// Windows does so without being asked, and cannot sync a folder.
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
