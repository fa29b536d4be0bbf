package realtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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

// FileStore is a [CursorStore] in a file. A save writes a new file beside it, named .tmp, has it and its folder synced
// to the disk, and puts it in place at once: whenever the machine stops, there is the cursor before or the one after.
// Where the path is a symbolic link, the file that it leads to is replaced. Only its owner can read it.
//
// One subscription uses a file at a time. If a save finds that another has written it, it fails once and says so.
type FileStore struct {
	path string
	disk disk

	mu    sync.Mutex
	known bool   // what the file holds:
	last  []byte // nothing if there is none
}

// NewFileStore returns a store in the file at path, which is made by the first save; its folder must be there.
func NewFileStore(path string) *FileStore { return &FileStore{path: path, disk: osDisk{}} }

// Load implements [CursorStore]. A file that is not there is an empty store; one that does not hold a cursor is an
// error.
func (s *FileStore) Load(context.Context) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := s.disk.ReadFile(s.path)
	s.known, s.last = err == nil || errors.Is(err, fs.ErrNotExist), text
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
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := c.MarshalText()
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if s.taken() {
		s.known = false
		return fmt.Errorf("realtime: cursor file %s: another process has written it; only one subscription may use it", s.path)
	}
	s.known = false
	if err := s.replace(text); err != nil {
		return fmt.Errorf("realtime: cursor file: %w", err)
	}
	s.known, s.last = true, text
	return nil
}

// taken tells whether another has written the file.
func (s *FileStore) taken() bool {
	if !s.known {
		return false
	}
	text, err := s.disk.ReadFile(s.path)
	return err == nil && !bytes.Equal(text, s.last)
}

func (s *FileStore) replace(content []byte) error {
	path, err := follow(s.disk, s.path)
	if err != nil {
		return err
	}
	fresh := path + ".tmp"
	s.disk.Remove(fresh) // what a process has left that was killed
	if err := create(s.disk, fresh, content); err != nil {
		s.disk.Remove(fresh)
		return err
	}
	if err := s.disk.Rename(fresh, path); err != nil {
		s.disk.Remove(fresh)
		return err
	}
	folder, _ := filepath.Split(path)
	return syncFolder(s.disk, folder+".")
}
