//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package oauth

import (
	"errors"
	"os"
	"syscall"
)

// lockAdvice is for who has waited in vain.
const lockAdvice = ""

// tryLock locks a file. The lock ends with the process at the latest. The last
// one to unlock removes the file.
func tryLock(path string) (unlock func(last bool), held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, false, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, true, nil
		}
		return nil, false, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	if !inPlace(f, path) {
		f.Close()
		return nil, true, nil
	}
	return func(last bool) {
		if last {
			os.Remove(path) // while it is locked
		}
		f.Close()
	}, false, nil
}

// inPlace reports whether a file has not been removed, since another one at its
// path can be locked too.
func inPlace(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}
