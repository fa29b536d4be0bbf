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
	"time"

	"github.com/b24pull/b24pull/internal/atomicfile"
	"github.com/b24pull/b24pull/internal/sleep"
)

const (
	// lockPoll is how often a file is tried to be locked, give or take a half:
	// those who wait should not keep step.
	lockPoll = 10 * time.Millisecond
	// lockPause is long enough for all others to try.
	lockPause = 2 * lockPoll
)

// Lock locks the file for the key's lock; where the system has no such locks,
// it makes one, and a process that was killed may leave it. Who has had the
// lock just before waits a moment, for other processes to get it first.
func (s *FileStore) Lock(ctx context.Context, key string) (unlock func(), err error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	wait := s.turns.pause(path)
	for {
		if wait > 0 && !sleep.Within(ctx, wait) {
			err := context.Cause(ctx)
			if err == nil {
				err = context.DeadlineExceeded
			}
			return nil, fmt.Errorf("b24pull: token store: another process holds %s%s: %w", path+".lock", lockAdvice, err)
		}
		if err := atomicfile.Regular(path + ".lock"); err != nil {
			return nil, storeError(err)
		}
		unlock, held, err := tryLock(path + ".lock")
		switch {
		case err != nil:
			return nil, storeError(err)
		case !held:
			return func() {
				_, err := os.Stat(path + ".json")
				unlock(errors.Is(err, fs.ErrNotExist))
				s.turns.passed(path)
			}, nil
		}
		wait = lockPoll/2 + rand.N(lockPoll)
	}
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
