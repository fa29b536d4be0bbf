package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// A CursorStore keeps the cursor of one subscription, so that another run of the program goes on where this one
// stopped. Its methods are not called at the same time. They must return soon after their context is done: a run waits
// for them.
type CursorStore interface {
	// Load returns what was saved last, or the zero Cursor if nothing was. An error ends the subscription before it
	// begins: a position that cannot be read is not taken for none.
	Load(ctx context.Context) (Cursor, error)

	// Save keeps a cursor in place of the one before. When it returns nil, c is what Load returns, whatever happens
	// to the process. After an error it is called again, but at the end of a run: that last save has ten seconds, so
	// that Close and Drain lose no position to a store that is slow, and one second from the moment on that the
	// run's context is done. If it fails, what was handled since the save before comes again.
	Save(ctx context.Context, c Cursor) error
}

// MemoryStore is a [CursorStore] that lasts as long as the process, for tests and for subscriptions that are made
// anew within one. The zero MemoryStore is empty.
type MemoryStore struct {
	mu     sync.Mutex
	cursor Cursor
}

// Load implements [CursorStore].
func (s *MemoryStore) Load(context.Context) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

// Save implements [CursorStore].
func (s *MemoryStore) Save(_ context.Context, c Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor = c
	return nil
}

// FileStore is a [CursorStore] in a file. A save writes a new file beside it, has it and its folder synced to the
// disk, and puts it in place at once: whenever the machine stops, there is the cursor before or the one after.
type FileStore struct{ path string }

// NewFileStore returns a store in the file at path, which is made by the first save; its folder must be there. One
// subscription uses it at a time.
func NewFileStore(path string) *FileStore { return &FileStore{path} }

// Load implements [CursorStore]. A file that is not there is an empty store; one that does not hold a cursor is an
// error.
func (s *FileStore) Load(context.Context) (Cursor, error) {
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Cursor{}, nil
	case err != nil:
		return Cursor{}, fmt.Errorf("realtime: cursor file: %w", err)
	}
	var c Cursor
	if err := c.UnmarshalText(bytes.TrimSpace(text)); err != nil {
		return Cursor{}, fmt.Errorf("realtime: cursor file %s: %w; restore it, or remove it to start without a cursor", s.path, err)
	}
	if c.IsZero() {
		return Cursor{}, fmt.Errorf("realtime: cursor file %s is empty; restore it, or remove it to start without a cursor", s.path)
	}
	return c, nil
}

// Save implements [CursorStore].
func (s *FileStore) Save(_ context.Context, c Cursor) error {
	text, err := c.MarshalText()
	if err == nil {
		err = s.replace(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("realtime: cursor file: %w", err)
	}
	return nil
}

func (s *FileStore) replace(content []byte) error {
	folder := filepath.Dir(s.path)
	f, err := os.CreateTemp(folder, filepath.Base(s.path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there is none when all went well
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes a rename last. Windows has no such thing.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
