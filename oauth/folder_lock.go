package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/b24pull/b24pull/internal/atomicfile"
	"github.com/b24pull/b24pull/internal/sleep"
	"github.com/gofrs/flock"
)

const (
	// lockPoll is how often a file is tried to be locked, give or take a half:
	// those who wait should not keep step.
	lockPoll = 10 * time.Millisecond
	// lockPause is long enough for all others to try.
	lockPause = 2 * lockPoll
)

// Lock locks a file of the key's own, <key>.lock. A process that ends releases
// it, however it ends. Who has had the lock just before waits a moment, for
// other processes to get it first. An error is errors.ErrUnsupported where the
// system has no locks of files.
//
// The file is made if there is none, and it is never removed. So a key has one
// file for as long as the store is used, and whoever locks the key locks that:
// this is all that the exclusion rests on. If the file were removed, one process
// could hold the lock of the removed file and another that of a new one at its
// path, and on a network file system none could be sure to notice. The price is
// that each key that was ever locked leaves an empty file. Tokens therefore
// locks no key that a stranger makes up; see TokenStore.
func (s *TokenFolder) Lock(ctx context.Context, key string) (LockedToken, error) {
	name, err := s.path(key)
	if err != nil {
		return nil, err
	}
	path := name + ".lock"
	wait := s.turns.pause(path)
	for {
		if wait > 0 && !sleep.Within(ctx, wait) {
			err := context.Cause(ctx)
			if err == nil {
				err = context.DeadlineExceeded
			}
			return nil, fmt.Errorf("b24pull: token store: another process holds %s: %w", path, err)
		}
		if err := atomicfile.Regular(path); err != nil {
			return nil, storeError(err)
		}
		unlock, held, err := tryLock(path)
		switch {
		case err != nil:
			return nil, storeError(err)
		case !held:
			return &folderLocked{heldLock{release: func() {
				unlock()
				s.turns.passed(path)
			}}, s, key, name}, nil
		}
		wait = lockPoll/2 + rand.N(lockPoll)
	}
}

// tryLock locks a file if nobody else has locked it.
func tryLock(path string) (unlock func(), held bool, err error) {
	// Some network file systems lock only what is open for writing.
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|noFollow))
	locked, err := lock.TryLock()
	var told *fs.PathError
	switch {
	case errors.Is(err, syscall.EINTR):
		return nil, true, nil // to be tried again
	case errors.As(err, &told):
		return nil, false, err
	case err != nil:
		return nil, false, &fs.PathError{Op: "lock", Path: path, Err: err}
	case !locked:
		return nil, true, nil
	}
	return func() { lock.Close() }, false, nil
}

// turns remembers the locks that were released within the last lockPause.
type turns struct {
	mu       sync.Mutex
	released map[string]time.Time
}

func (t *turns) passed(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.released == nil {
		t.released = make(map[string]time.Time)
	}
	maps.DeleteFunc(t.released, func(_ string, at time.Time) bool { return time.Since(at) > lockPause })
	t.released[path] = time.Now()
}

// pause is how long it is the others' turn.
func (t *turns) pause(path string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.released[path]; ok {
		return max(0, lockPause-time.Since(at))
	}
	return 0
}
