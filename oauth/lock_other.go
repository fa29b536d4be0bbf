//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package oauth

import (
	"errors"
	"io/fs"
	"os"
)

// lockAdvice is for who has waited in vain.
const lockAdvice = ", or one that was killed has left it: then remove the file"

// tryLock makes a file that must not be there. A process that is killed leaves
// it, and it has to be removed by hand.
func tryLock(path string) (unlock func(last bool), held bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	f.Close()
	return func(bool) { os.Remove(path) }, false, nil
}
