package oauth

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/internal/redact"
)

// TokenStore keeps an application's tokens, each under a key. Tokens uses it; a
// store in a database saves Token.Raw, which is secret. All methods are called
// by several goroutines at once. What a method's error says is told to whoever
// calls Tokens; only the tokens that Save was given are taken out of it.
//
// There are [MemoryStore] and [TokenFolder] here, and those of package
// oauth/sqlstore for PostgreSQL and SQLite. pulltest/storetest tries out a
// store of one's own.
type TokenStore interface {
	// Load returns the token, or an error that is b24pull.ErrNoToken. The
	// caller may change the token: a store that keeps tokens in memory returns
	// a copy, with a Scope of its own.
	Load(ctx context.Context, key string) (*Token, error)
	// Lock waits until nobody else holds the key, in whatever process uses the
	// store, and holds it until Unlock is called. A process that dies must not
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
	//
	// A lock may hold something of which there is not much, like a connection
	// of a pool. A Tokens that has locked the token itself asks the LockedToken
	// alone, and for nothing of the store beside it. While it confirms
	// callbacks it holds up to eight of the other locks, and then wants one
	// more, or a Load: with nine connections it never waits for itself.
	Lock(ctx context.Context, key string) (LockedToken, error)
}

// LockedToken is a key of a TokenStore whose lock is held. It has what it was
// locked with, like a connection or a row's mark, so that what it does needs
// nothing else, and is not done any more by who does not hold the lock. Its
// methods are not called at the same time.
//
// A lock may be lost while it is held, with its connection or because it was
// not prolonged in time, and somebody else has it then. That is ErrLockLost
// from then on.
type LockedToken interface {
	// Load returns the token as TokenStore.Load does.
	Load(ctx context.Context) (*Token, error)
	// Save keeps the token in place of an older one. When it returns, the token
	// must be where neither a crash nor a power cut takes it away. The token is
	// the store's: nobody changes it any more. If the lock is lost nothing is
	// kept, and the error is ErrLockLost: what is stored may be newer.
	Save(ctx context.Context, t *Token) error
	// Delete forgets the token. There may be none. If the lock is lost nothing
	// is deleted, and the error is ErrLockLost.
	Delete(ctx context.Context) error
	// Unlock ends the lock. It waits for nobody for long, and does nothing when
	// it is called again or the lock is lost. All else is ErrLockLost after it.
	Unlock()
}

// ErrLockLost is the error of a LockedToken that does not hold its lock any
// more, and so has stored and deleted nothing. Tokens then locks the key again
// and stores what counts: its own token, unless another process has stored a
// newer one meanwhile.
var ErrLockLost = errors.New("b24pull: token store: the lock of the token is not held any more; nothing was stored")

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

// Lock waits for the key.
func (s *MemoryStore) Lock(ctx context.Context, key string) (LockedToken, error) {
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
		return &memoryLocked{heldLock{release: func() { <-lock.held; leave() }}, s, key}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// A memoryLocked is a key of a MemoryStore that is locked.
type memoryLocked struct {
	heldLock
	store *MemoryStore
	key   string
}

// Load returns a copy of the token.
func (l *memoryLocked) Load(ctx context.Context) (t *Token, err error) {
	err = l.do(func() error { t, err = l.store.Load(ctx, l.key); return err })
	return t, err
}

// Save keeps a copy of the token.
func (l *memoryLocked) Save(_ context.Context, t *Token) error {
	return l.do(func() error {
		l.store.mu.Lock()
		defer l.store.mu.Unlock()
		if l.store.tokens == nil {
			l.store.tokens = make(map[string]*Token)
		}
		l.store.tokens[l.key] = t.clone()
		return nil
	})
}

// Delete forgets the token.
func (l *memoryLocked) Delete(context.Context) error {
	return l.do(func() error {
		l.store.mu.Lock()
		defer l.store.mu.Unlock()
		delete(l.store.tokens, l.key)
		return nil
	})
}

// A heldLock is a lock until it is released. What is done under it is not done
// at the same time as that, nor afterwards.
type heldLock struct {
	mu      sync.Mutex
	release func() // nil when it has been called
}

func (l *heldLock) do(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release == nil {
		return ErrLockLost
	}
	return f()
}

// Unlock releases the lock once.
func (l *heldLock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release != nil {
		l.release()
		l.release = nil
	}
}
