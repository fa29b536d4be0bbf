//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// noFollow has a link not be opened that has come between a look at the path
// and its opening.
const noFollow = syscall.O_NOFOLLOW

// irreplaceable reports whether an error says that a file cannot be replaced,
// while it may be possible to write it: a mount stands in the way (EBUSY,
// EXDEV), or the folder is not ours to write, or read-only (EROFS).
func irreplaceable(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, fs.ErrPermission) ||
		errors.As(err, &errno) && slices.Contains([]syscall.Errno{syscall.EBUSY, syscall.EXDEV, syscall.EROFS}, errno)
}

// trusted reports whether a file in a folder is the user's own, the system's,
// or the folder's owner's.
func trusted(file, folder fs.FileInfo) bool {
	f, ok := file.Sys().(*syscall.Stat_t)
	d, also := folder.Sys().(*syscall.Stat_t)
	return !ok || !also || f.Uid == 0 || f.Uid == d.Uid || int(f.Uid) == os.Geteuid()
}
