//go:build !unix

package atomicfile

import (
	"errors"
	"io/fs"
)

const noFollow = 0

// irreplaceable reports whether an error says that a file cannot be replaced,
// while it may be possible to write it.
func irreplaceable(err error) bool { return errors.Is(err, fs.ErrPermission) }

// trusted is not known here.
func trusted(file, folder fs.FileInfo) bool { return true }
