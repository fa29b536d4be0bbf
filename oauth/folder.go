package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/atomicfile"
	"github.com/b24pull/b24pull/internal/keyfile"
)

// TokenFolder keeps tokens in a folder, a file each, which only its owner may
// read. Several processes may share it. A file is replaced as a whole, so that
// a crash leaves the old or the new token; the file and the folder are synced
// before Save returns. A file that is mounted alone cannot be replaced: it is
// written in place, and holds the token before beside the new one then, each
// with a checksum, so that a crash leaves one of them as well. A link at the
// name of a token or a lock is refused.
//
// Beside a token are one or two empty files for its locks, which stay when it
// is deleted; for portals without a token there are 256 at the most, however
// many knock. Remove none of them while a program uses the store. The folder
// may be on a network file system if that has locks which hold between
// machines.
type TokenFolder struct {
	folder string
	turns  turns
}

// NewTokenFolder returns a store in a folder and makes the folder if there is
// none. It checks that the folder can be written. One that everybody may write
// is refused, and one that everybody may put another in the place of: because a
// folder above it, or one that a link leads through, is writable by everybody
// and has no sticky bit. Nobody but the processes that use it should be able to.
//
// A volume that everybody may write, as an emptyDir of Kubernetes is, is
// refused itself, but a folder in it is taken: NewTokenFolder("/volume/tokens").
// Whoever shares the volume is trusted not to replace that.
func NewTokenFolder(folder string) (*TokenFolder, error) {
	if folder == "" {
		return nil, errors.New("b24pull: token store: the path is empty; give NewTokenFolder the path of a folder")
	}
	if err := atomicfile.MakeFolder(folder); err != nil {
		return nil, storeError(err)
	}
	return &TokenFolder{folder: folder}, nil
}

// Load reads the token's file.
func (s *TokenFolder) Load(_ context.Context, key string) (*Token, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	data, err := file(path).Read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, b24pull.ErrNoToken
	case err != nil:
		return nil, storeError(err)
	}
	t := new(Token)
	if err := t.UnmarshalJSON(data); err != nil {
		return nil, storeError(err)
	}
	return t, nil
}

// A folderLocked is a key of a TokenFolder that is locked.
type folderLocked struct {
	heldLock
	store     *TokenFolder
	key, path string
}

// Load reads the token's file.
func (l *folderLocked) Load(ctx context.Context) (t *Token, err error) {
	err = l.do(func() error { t, err = l.store.Load(ctx, l.key); return err })
	return t, err
}

// Save replaces the token's file.
func (l *folderLocked) Save(_ context.Context, t *Token) error {
	return l.do(func() error { return storeError(file(l.path).Write(t.Raw())) })
}

// Delete removes the token's file.
func (l *folderLocked) Delete(context.Context) error {
	return l.do(func() error { return storeError(file(l.path).Remove()) })
}

// file is a key's, without links: a token that is written through one would be
// in another's place.
func file(path string) *atomicfile.File { return &atomicfile.File{Path: path + ".json"} }

// Keys returns the keys that have a token, in the order of their bytes: a
// program that starts again goes on with them.
func (s *TokenFolder) Keys() ([]string, error) {
	keys, err := keyfile.Keys(s.folder, ".json")
	return keys, storeError(err)
}

// path is the name of a key's files without their ending.
func (s *TokenFolder) path(key string) (string, error) {
	name := keyfile.Name(key)
	switch {
	case name == "":
		return "", errors.New("b24pull: token store: the key is empty")
	case len(name) > keyfile.MaxName:
		return "", fmt.Errorf("b24pull: token store: the key is too long: %d bytes as the name of a file; %d are the most", len(name), keyfile.MaxName)
	}
	return filepath.Join(s.folder, name), nil
}

func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("b24pull: token store: %w%s", err, atomicfile.Advice(err))
}
