package storetest_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/b24pull/b24pull"
	"github.com/b24pull/b24pull/oauth"
)

// ownStore is a store as one writes it oneself, here of a map. Most of what a
// store of another kind needs is the same: the bytes of Token.Raw under a key,
// a lock that a context can end the waiting for, and a LockedToken that looks
// whether it still holds that.
type ownStore struct {
	mu     sync.Mutex
	tokens map[string][]byte
	locks  map[string]chan struct{} // of one place, taken by who holds the lock
}

func newOwnStore() *ownStore {
	return &ownStore{tokens: make(map[string][]byte), locks: make(map[string]chan struct{})}
}

// Load decodes what was saved: so whoever loads it has a token of his own.
func (s *ownStore) Load(_ context.Context, key string) (*oauth.Token, error) {
	s.mu.Lock()
	raw, ok := s.tokens[key]
	s.mu.Unlock()
	if !ok {
		return nil, b24pull.ErrNoToken
	}
	t := new(oauth.Token)
	if err := t.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	return t, nil
}

// Lock waits for the place of the key.
func (s *ownStore) Lock(ctx context.Context, key string) (oauth.LockedToken, error) {
	s.mu.Lock()
	lock, ok := s.locks[key]
	if !ok {
		lock = make(chan struct{}, 1)
		s.locks[key] = lock
	}
	s.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return &ownLocked{store: s, key: key, lock: lock}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ownLocked is a key that is locked. In a database it has what it was locked
// with: the transaction, the connection or the mark in a row.
type ownLocked struct {
	store *ownStore
	key   string
	lock  chan struct{} // nil after Unlock
}

func (l *ownLocked) Load(ctx context.Context) (*oauth.Token, error) {
	if l.lock == nil {
		return nil, oauth.ErrLockLost
	}
	return l.store.Load(ctx, l.key)
}

func (l *ownLocked) Save(_ context.Context, t *oauth.Token) error {
	if l.lock == nil {
		return oauth.ErrLockLost
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.store.tokens[l.key] = t.Raw()
	return nil
}

func (l *ownLocked) Delete(context.Context) error {
	if l.lock == nil {
		return oauth.ErrLockLost
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	delete(l.store.tokens, l.key)
	return nil
}

func (l *ownLocked) Unlock() {
	if l.lock != nil {
		<-l.lock
		l.lock = nil
	}
}

// A store of one's own. Whether it is one is told by storetest.Tokens, in a
// test:
//
//	store := newOwnStore()
//	storetest.Tokens(t, func(*testing.T) oauth.TokenStore { return store })
func Example() {
	app := &oauth.Application{ClientID: "app.1", ClientSecret: "the client secret"}
	tokens, err := oauth.NewTokens(app, newOwnStore())
	if err != nil {
		fmt.Println(err)
		return
	}
	token := &oauth.Token{Portal: "https://portal.bitrix24.com", MemberID: "member1"}
	token.AccessToken, token.RefreshToken = "the access token", "the refresh token"
	if err := tokens.Put(context.Background(), token.MemberID, token); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tokens.Get(context.Background(), "member1"))
	_, err = tokens.Get(context.Background(), "member2")
	fmt.Println(err)
	// Output:
	// oauth.Token(https://portal.bitrix24.com, member member1) <nil>
	// b24pull: there is no such token: its key is "member2"; have a user of the portal install, open or authorize the application
}
