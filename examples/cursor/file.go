package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// file is a database in a file, which each update replaces whole. One process
// uses it at a time.
type file struct{ path string }

func (f *file) load() (data, error) {
	d := data{Paid: make(map[string]int)}
	text, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case err != nil:
		return d, err
	}
	return d, json.Unmarshal(text, &d)
}

func (f *file) update(change func(*data)) error {
	d, err := f.load()
	if err != nil {
		return err
	}
	change(&d)
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(f.path), "*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // is not there any more if all went well
	_, err = next.Write(text)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), f.path)
}
