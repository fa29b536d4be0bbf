package oauth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/atomicfile"
	"github.com/b24pull/b24pull/internal/redact"
)

// TokenStore keeps an application's tokens, each under a key. Tokens uses it; a
// store in a database saves Token.Raw, which is secret. All methods are called
// by several goroutines at once. What a method's error says is told to whoever
// calls Tokens; only the tokens that Save was given are taken out of it.
type TokenStore interface {
	// Load returns the token, or an error that is b24pull.ErrNoToken. The
	// caller may change the token: a store that keeps tokens in memory returns
	// a copy, with a Scope of its own.
	Load(ctx context.Context, key string) (*Token, error)
	// Save keeps the token in place of an older one. When it returns, the token
	// must be where neither a crash nor a power cut takes it away. The token is
	// the store's: nobody changes it any more. The key is locked.
	Save(ctx context.Context, key string, t *Token) error
	// Delete forgets the token. There may be none. The key is locked.
	Delete(ctx context.Context, key string) error
	// Lock waits until nobody else holds the key, in whatever process uses the
	// store, and holds it until unlock is called. A process that dies must not
	// hold it any more. The lock is held while a token is refreshed: two that
	// refresh at once would burn the refresh token. ctx ends the waiting; it
	// does not end while the lock is held. Who waits for long should get it
	// before who comes again. A Tokens waits for a key once at a time.
	//
	// A lock may leave something behind, like an empty file: a stranger, who
	// can name any MemberID, does not have a key of it locked. Tokens locks a
	// key that has a token, or for which the authorization server has confirmed
	// one, and what Put is given. Nothing is stored under the other keys that
	// it locks, while what a callback brings is confirmed: the MemberID with a
	// + behind it where that has a token, and else one of the 256 that are
	// called callbacks+00 to callbacks+ff.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// MemoryStore keeps tokens in memory: for tests, and for one process that may
// forget them. The zero value is empty and ready to use.
type MemoryStore struct {
	mu     sync.Mutex
	tokens map[string]*Token
	locks  map[string]*memoryLock
}

type memoryLock struct {
	held  chan struct{} // full while somebody holds it
	users int           // who hold it or wait for it
}

// Format writes no token, whatever the verb.
func (s *MemoryStore) Format(f fmt.State, verb rune) { redact.Format(f, verb, "oauth.MemoryStore") }

// Load returns a copy of the token.
func (s *MemoryStore) Load(_ context.Context, key string) (*Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[key]
	if t == nil {
		return nil, b24pull.ErrNoToken
	}
	return t.clone(), nil
}

// Save keeps a copy of the token.
func (s *MemoryStore) Save(_ context.Context, key string, t *Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]*Token)
	}
	s.tokens[key] = t.clone()
	return nil
}

// Delete forgets the token.
func (s *MemoryStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, key)
	return nil
}

// Lock waits for the key.
func (s *MemoryStore) Lock(ctx context.Context, key string) (unlock func(), err error) {
	s.mu.Lock()
	if s.locks == nil {
		s.locks = make(map[string]*memoryLock)
	}
	lock := s.locks[key]
	if lock == nil {
		lock = &memoryLock{held: make(chan struct{}, 1)}
		s.locks[key] = lock
	}
	lock.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if lock.users--; lock.users == 0 {
			delete(s.locks, key)
		}
	}
	select {
	case lock.held <- struct{}{}:
		return func() { <-lock.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

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

// Save replaces the token's file.
func (s *TokenFolder) Save(_ context.Context, key string, t *Token) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	return storeError(file(path).Write(t.Raw()))
}

// file is a key's, without links: a token that is written through one would be
// in another's place.
func file(path string) *atomicfile.File { return &atomicfile.File{Path: path + ".json"} }

// Delete removes the token's file.
func (s *TokenFolder) Delete(_ context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	return storeError(file(path).Remove())
}

// Keys returns the keys that have a token, in the order of their bytes: a
// program that starts again goes on with them.
func (s *TokenFolder) Keys() ([]string, error) {
	files, err := os.ReadDir(s.folder)
	if err != nil {
		return nil, storeError(err)
	}
	var keys []string
	for _, f := range files {
		name, token := strings.CutSuffix(f.Name(), ".json")
		if key, err := url.PathUnescape(name); token && err == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// path is the name of a key's files without their ending. Lower case letters,
// digits, - and _ stand for themselves: file systems may not tell cases apart.
func (s *TokenFolder) path(key string) (string, error) {
	var name strings.Builder
	for _, c := range []byte(key) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, "%%%02x", c)
		}
	}
	if name.Len() == 0 || name.Len() > 200 {
		return "", errors.New("b24pull: token store: the key is empty or too long")
	}
	return filepath.Join(s.folder, name.String()), nil
}

func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("b24pull: token store: %w%s", err, atomicfile.Advice(err))
}
