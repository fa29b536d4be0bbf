package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/b24pull/b24pull/realtime"
)

// cursorFile keeps the cursor of what has been handled in a file. Without a path it keeps nothing.
type cursorFile struct {
	path  string
	start realtime.Cursor // what the file held

	mu   sync.Mutex
	last *realtime.Message // handled and not yet saved
}

// openCursor reads the file, if there is one.
func openCursor(path string) (*cursorFile, error) {
	f := &cursorFile{path: path}
	if path == "" {
		return f, nil
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, err
	}
	return f, f.start.UnmarshalText(text)
}

func (f *cursorFile) handled(m realtime.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = &m
}

// keep saves now and then until ctx is done.
func (f *cursorFile) keep(ctx context.Context, every time.Duration, fail context.CancelCauseFunc) {
	if f.path == "" {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := f.save(); err != nil {
			fail(fmt.Errorf("saving the cursor: %w", err))
			return
		}
	}
}

// save puts the cursor in place at once.
func (f *cursorFile) save() error {
	f.mu.Lock()
	last := f.last
	f.last = nil
	f.mu.Unlock()
	if last == nil {
		return nil
	}
	text, err := last.Cursor().MarshalText()
	if err != nil || len(text) == 0 { // nothing that the server keeps has been handled
		return err
	}
	next := f.path + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, f.path)
}
