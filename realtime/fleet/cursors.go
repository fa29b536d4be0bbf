package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/b24pull/b24pull/internal/keyfile"
	"github.com/b24pull/b24pull/realtime"
)

// CursorFolder keeps cursors in a folder, a file for each key, as
// [realtime.CursorFile] does: KEY.cursor, where what is not a lower case letter,
// a digit, - or _ is written as % and two digits. It can be the folder of an
// oauth.TokenFolder.
type CursorFolder struct{ folder string }

// NewCursorFolder returns a store in a folder, and makes the folder, for its
// owner alone, if there is none.
func NewCursorFolder(folder string) (*CursorFolder, error) {
	if folder == "" {
		return nil, errors.New("fleet: cursor folder: the path is empty; give NewCursorFolder the path of a folder")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("fleet: cursor folder: %w", err)
	}
	if at, err := os.Stat(folder); err != nil || !at.IsDir() {
		return nil, fmt.Errorf("fleet: cursor folder: %s is not a folder", folder)
	}
	return &CursorFolder{folder}, nil
}

// Cursors returns the store of a key's cursor, for [WithCursors]. What is wrong
// with the key or the folder is an error of the store.
func (f *CursorFolder) Cursors(key string) realtime.CursorStore {
	name := keyfile.Name(key)
	if name == "" || len(name) > keyfile.MaxName {
		return brokenStore{errors.New("fleet: cursor folder: the key is empty or too long")}
	}
	file, err := realtime.NewCursorFile(filepath.Join(f.folder, name+cursorEnding))
	if err != nil {
		return brokenStore{err}
	}
	return file
}

// Keys returns the keys that have a cursor, in the order of their bytes.
func (f *CursorFolder) Keys() ([]string, error) {
	keys, err := keyfile.Keys(f.folder, cursorEnding)
	if err != nil {
		return nil, fmt.Errorf("fleet: cursor folder: %w", err)
	}
	return keys, nil
}

const cursorEnding = ".cursor"

// brokenStore says why there is no store.
type brokenStore struct{ err error }

func (s brokenStore) Load(context.Context) (realtime.Cursor, error) { return realtime.Cursor{}, s.err }
func (s brokenStore) Save(context.Context, realtime.Cursor) error   { return s.err }

// store is the store of a key's cursor.
func (o *options) store(key string) realtime.CursorStore {
	if o.cursors == nil {
		return new(realtime.MemoryStore)
	}
	if s := o.cursors(key); s != nil {
		return s
	}
	return brokenStore{errors.New("fleet: the function of WithCursors has returned nil")}
}

// cursor is the store of one key's cursor. It knows what was saved last.
type cursor struct {
	realtime.CursorStore

	mu      sync.Mutex
	last    realtime.Cursor // loaded or saved
	dropped bool            // it does not fit: the next run begins without it
}

// Load returns the stored cursor. If there is none it is the one that was known
// last: a portal may have uninstalled the application and installed it again.
func (c *cursor) Load(ctx context.Context) (realtime.Cursor, error) {
	stored, err := c.CursorStore.Load(ctx)
	if err != nil {
		return stored, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dropped:
		stored = realtime.Cursor{}
	case stored.IsZero():
		stored = c.last
	}
	c.last = stored
	return stored, nil
}

// Save saves a cursor.
func (c *cursor) Save(ctx context.Context, at realtime.Cursor) error {
	if err := c.CursorStore.Save(ctx, at); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = at
	if !at.IsZero() {
		c.dropped = false
	}
	return nil
}

// isDropped reports whether a run begins without the cursor that there was.
func (c *cursor) isDropped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// drop has the next run begin without the cursor. It reports false if it did so
// before.
func (c *cursor) drop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.dropped
	c.dropped, c.last = true, realtime.Cursor{}
	return first
}

// goOn has the first run begin where another under the key has ended.
func (c *cursor) goOn(at realtime.Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.IsZero() {
		c.last = at
	}
}

// remove removes the stored cursor and returns it, also where that panics.
func (c *cursor) remove(ctx context.Context) (last realtime.Cursor, err error) {
	c.mu.Lock()
	last = c.last
	c.mu.Unlock()
	return last, safely(func() error { return c.CursorStore.Save(ctx, realtime.Cursor{}) })
}

// leftCursors are those of portals that have uninstalled the application, for
// when they install it again: what was handled does not come again, and what
// was sent in between comes.
type leftCursors struct {
	keys []string // the oldest first
	at   map[string]realtime.Cursor
}

// maxLeft bounds how many are kept.
const maxLeft = 1024

func (l *leftCursors) keep(key string, at realtime.Cursor) {
	if at.IsZero() {
		return
	}
	l.take(key)
	if len(l.keys) == maxLeft {
		l.take(l.keys[0])
	}
	if l.at == nil {
		l.at = make(map[string]realtime.Cursor)
	}
	l.keys, l.at[key] = append(l.keys, key), at
}

func (l *leftCursors) take(key string) realtime.Cursor {
	at, found := l.at[key]
	if found {
		delete(l.at, key)
		l.keys = slices.DeleteFunc(l.keys, func(k string) bool { return k == key })
	}
	return at
}
